"""The simulated bridge read by programs that know nothing of it: i2cdetect, smbus2, owserver and owfs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pyownet import protocol

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.peers import need
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owfs_mount, owserver
from tests.waiting import wait_until

TEMPERATURES = {
    "28.33F749050000": 21.0625,
    "28.DB564A050000": -10.125,
    "28.AB1663050000": 0.0,
    "28.4C92D4060000": -0.5,
    "28.E01A77070000": 124.5,
}


@pytest.fixture
def bridge() -> Ds2482:
    sensors = [Ds18b20(rom_id, temperature) for rom_id, temperature in TEMPERATURES.items()]
    for sensor in sensors:
        sensor.seconds_at_12_bits = 0.05  # as the quickest clones are: the tests need not wait
    return Ds2482(Clock(), sensors)


def python(program: str, environment: dict[str, str]) -> str:
    """Run a program with unmodified smbus2; return what it prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


# --- i2c-tools and smbus2 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [0x18, 0x1B])
def test_i2cdetect_shows_the_bridge_where_it_is(address):
    program = need("i2cdetect", "i2c-tools")
    with i2c_server(Ds2482(Clock(), address=address)) as environment:
        shown = subprocess.run(
            [program, "-y", "99"], env=environment, check=True, capture_output=True, text=True, timeout=60
        )
    digits = [cell for line in shown.stdout.splitlines()[1:] for cell in line.split()[1:] if cell != "--"]
    assert digits == [f"{address:x}"]


def test_i2cdetect_shows_a_chip_that_the_kernel_holds_as_uu(bridge):
    program = need("i2cdetect", "i2c-tools")
    with i2c_server(bridge, kernel_owns={0x18}) as environment:
        shown = subprocess.run(
            [program, "-y", "1"], env=environment, check=True, capture_output=True, text=True, timeout=60
        )
    assert "UU" in shown.stdout


def test_smbus2_reads_the_status_after_a_reset(bridge):
    program = """if True:
        from smbus2 import SMBus
        with SMBus(99) as bus:
            bus.write_byte(0x18, 0xF0)
            print(hex(bus.read_byte(0x18)))
            bus.write_byte_data(0x18, 0xD2, 0xE1)
            print(hex(bus.read_byte(0x18)))
            bus.write_quick(0x18)
    """
    with i2c_server(bridge) as environment:
        assert python(program, environment).split() == ["0x18", "0x1"]


@pytest.mark.parametrize(
    ("transfer", "expected"),
    [
        ("bus.read_byte(0x19)", "EREMOTEIO"),
        ("bus.write_byte(0x18, 0x00)", "EREMOTEIO"),
        ("bus.write_byte_data(0x18, 0x00, 0)", "EREMOTEIO"),
        ("bus.write_quick(0x20)", "EREMOTEIO"),
        ("bus.read_word_data(0x18, 0)", "ENOTSUP"),
        ("bus.read_byte(0x1A)", "EBUSY"),
        ("bus.read_byte(0x1A, force=True)", "EREMOTEIO"),
        ("SMBus('/dev/i2c/99')", "ENOENT"),
        ("os.open('/dev/i2c/99', os.O_RDWR, dir_fd=os.open('/', os.O_RDONLY))", "ENOENT"),
        ("open('/nowhere', 'w+').close(); os.unlink('/nowhere'); os.stat('/nowhere')", "ENOENT"),
    ],
)
def test_what_fails_has_the_errno_that_the_kernel_gives(bridge, tmp_path, transfer, expected):
    program = f"""if True:
        import errno, os
        from smbus2 import SMBus
        bus = SMBus(99)
        try:
            {transfer.replace("/nowhere", str(tmp_path / "nowhere"))}
        except OSError as error:
            print(errno.errorcode[error.errno])
    """
    with i2c_server(bridge, kernel_owns={0x1A}) as environment:
        assert python(program, environment) == expected


def test_without_the_server_there_is_no_device(bridge):
    program = """if True:
        from smbus2 import SMBus
        try:
            SMBus(99)
        except FileNotFoundError:
            print("no device")
    """
    with i2c_server(bridge) as environment:
        pass
    assert python(program, environment) == "no device"


