"""The listener `owfs`: plain directories, the mounted OWFS of Debian, and its owserver."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.registry import find
from gateway.settings import SettingsFault, build, shown
from listeners.onewire.bus import BusFault
from listeners.onewire.drivers.owfs import Mount, Owfs
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom
from listeners.onewire.tree import Unavailable
from listeners.simulated.ds2482 import Ds2482
from tests.ports import free_port
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owfs_mount, owserver, owserver_process
from tests.waiting import wait_until
from tests.ways import QuickClock, quick, sweep

FLOW, RETURN, STORE = "28.33F749050000", "28.DB564A050000", "28.AB1663050000"
WITH_SWITCHES = "42.33F749050000"
"""A DS28EA00."""


def listener(**entries):
    made = build(Owfs, {"node": "9", **entries})
    made.name = "cellar"
    made.clock = QuickClock()
    return made


def opened(path, **entries):
    bus = listener(path=str(path), **entries)
    bus.open()
    return bus


def write(folder, text, **files):
    (folder / text).mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / text / name).write_text(content)


@pytest.mark.parametrize("name", ["owfs", "OemGatewayOWFSListener"])
def test_the_types_are_registered(name):
    assert find("listeners", name) is Owfs


def test_the_path_is_the_usual_one_unless_named():
    assert shown(listener())["path"] == "/mnt/1wire"
    assert shown(listener(path="/mnt/owfs"))["path"] == "/mnt/owfs"
    assert shown(listener(server="pi"))["path"] == ""


def test_a_path_and_a_server_are_one_too_many():
    with pytest.raises(SettingsFault, match="server: either a path or a server"):
        listener(path="/mnt/1wire", server="pi")


def test_a_plain_directory_is_read_at_its_resolution_or_else_by_its_only_number(tmp_path):
    write(tmp_path, FLOW, temperature="20.9", temperature11="21.125", temperature12="21.1875")
    write(tmp_path, RETURN, temperature="     -3.5\n")

    assert sweep(opened(tmp_path, resolution="11"), FLOW, RETURN) == [21.125, -3.5]


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", Fault.UNREADABLE), ("warm", Fault.UNREADABLE), ("nan", Fault.RANGE), ("127.94", Fault.RANGE)],
)
def test_a_file_without_a_temperature_is_a_fault_of_that_sensor(tmp_path, text, fault):
    write(tmp_path, FLOW, temperature=text)
    write(tmp_path, RETURN, temperature="18")

    assert sweep(opened(tmp_path), FLOW, RETURN) == [fault, 18.0]


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_file_that_gives_nothing_now_is_not_waited_for(tmp_path, monkeypatch, asked_again):
    # given one whose file system asks to come again, or a pipe
    write(tmp_path, FLOW)
    write(tmp_path, RETURN, temperature="20.5")
    os.mkfifo(tmp_path / FLOW / "temperature")
    bus = opened(tmp_path)
    read = os.read

    def later(fd, size):
        if os.fstat(fd).st_mode & 0o170000 == 0o010000 and asked_again:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return read(fd, size)

    monkeypatch.setattr("os.read", later)
    assert sweep(bus, FLOW, RETURN) == [Fault.NO_ANSWER if asked_again else Fault.UNREADABLE, 20.5]


def test_a_missing_directory_is_no_answer_until_it_is_there(tmp_path):
    write(tmp_path, RETURN, temperature="18")
    bus = opened(tmp_path)
    assert sweep(bus, FLOW) == [Fault.NO_ANSWER]

    write(tmp_path, FLOW, temperature="21.5")

    assert sweep(bus, FLOW) == [21.5]


def test_the_sensors_in_a_plain_directory_are_found(tmp_path):
    write(tmp_path, FLOW, temperature="21.5")
    write(tmp_path, "uncached")

    assert opened(tmp_path).search() == {Rom.parse(FLOW)}


def test_a_root_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match=f"{tmp_path}/1wire: No such file or directory; is owfs running"):
        opened(tmp_path / "1wire")


def test_a_root_that_goes_away_is_an_oserror(tmp_path):
    root = tmp_path / "1wire"
    root.mkdir()
    write(root, FLOW, temperature="21.5")
    bus = opened(root)
    assert sweep(bus, FLOW) == [21.5]

    root.rename(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="No such file or directory"):
        sweep(bus, FLOW)


def test_nothing_is_created_where_something_should_be_written(tmp_path):
    with pytest.raises(Unavailable):
        Mount(tmp_path).write("simultaneous", b"1")

    assert not list(tmp_path.iterdir())


def test_a_server_is_read_as_by_the_type_owserver(tmp_path):
    with owserver(Ds2482(Clock(), [quick(FLOW, 21.5), quick(RETURN, -10.125)]), tmp_path) as port:
        bus = listener(server=f"127.0.0.1:{port}")
        bus.open()

        assert sweep(bus, FLOW, RETURN, STORE) == [21.5, -10.125, Fault.NO_ANSWER]


@pytest.mark.needs_root
def test_the_bus_below_a_mount_is_searched(tmp_path):
    bridge = Ds2482(Clock(), [quick(FLOW, -10.125), quick(RETURN, 85.0)])
    with owserver(bridge, tmp_path) as port, owfs_mount(port, tmp_path) as path:
        bus = opened(path)

        assert bus.search() == {Rom.parse(FLOW), Rom.parse(RETURN)}


@pytest.mark.needs_root
def test_the_resolution_is_set_through_a_mount_and_one_conversion_waited_for(tmp_path):
    sensors = [quick(f"28.{n:02X}A749050000", n + 0.5625) for n in range(3)]
    with owserver(Ds2482(Clock(), sensors), tmp_path) as port, owfs_mount(port, tmp_path) as path:
        ids = [sensor.id for sensor in sensors]
        bus = opened(path, resolution="9", **{f"sensor{n}": each for n, each in enumerate(ids, 1)})

        sweeps = [sweep(bus, *ids) for _ in range(3)]

        assert sweeps == [[0.5625, 1.5625, 2.5625], [0.5, 1.5, 2.5], [0.5, 1.5, 2.5]]
        assert bus.clock.monotonic() == 0.75 + 0.75 + 0.75 / 8


@pytest.mark.needs_root
@pytest.mark.parametrize("below", ["uncached", "bus.0", "bus.0/bus.0", "bus.0/uncached", "uncached/bus.0"])
def test_a_directory_inside_the_mount_will_do_as_well(tmp_path, below):
    sensor = quick(FLOW, 21.5)
    with owserver(Ds2482(Clock(), [sensor]), tmp_path) as port, owfs_mount(port, tmp_path) as path:
        bus = opened(path / below)
        assert sweep(bus, FLOW) == [21.5]

        sensor.temperature = 22.5
        assert sweep(bus, FLOW) == [22.5]

        sensor.never_done = True
        sensor.brown_out()
        assert sweep(bus, FLOW) == [Fault.POWER_ON]

        sensor.present = False
        assert sweep(bus, FLOW) == [Fault.NO_ANSWER]


@pytest.mark.needs_root
def test_a_directory_is_the_same_by_a_link_and_without_the_cache(tmp_path):
    for name in ("mount/settings", "mount/uncached", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "mount")
    roots = {Mount(tmp_path / name).root for name in ("mount", "mount/uncached", "link", "link/uncached")}
    assert roots == {str(tmp_path / "mount")}
    assert Mount(tmp_path / "other").root not in roots


def test_a_power_on_value_of_uncached_alone_is_none(tmp_path):
    sensor = quick(FLOW, 85.0)
    with owserver(Ds2482(Clock(), [sensor]), tmp_path) as port, owfs_mount(port, tmp_path) as path:
        alone = tmp_path / "alone"
        alone.mkdir()
        # given a directory as it comes over a network, with none of those above it
        subprocess.run(["mount", "--bind", path / "uncached", alone], check=True)
        try:
            bus = opened(alone)
            assert sweep(bus, FLOW) == [85.0]

            sensor.never_done = True
            sensor.brown_out()
            assert sweep(bus, FLOW) == [Fault.POWER_ON]
        finally:
            subprocess.run(["umount", "-l", alone], check=False)


def test_a_directory_that_only_has_the_name_of_one_of_owfs_is_read_itself(tmp_path):
    (tmp_path / "uncached").mkdir()
    write(tmp_path / "uncached", FLOW, temperature="21.5")

    assert sweep(opened(tmp_path / "uncached"), FLOW) == [21.5]


@pytest.mark.needs_root
@pytest.mark.parametrize("scale", ["--Celsius", "--Fahrenheit", "--Kelvin", "--Rankine"])
def test_a_temperature_that_owfs_gives_is_in_degrees_whatever_its_scale(tmp_path, scale):
    # a sensor whose scratchpad OWFS does not show
    sensor = quick(WITH_SWITCHES, 21.0625)
    bridge = Ds2482(Clock(), [sensor])
    with owserver(bridge, tmp_path) as port, owfs_mount(port, tmp_path, scale) as path:
        bus = opened(path)
        assert sweep(bus, WITH_SWITCHES) == [21.0625]

        sensor.temperature = -17.8125
        assert sweep(bus, WITH_SWITCHES) == [-17.8125]

        sensor.temperature = 99.9375
        assert sweep(bus, WITH_SWITCHES) == [99.9375]


def test_an_owserver_is_asked_for_degrees_whatever_its_scale(tmp_path):
    port = free_port()
    with owserver_process(port, tmp_path, ["--Fahrenheit", "--tester=DS28EA00"]):
        bus = listener(server=f"127.0.0.1:{port}")
        bus.open()

        (rom,) = bus.search()
        assert sweep(bus, str(rom)) == [6.6]


@pytest.mark.parametrize(("scale", "reading"), [("F", 21.0625), ("C", 69.9125), ("X", Fault.UNREADABLE)])
def test_numbers_in_files_are_in_the_scale_that_stands_beside_them(tmp_path, scale, reading):
    write(tmp_path, FLOW, temperature="69.9125")
    (tmp_path / "settings" / "units").mkdir(parents=True)
    (tmp_path / "settings" / "units" / "temperature_scale").write_text(scale)

    assert sweep(opened(tmp_path), FLOW) == [reading]


@pytest.mark.needs_root
def test_a_mount_whose_owserver_has_gone_is_a_fault_until_it_is_back(tmp_path):
    port = free_port()
    with i2c_server(Ds2482(Clock(), [quick(FLOW, 21.5)])) as environment, ExitStack() as stack:

        def start():
            return owserver_process(port, tmp_path, ["--i2c=/dev/i2c-99:0"], environment)

        with start():
            path = stack.enter_context(owfs_mount(port, tmp_path))
            bus = opened(path)
            assert sweep(bus, FLOW) == [21.5]

        assert isinstance(outcome(bus), BusFault)
        assert outcome(bus) is Fault.NO_ANSWER

        with start():
            wait_until(lambda: outcome(bus) == 21.5)


@pytest.mark.needs_root
def test_a_mount_that_has_gone_is_an_oserror_and_an_unmounted_one_is_waited_for(tmp_path):
    bridge = Ds2482(Clock(), [quick(FLOW, 21.5)])
    path = tmp_path / "1wire"
    path.mkdir()
    bus = opened(path)
    with pytest.raises(BusFault, match=f"^{path} is empty: is owfs running, and mounted there?"):
        sweep(bus, FLOW)

    with owserver(bridge, tmp_path) as port:
        with owfs_mount(port, tmp_path):
            assert sweep(bus, FLOW) == [21.5]
        wait_until(lambda: not path.is_mount())

        assert isinstance(outcome(bus), (OSError, BusFault, Fault))
        with owfs_mount(port, tmp_path):
            assert wait_until(lambda: outcome(bus) == 21.5)


def test_a_dead_owfs_is_an_oserror(tmp_path, monkeypatch):
    root = tmp_path / "1wire"
    root.mkdir()
    bus = opened(root)

    def not_connected(*_):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr("os.scandir", not_connected)
    monkeypatch.setattr(Path, "read_bytes", not_connected)

    with pytest.raises(OSError, match=f"{root}: Transport endpoint is not connected; is owfs running"):
        sweep(bus, FLOW)


def outcome(bus):
    try:
        return sweep(bus, FLOW)[0]
    except (OSError, BusFault) as error:
        return error
