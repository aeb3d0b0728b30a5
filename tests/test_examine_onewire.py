"""What `oemgateway doctor` finds around a 1-Wire bus: each check where it fails, and where it does not."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.diagnosis.finding import Verdict
from gateway.diagnosis.machine import Machine
from listeners.onewire.checks.examine_owfs import examine_tree, is_served
from listeners.onewire.checks.owfs_conf import options
from listeners.onewire.drivers.ds2482 import ADDRESSES
from listeners.onewire.drivers.owfs import Mount
from listeners.ports.examine_i2c import examine_chip
from listeners.ports.i2c import Lock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.gateway_process import run
from tests.ports import free_port
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owfs_mount, owserver, owserver_process
from tests.simulators.pi import CONFIG, GROUP, ailing, fault, plugin, well

FLOW, RETURN = "28.33F749050000", "28.DB564A050000"
OWFS_CONF = (Path(__file__).parents[1] / "etc" / "owfs.conf").read_text()


class Opener:
    """Opens an I2C bus with chips at some addresses."""

    def __init__(self, *addresses):
        self.addresses = addresses

    def __call__(self, bus, address):
        if address not in self.addresses:
            raise OSError(f"I2C bus {bus}, address {address:#04x}: nothing answers: check wiring")
        return Ds2482(Clock())


# The bridge


def test_a_bridge_that_can_be_used(pi):
    assert well(plugin("ds2482").examine(pi.machine)) == [
        "i2c-dev is loaded, and /dev/i2c-1 is there",
        "pi may read and write /dev/i2c-1",
        "no driver of the kernel holds the chip",
        "no program of OWFS drives /dev/i2c-1",
    ]


def test_i2c_that_is_switched_off(pi):
    pi.remove("/dev/i2c-1")
    pi.put(CONFIG, "#dtparam=i2c_arm=on\ndtparam=i2c_arm=off\n")
    assert fault(plugin("ds2482").examine(pi.machine)) == (
        f"/dev/i2c-1 is missing, as I2C is off in {CONFIG}",
        "run raspi-config, Interface Options, I2C, and reboot",
    )


def test_an_older_system_has_its_files_in_boot(pi):
    pi.remove("/dev/i2c-1")
    pi.remove(CONFIG)
    pi.put("/boot/config.txt", "")
    found, _ = fault(plugin("ds2482").examine(pi.machine))
    assert found == "/dev/i2c-1 is missing, as I2C is off in /boot/config.txt"


def test_i2c_dev_that_is_not_loaded(pi):
    pi.remove("/dev/i2c-1")
    pi.put("/proc/modules")
    assert fault(plugin("ds2482").examine(pi.machine)) == (
        "/dev/i2c-1 is missing, as i2c-dev is not loaded",
        "sudo modprobe i2c-dev, and add the line i2c-dev to /etc/modules",
    )


def test_another_bus_than_the_one_that_is_there(pi):
    assert fault(plugin("ds2482", bus="3").examine(pi.machine)) == (
        "/dev/i2c-3 is missing, but there is /dev/i2c-1",
        "set bus to the number of the right one",
    )


def test_no_bus_at_all(pi):
    pi.remove("/dev/i2c-1")
    assert fault(plugin("ds2482").examine(pi.machine)) == (
        "/dev/i2c-1 is missing",
        "run raspi-config, Interface Options, I2C, and reboot",
    )


def test_a_user_who_is_not_in_the_group(pi):
    machine = replace(pi.machine, gids=frozenset())
    assert fault(plugin("ds2482").examine(machine)) == (
        "pi is not in the group i2c, which /dev/i2c-1 belongs to",
        "sudo usermod -aG i2c pi, then log in again (and restart the gateway)",
    )
    assert not ailing(plugin("ds2482").examine(replace(machine, uid=0)))


def test_a_group_without_a_name(pi):
    pi.put("/etc/group")
    machine = replace(pi.machine, gids=frozenset())
    found, _ = fault(plugin("ds2482").examine(machine))
    assert found == f"pi is not in the group {GROUP}, which /dev/i2c-1 belongs to"


def test_a_device_that_is_roots_alone(pi):
    pi.device("/dev/i2c-1", 0o600)
    assert fault(plugin("ds2482").examine(pi.machine)) == (
        "only root may use /dev/i2c-1",
        "a rule of udev has to give it to the group i2c",
    )


def test_a_device_that_is_everybodys(pi):
    pi.device("/dev/i2c-1", 0o666)
    assert not ailing(plugin("ds2482").examine(replace(pi.machine, gids=frozenset())))


def test_a_driver_of_the_kernel_that_holds_the_chip(pi):
    pi.put("/sys/bus/i2c/drivers/ds2482/bind")
    pi.link("/sys/bus/i2c/devices/1-0018/driver", "../../drivers/ds2482")
    now = "echo 1-0018 | sudo tee /sys/bus/i2c/drivers/ds2482/unbind"
    expected = (
        "the kernel's driver ds2482 holds the chip",
        f"delete its dtoverlay in {CONFIG} and reboot, or now: {now}",
    )
    assert fault(plugin("ds2482").examine(pi.machine)) == expected
    pi.remove("/sys/bus/i2c/devices/1-0018/driver")
    pi.put("/sys/bus/i2c/drivers/ds2482/1-0018/name")
    assert fault(plugin("ds2482").examine(pi.machine)) == expected
    assert not ailing(plugin("ds2482", address="0x19").examine(pi.machine))


@pytest.mark.parametrize("line", ["server: i2c = /dev/i2c-1:0", "device /dev/i2c-1", "i2c = ALL:ALL"])
def test_an_owserver_on_the_same_bus(pi, line):
    pi.put("/etc/owfs.conf", f"{line}\n")
    assert not ailing(plugin("ds2482").examine(pi.machine))
    pi.runs("owserver")
    assert fault(plugin("ds2482").examine(pi.machine)) == (
        "/dev/i2c-1 is driven by owserver too, by /etc/owfs.conf",
        "sudo service owserver stop, or read the sensors through it: type = owserver",
    )


def test_a_simulated_bridge_needs_nothing(pi):
    assert not list(plugin("ds2482", bus="simulated").examine(pi.machine))


def test_a_chip_that_answers():
    assert str(examine_chip("7", 0x1A, ADDRESSES, Opener(0x1A))).endswith(
        "a chip answers at 0x1a on I2C bus 7"
    )


def test_a_chip_that_does_not_answer():
    assert fault([examine_chip("7", 0x18, ADDRESSES, Opener())]) == (
        "I2C bus 7, address 0x18: nothing answers: check wiring",
        "",
    )


def test_a_chip_at_another_address():
    assert fault([examine_chip("7", 0x18, ADDRESSES, Opener(0x1A, 0x1F, 0x20))]) == (
        "nothing answers at 0x18, but at 0x1a and 0x1f",
        "set address = 0x1a",
    )


def test_a_simulated_chip_that_answers_smbus2():
    script = (
        "from listeners.ports import examine_i2c; "
        "print(examine_i2c.examine_chip('99', {}, range(0x18, 0x20)).found)"
    )
    for address, found in ((0x18, "a chip answers at 0x18"), (0x1A, "nothing answers at 0x1a, but at 0x18")):
        with i2c_server(Ds2482(Clock())) as environment:
            done = run(sys.executable, "-c", script.format(address), **environment)
        assert done.stdout.startswith(found), done.stderr


def test_a_chip_that_is_read_is_left_alone():
    lock = Lock("7", 0x18)
    try:
        finding = examine_chip("7", 0x18, ADDRESSES, Opener())
    finally:
        lock.release()
    assert finding.verdict is Verdict.UNKNOWN
    assert "another section of oemgateway.conf reads this chip" in finding.found


def test_only_a_live_machine_is_asked_for_its_chip_and_only_where_the_gateway_does_not_have_it(pi):
    live = replace(pi.machine, live=True)
    bridge = plugin("ds2482", address="0x1F")
    assert len(list(bridge.examine(live))) == 1 + len(list(bridge.examine(pi.machine)))
    held = replace(live, running=frozenset(["ds2482"]))
    assert len(list(bridge.examine(held))) == len(list(bridge.examine(pi.machine)))


# The mount of OWFS


@pytest.fixture
def owfs(pi):
    pi.put("/etc/owfs.conf", OWFS_CONF)
    pi.path("/mnt/1wire").mkdir(parents=True)
    return pi


def test_a_mount_that_can_be_read(owfs):
    owfs.mount()
    assert well(plugin("owfs").examine(owfs.machine)) == [
        "OWFS is mounted at /mnt/1wire",
        "all users may look into /mnt/1wire: allow_other",
        "/etc/owfs.conf names a bus for owfs",
        "/etc/owfs.conf names a bus for owserver",
        f"{owfs.root}/mnt/1wire answers, and has DS2482-100",
    ]


def test_the_file_of_owfs_is_not_that_of_a_mount_elsewhere(pi):
    pi.put("/etc/owfs.conf", "owfs: mountpoint = /mnt/1wire\nfake = DS18S20\n")
    pi.mount("/mnt/attic")
    assert not ailing(plugin("owfs", path="/mnt/attic").examine(pi.machine))
    pi.mount("/mnt/1wire")
    assert ailing(plugin("owfs").examine(pi.machine))


@pytest.mark.parametrize("below", ["uncached", "bus.0"])
def test_a_directory_inside_the_mount_will_do(owfs, below):
    owfs.mount()
    owfs.bus(f"/mnt/1wire/{below}", "DS2482-100")
    assert not ailing(plugin("owfs", path=f"/mnt/1wire/{below}").examine(owfs.machine))


def test_a_mount_point_with_a_space_in_it(owfs):
    owfs.mount("/mnt/my\\040wire")
    owfs.bus("/mnt/my wire", "DS2482-100")
    assert not ailing(plugin("owfs", path="/mnt/my wire").examine(owfs.machine))


def test_plain_files_of_sensors_need_no_mount(pi):
    pi.put(f"/mnt/1wire/{FLOW}/temperature", "21.5")
    assert well(plugin("owfs").examine(pi.machine)) == [
        "/mnt/1wire is no mount, but has files of sensors in it"
    ]


def test_nothing_of_owfs_is_there(pi):
    assert fault(plugin("owfs").examine(pi.machine)) == (
        "nothing is mounted at /mnt/1wire, and /etc/owfs.conf is missing",
        "sudo apt install owfs-fuse owserver, put etc/owfs.conf of this package there, and start owfs",
    )


def test_nothing_is_mounted(owfs):
    machine = replace(owfs.machine, uid=0)
    owfs.path("/mnt/1wire").rmdir()
    assert fault(plugin("owfs").examine(machine)) == (
        "/mnt/1wire is not there to be mounted at",
        "sudo mkdir -p /mnt/1wire, and restart owfs",
    )
    owfs.path("/mnt/1wire").mkdir()
    first, *_ = ailing(plugin("owfs").examine(machine))
    assert first == (
        "nothing is mounted at /mnt/1wire",
        "sudo service owfs restart (the system's log has why it ended)",
    )


def test_a_configuration_that_mounts_elsewhere_or_nowhere(owfs):
    elsewhere = plugin("owfs", path="/mnt/owfs")
    assert fault(elsewhere.examine(owfs.machine)) == (
        "/etc/owfs.conf:19: mountpoint = /mnt/1wire, but /mnt/owfs is where the sensors are looked for",
        "set path = /mnt/1wire, or change that line and restart owfs",
    )
    owfs.put("/etc/owfs.conf", OWFS_CONF.replace("owfs: mountpoint", "#owfs: mountpoint"))
    assert fault(elsewhere.examine(owfs.machine)) == (
        "nothing is mounted at /mnt/owfs, as /etc/owfs.conf names no mountpoint",
        "put the line `owfs: mountpoint = /mnt/owfs` there and restart owfs",
    )


def test_a_mount_that_only_its_owner_may_look_into(owfs):
    owfs.mount(shared=False)
    assert fault(plugin("owfs").examine(owfs.machine)) == (
        "only the user 0 may look into /mnt/1wire",
        "put the line `owfs: allow_other` into /etc/owfs.conf and restart owfs",
    )
    assert not ailing(plugin("owfs").examine(replace(owfs.machine, uid=0)))


def test_a_configuration_without_allow_other(owfs):
    owfs.put("/etc/owfs.conf", OWFS_CONF.replace("owfs: allow_other", ""))
    owfs.path("/mnt/1wire").rmdir()
    _, (found, cure) = ailing(plugin("owfs").examine(owfs.machine))
    assert found == "only the user 0 may look into /mnt/1wire"
    assert cure == "put the line `owfs: allow_other` into /etc/owfs.conf and restart owfs"


def test_a_mount_of_a_user_who_may_not_share_it(owfs):
    owfs.mount(uid=1000)
    owfs.put("/etc/fuse.conf", "#user_allow_other\n")
    assert fault(plugin("owfs").examine(owfs.machine)) == (
        "/etc/fuse.conf does not permit allow_other to the user 1000, who owns /mnt/1wire",
        "take the # before user_allow_other away there, or let root mount it",
    )
    owfs.put("/etc/fuse.conf", "user_allow_other\n")
    findings = list(plugin("owfs").examine(owfs.machine))
    assert not ailing(findings)
    assert "/etc/fuse.conf permits allow_other to every user" in well(findings)


def test_a_dead_mount(owfs, monkeypatch):
    owfs.mount()

    scandir = os.scandir

    def not_connected(path):
        if "1wire" in str(path):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return scandir(path)

    monkeypatch.setattr("os.scandir", not_connected)
    found, _ = fault(plugin("owfs").examine(owfs.machine))
    assert found.endswith("/1wire: Transport endpoint is not connected; is owfs running, and mounted there?")


def test_a_mount_without_a_bus_or_with_one_twice(owfs):
    owfs.mount()
    owfs.bus("/mnt/1wire/bus.1", "DS2482-100")
    assert not ailing(plugin("owfs").examine(owfs.machine))
    for number in (0, 1):
        owfs.put(f"/mnt/1wire/bus.{number}/uncached/{FLOW}/type")
    found, cure = fault(plugin("owfs").examine(owfs.machine))
    assert found == f"{owfs.root}/mnt/1wire has /dev/i2c-1:18 twice, and each sensor with it"
    assert "Debian's owfs.service" in cure
    for number in (0, 1):
        shutil.rmtree(owfs.path(f"/mnt/1wire/bus.{number}"))
    assert fault(plugin("owfs").examine(owfs.machine)) == (
        f"{owfs.root}/mnt/1wire has no bus",
        "see the system's log for what is wrong with /etc/owfs.conf",
    )


def test_a_bus_that_does_not_name_its_device(owfs):
    owfs.mount()
    owfs.remove("/mnt/1wire/bus.0/interface/settings/address")
    assert not ailing(plugin("owfs").examine(owfs.machine))


# owserver and its configuration


def test_the_file_of_debian_serves_fake_sensors(pi):
    pi.put("/etc/owfs.conf", "\n! server: server = localhost:4304\nserver: FAKE = DS18S20,DS2405\n")
    expected = (
        "/etc/owfs.conf:3: fake = DS18S20,DS2405 makes owserver serve FAKE SENSORS",
        "name your bus master in /etc/owfs.conf (server: i2c = /dev/i2c-1:0), and restart owserver",
    )
    assert fault(plugin("owserver").examine(pi.machine)) == expected
    pi.mount()
    assert fault(plugin("owfs").examine(pi.machine)) == expected
    for server in ("attic", "localhost:4305"):
        assert not list(plugin("owserver", server=server).examine(pi.machine))
    pi.put("/etc/owfs.conf", "\n! server: server = localhost:4305\nserver: FAKE = DS18S20,DS2405\n")
    assert not ailing(plugin("owfs").examine(pi.machine))


@pytest.mark.parametrize(
    "master",
    [
        *(
            "usb = all",
            "w1",
            "link = 10.0.0.3",
            "ha7net = 10.0.0.2",
            "HA7E = /dev/ttyUSB0",
            "HA3 = /dev/ttyUSB0",
        ),
        *(
            "ENET = 10.0.0.5",
            "pbm = /dev/ttyUSB0",
            "masterhub = 10.0.0.4",
            "etherweather = 10.0.0.6",
            "browse",
        ),
        *("xport = 10.0.0.7:10001", "passive = /dev/ttyS0", "autoserver", "ds1wm = 0x1000", "external"),
    ],
)
def test_every_bus_master_of_owfs_is_one(pi, master):
    pi.put("/etc/owfs.conf", f"! server: server = localhost:4304\nserver: {master}\n")
    assert well(plugin("owserver").examine(pi.machine)) == ["/etc/owfs.conf names a bus for owserver"]


def test_our_own_file_has_no_faults(owfs):
    assert well(plugin("owserver").examine(owfs.machine)) == ["/etc/owfs.conf names a bus for owserver"]


def test_no_file_is_no_fault_of_an_owserver(pi):
    assert not list(plugin("owserver").examine(pi.machine))


def test_a_file_without_a_bus(pi):
    pi.put("/etc/owfs.conf", "owfs: mountpoint = /mnt/1wire\n")
    assert fault(plugin("owserver").examine(pi.machine)) == (
        "/etc/owfs.conf names no bus for owserver",
        "put the line `server: i2c = /dev/i2c-1:0` there",
    )


def test_a_device_that_is_not_there(owfs):
    owfs.remove("/dev/i2c-1")
    assert fault(plugin("owserver").examine(owfs.machine)) == (
        "/etc/owfs.conf:11: i2c = /dev/i2c-1:0: there is none",
        "correct that line, or switch the interface on in raspi-config",
    )


def test_a_bus_that_two_programs_drive(pi):
    pi.put("/etc/owfs.conf", "device = /dev/i2c-1\n")
    pi.runs("owserver")
    assert not ailing(plugin("owserver").examine(pi.machine))
    pi.runs("owserver", "owfs")
    assert fault(plugin("owserver").examine(pi.machine)) == (
        "/etc/owfs.conf:1: device = /dev/i2c-1 holds for owserver and owfs: two masters garble a bus",
        "write `server:` before it, and restart them",
    )


@pytest.mark.parametrize(
    ("line", "owserver", "owfs"),
    [
        ("i2c = /dev/i2c-1:0  # bridge", [("i2c", "/dev/i2c-1:0")], [("i2c", "/dev/i2c-1:0")]),
        ("SERVER: --I2C /dev/i2c-1", [("i2c", "/dev/i2c-1")], []),
        ("!server :server=pi:4304", [], [("server", "pi:4304")]),
        ("  owfs:allow_other", [], [("allow_other", "")]),
        ("http: port = 2121", [], []),
        ("# owfs: allow_other", [], []),
        ("", [], []),
    ],
)
def test_the_lines_that_a_program_heeds(pi, line, owserver, owfs):
    pi.put("/etc/owfs.conf", f"{line}\n")
    for program, expected in (("owserver", owserver), ("owfs", owfs)):
        found = options(pi.machine, program)
        assert [(option.name, option.value) for option in found] == expected


def test_an_option_may_be_shortened(pi):
    pi.put("/etc/owfs.conf", "owfs: mount = /mnt/1wire\nowfs: mo\n")
    assert [option.is_one_of("mountpoint") for option in options(pi.machine, "owfs")] == [True, False]


@pytest.mark.parametrize(
    ("lines", "server", "expected"),
    [
        ("", "localhost:4304", True),
        ("", "4304", True),
        ("", "127.0.0.1", True),
        ("", "[::1]:4304", True),
        ("", "pi:4304", False),
        ("", "localhost:4305", False),
        ("server: port = localhost:4305\nhttp: port = 4306", "localhost:4305", True),
        ("server: port = localhost:4305\nhttp: port = 4306", "localhost", False),
        ("server: port = localhost:4305\nhttp: port = 4306", "localhost:4306", False),
        ("port = 4305\nserver: port = [::]:4306", "4305", True),
        ("port = 4305\nserver: port = [::]:4306", "127.0.0.1:4306", True),
        ("server: port = 192.168.1.7", "localhost:4304", True),
    ],
)
def test_the_file_of_owfs_is_that_of_the_owserver_which_it_has_listen_there(pi, lines, server, expected):
    pi.put("/etc/owfs.conf", f"{lines}\n")
    assert is_served(pi.machine, server) is expected


def test_debians_owserver_on_a_bridge_answers_and_one_that_makes_sensors_up_is_called_so(pi, tmp_path):
    live = replace(pi.machine, live=True)
    with owserver(Ds2482(Clock(), [Ds18b20(FLOW, 21.5)]), tmp_path) as port:
        server = plugin("owserver", server=f"127.0.0.1:{port}")
        assert well(server.examine(live)) == [f"owserver at 127.0.0.1:{port} answers, and has DS2482-100"]
        assert not ailing(plugin("owfs", server=f"127.0.0.1:{port}").examine(live))
    with owserver_process(port, tmp_path, ["--fake=DS18S20,DS2405"]):
        assert fault(server.examine(live)) == (
            f"owserver at 127.0.0.1:{port} serves FAKE SENSORS (Simulated-Random)",
            "name your bus master in /etc/owfs.conf (server: i2c = /dev/i2c-1:0), and restart owserver",
        )


def chip_with_channels():
    """Return a DS2482-800 with sensors on two of its channels."""
    chip = Ds2482(Clock(), channels=8)
    chip.channels[0].append(Ds18b20(FLOW, 21.5))
    chip.channels[3].append(Ds18b20(RETURN, 18.0))
    return chip


def test_the_channels_of_one_chip_are_no_bus_twice(pi, tmp_path):
    with owserver(chip_with_channels(), tmp_path) as port:
        tree = plugin("owserver", server=f"127.0.0.1:{port}").examine(replace(pi.machine, live=True))
        (found,) = well(tree)
    assert found.startswith(f"owserver at 127.0.0.1:{port} answers, and has DS2482-800(0), DS2482-800(1)")


@pytest.mark.parametrize("moved", [False, True])
def test_two_machines_whose_bus_has_the_same_name_are_two(pi, tmp_path, moved):
    # given an owserver with two others behind it, each with a DS2482 at /dev/i2c-99:18
    one, other = Ds2482(Clock(), [Ds18b20(FLOW, 21.5)]), Ds2482(Clock(), [Ds18b20(RETURN, 18.0)])
    front = free_port()
    with (
        owserver(one, tmp_path) as first,
        owserver(other, tmp_path) as second,
        owserver_process(front, tmp_path, ["-s", f"127.0.0.1:{first}", "-s", f"127.0.0.1:{second}"]),
    ):
        examined = partial(
            plugin("owserver", server=f"127.0.0.1:{front}").examine, replace(pi.machine, live=True)
        )
        assert well(examined())
        if moved:
            # when a sensor is moved, though OWFS still has it in its cache, or one of them fails
            other.sensors.append(one.sensors.pop())
            assert well(examined())
        one.shorted = True
        assert well(examined()) == [f"owserver at 127.0.0.1:{front} answers, and has DS2482-100, DS2482-100"]


@pytest.mark.parametrize("chip", [lambda: Ds2482(Clock(), [Ds18b20(FLOW, 21.5)]), chip_with_channels])
def test_a_bus_that_owfs_has_twice_is_a_fault(pi, tmp_path, chip):
    front = free_port()
    with (
        owserver(chip(), tmp_path) as port,
        owserver_process(front, tmp_path, [f"--server=127.0.0.1:{port}"] * 2),
    ):
        server = plugin("owserver", server=f"127.0.0.1:{front}")
        found, cure = fault(server.examine(replace(pi.machine, live=True)))
    assert found == f"owserver at 127.0.0.1:{front} has /dev/i2c-99:18 twice, and each sensor with it"
    assert cure.startswith("owfs was started with /etc/owfs.conf twice")


def test_an_owserver_that_does_not_answer(pi):
    server = plugin("owserver", server=f"127.0.0.1:{free_port()}")
    found, _ = fault(server.examine(replace(pi.machine, live=True)))
    assert "is it running there (systemctl status owserver)?" in found


@pytest.mark.needs_root
def test_a_mount_of_debians_owfs(tmp_path):
    with (
        owserver(Ds2482(Clock(), [Ds18b20(FLOW, 21.5)]), tmp_path) as port,
        owfs_mount(port, tmp_path) as path,
    ):
        machine = Machine.below(Path("/"))
        assert f"OWFS is mounted at {path}" in well(plugin("owfs", path=str(path)).examine(machine))
        assert well(examine_tree(Mount(path))) == [f"{path} answers, and has DS2482-100"]


# The kernel's bus


def test_a_bus_of_the_kernel(pi):
    pi.put("/sys/bus/w1/devices/w1_bus_master1/w1_master_name")
    assert well(plugin("w1").examine(pi.machine)) == ["the kernel has w1_bus_master1"]


def test_no_bus_of_the_kernel(pi):
    assert fault(plugin("w1").examine(pi.machine)) == (
        f"the kernel has no 1-Wire bus, as {CONFIG} has no dtoverlay=w1-gpio",
        "run raspi-config, Interface Options, 1-Wire, and reboot",
    )
    pi.put(CONFIG, "dtoverlay=w1-gpio,gpiopin=4\n")
    assert fault(plugin("w1").examine(pi.machine)) == (
        "w1-gpio is loaded, but /sys/bus/w1/devices has no bus",
        "see what `dmesg | grep w1` says of its pin",
    )
    pi.put("/proc/modules")
    assert fault(plugin("w1").examine(pi.machine)) == (
        "the kernel has no 1-Wire bus in spite of dtoverlay=w1-gpio,gpiopin=4",
        "reboot, or modprobe w1-gpio",
    )