def test_a_program_that_is_killed_leaves_the_bus_to_the_next(bridge):
    program = """if True:
        from smbus2 import SMBus
        bus = SMBus(99)
        print("open", flush=True)
        while True:
            bus.read_byte(0x18)
    """
    with i2c_server(bridge) as environment:
        for _ in range(3):
            with subprocess.Popen(
                [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout.readline() == b"open\n"
                process.kill()
        assert python("from smbus2 import SMBus; print(SMBus(99).read_byte(0x18))", environment) == "24"


# --- owserver and owfs ------------------------------------------------------------------------------------


def test_owserver_finds_five_sensors_and_reads_them_right(bridge, tmp_path):
    with owserver(bridge, tmp_path) as port:
        bus = protocol.proxy(port=port)
        assert bus.read("/bus.0/interface/settings/name") == b"DS2482-100"
        assert sorted(path.strip("/") for path in bus.dir("/")) == sorted(TEMPERATURES)
        read = {rom_id: float(bus.read(f"/uncached/{rom_id}/temperature")) for rom_id in TEMPERATURES}
    assert read == TEMPERATURES


def test_owserver_converts_all_at_once(bridge, tmp_path):
    # given sensors as slow as genuine ones, that note when they convert
    conversions = []
    for sensor in bridge.sensors:
        sensor.seconds_at_12_bits = 0.750
        sensor.temperature = lambda now: conversions.append(now) or -10.125
    with owserver(bridge, tmp_path) as port:
        bus = protocol.proxy(port=port)
        # when they are told all at once, and read when they are done (owserver counts whole seconds: if one
        # begins just after the command it does not wait, reads too early, and has that sensor convert again)
        bus.write("/simultaneous/temperature", b"1")
        wait_until(lambda: Clock().monotonic() > conversions[0] + 0.750)
        read = [float(bus.read(f"/{rom_id}/temperature")) for rom_id in TEMPERATURES]
    # then each has converted once, at the same moment
    assert read == [-10.125] * 5
    assert len(conversions) == 5
    assert len(set(conversions)) == 1


def test_owserver_misses_a_sensor_that_is_unplugged_until_it_is_back(bridge, tmp_path):
    # given a sensor that owserver has read
    sensor = bridge.sensors[1]
    with owserver(bridge, tmp_path) as port:
        bus = protocol.proxy(port=port)
        assert float(bus.read(f"/uncached/{sensor.id}/temperature")) == -10.125
        # when it is unplugged
        sensor.present = False
        # then there is no reading, and the others are right
        with pytest.raises(protocol.OwnetError):
            bus.read(f"/uncached/{sensor.id}/temperature")
        assert float(bus.read("/uncached/28.33F749050000/temperature")) == 21.0625
        # and when it is back, its scratchpad is that of power-on until it converts
        sensor.present = True
        wait_until(lambda: bus.present(f"/uncached/{sensor.id}"), what=f"{sensor.id} back")
        assert bus.read(f"/uncached/{sensor.id}/scratchpad") == bytes.fromhex("50054B467FFF0C101C")
        assert float(bus.read(f"/uncached/{sensor.id}/temperature")) == -10.125


def test_owserver_reads_all_channels_of_a_ds2482_800(tmp_path):
    bridge = Ds2482(Clock(), channels=8)
    for channel, (rom_id, temperature) in enumerate(TEMPERATURES.items()):
        bridge.channels[channel + 3].append(Ds18b20(rom_id, temperature))
    with owserver(bridge, tmp_path) as port:
        bus = protocol.proxy(port=port)
        assert bus.read("/bus.0/interface/settings/name").startswith(b"DS2482-800")
        assert sorted(path.strip("/") for path in bus.dir("/")) == sorted(TEMPERATURES)
        assert float(bus.read("/uncached/28.DB564A050000/temperature9")) == -10.5


def test_owserver_feeds_a_parasite(bridge, tmp_path):
    bridge.sensors = [Ds18b20("28.33F749050000", 21.0625)]
    bridge.sensors[0].parasite = True
    with owserver(bridge, tmp_path) as port:
        bus = protocol.proxy(port=port)
        assert int(bus.read("/uncached/28.33F749050000/power")) == 0
        assert float(bus.read("/uncached/28.33F749050000/temperature")) == 21.0625


@pytest.mark.needs_root
def test_owfs_mounts_what_owserver_reads(bridge, tmp_path):
    with owserver(bridge, tmp_path) as port, owfs_mount(port, tmp_path) as mount_point:
        there = {path.name for path in mount_point.iterdir()}
        assert there >= set(TEMPERATURES)
        sensor = mount_point / "uncached" / "28.DB564A050000"
        assert float((sensor / "temperature").read_text()) == -10.125
        with pytest.raises(FileNotFoundError):
            (mount_point / "28.000000000001" / "temperature").read_text()
    assert not mount_point.is_mount()
