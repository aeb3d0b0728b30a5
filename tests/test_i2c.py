"""A chip on an I2C bus: opened, locked, and given up where a driver of the kernel's has it."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd

import pytest

from listeners.ports import i2c

ME = pwd.getpwuid(os.geteuid()).pw_name


class Barometer:
    """A made-up chip with registers, behind the methods of smbus2's SMBus that are used here."""

    def __init__(self, address):
        self.address = address
        self.registers = {0xD0: [0x60], 0xF7: [0x65, 0x5A, 0xC0]}
        self.closed = False

    def read_i2c_block_data(self, i2c_addr, register, length):
        assert not self.closed
        if i2c_addr != self.address:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        return self.registers[register][:length]

    def close(self):
        self.closed = True


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Return a device for a barometer at 0x76 of bus 3, and the buses that were opened for it."""
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    buses = []

    def opener(bus, address):
        assert (bus, address) == ("3", 0x76)
        buses.append(Barometer(address))
        return buses[-1]

    return i2c.Device("3", 0x76, opener), buses


def test_any_chip_is_read_with_the_methods_of_the_bus(opened):
    device, buses = opened
    device.open()
    assert device.i2c.read_i2c_block_data(device.address, 0xF7, 3) == [0x65, 0x5A, 0xC0]
    device.close()
    assert [bus.closed for bus in buses] == [True]


def test_a_chip_is_locked_from_open_to_close_also_while_its_bus_is_dropped(opened):
    device, buses = opened
    device.open()
    device.drop()
    with pytest.raises(OSError, match="No such device"):
        device.i2c.read_i2c_block_data(0x76, 0xD0, 1)
    with pytest.raises(OSError, match="I2C bus 3, address 0x76: another section of oemgateway"):
        i2c.Lock("3", 0x76)
    # when it is opened again, then by a new bus and the same lock
    device.open()
    device.open()
    assert [bus.closed for bus in buses] == [True, False]
    device.close()
    device.close()
    i2c.Lock("3", 0x76).release()


def test_a_simulated_chip_needs_no_lock(monkeypatch, tmp_path):
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    for _ in range(2):
        i2c.Device("simulated", 0x76, lambda _, address: Barometer(address), locked=False).open()
    assert not list(tmp_path.iterdir())


class FakeSMBus:
    """smbus2's SMBus where opening or the first transfer fails."""

    opening: OSError | None = None
    transfer: OSError | None = None
    closed = 0

    def __init__(self, bus):
        assert bus == 1
        if FakeSMBus.opening:
            raise FakeSMBus.opening

    def read_byte(self, address):
        if FakeSMBus.transfer:
            raise FakeSMBus.transfer
        return 0x18

    def close(self):
        FakeSMBus.closed += 1


@pytest.mark.parametrize(
    ("opening", "transfer", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "x"), None, "/dev/i2c-1 is not there: switch I2C on (raspi-config"),
        (
            PermissionError(errno.EACCES, "x"),
            None,
            f"/dev/i2c-1: {ME} may not use it: sudo usermod -aG i2c {ME}",
        ),
        (None, OSError(errno.EBUSY, "x"), "echo 1-0018 | sudo tee /sys/bus/i2c/devices/1-0018/driver/unbind"),
        (None, OSError(errno.EREMOTEIO, "x"), "I2C bus 1, address 0x18: nothing answers: check wiring"),
        (None, OSError(errno.ENODEV, "gone"), "gone"),
    ],
)
def test_a_bus_that_cannot_be_opened_says_what_to_do(monkeypatch, opening, transfer, words):
    monkeypatch.setattr("smbus2.SMBus", FakeSMBus)
    monkeypatch.setattr(FakeSMBus, "opening", opening)
    monkeypatch.setattr(FakeSMBus, "transfer", transfer)
    monkeypatch.setattr(FakeSMBus, "closed", 0)
    with pytest.raises(OSError) as refusal:
        i2c.open_bus("1", 0x18)
    assert words in str(refusal.value)
    assert FakeSMBus.closed == (transfer is not None)


def test_a_bus_whose_chip_answers_is_opened(monkeypatch):
    monkeypatch.setattr("smbus2.SMBus", FakeSMBus)
    assert i2c.open_bus("1", 0x18).read_byte(0x18) == 0x18


def test_the_lock_is_taken_where_run_lock_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(i2c, "LOCKS", tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lock = i2c.Lock("7", 0x1F)
    with (tmp_path / "oemgateway-i2c-7-0x1f").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()


@pytest.fixture
def private_umask():
    """Give new files to their owner alone, as hardened machines do."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private_umask")
def test_the_lock_that_root_has_made_can_be_taken_by_the_user_of_the_service(monkeypatch, tmp_path):
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    i2c.Lock("3", 0x76).release()
    assert (tmp_path / "oemgateway-i2c-3-0x76").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_others_put_in_the_place_of_the_lock_is_neither_waited_for_nor_followed(
    monkeypatch, tmp_path, kind
):
    # given what any user may put into /run/lock
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    place, target = tmp_path / "oemgateway-i2c-3-0x76", tmp_path / "made"
    if kind == "pipe":
        os.mkfifo(place)
        i2c.Lock("3", 0x76).release()
    else:
        place.symlink_to(target)
        with pytest.raises(OSError, match=r"0x76: its lock .* cannot be opened: Too many levels"):
            i2c.Lock("3", 0x76)
    assert not target.exists()
