"""A chip on the machine's I2C bus, which one section of one process has to itself."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gateway.process import holders

if TYPE_CHECKING:
    from collections.abc import Callable

    from smbus2 import SMBus

NOT_ACKNOWLEDGED = (errno.EREMOTEIO, errno.ENXIO, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN)
"""What the adapters' drivers say when a chip does not answer: the Pi's EREMOTEIO, others one of the rest."""

_I2C_SLAVE = 0x0703
"""The request by which i2c-dev takes an address, unless a driver of the kernel's has it (linux/i2c-dev.h)."""

LOCKS = Path("/run/lock")


class Claimed(OSError):
    """A kernel driver holds the chip: two masters would garble each other's transfers unnoticed."""


class Device:
    """The chip at `address` of /dev/i2c-`bus`; `opener` opens that bus (`open_bus` here) for transfers.

    From `open` to `close` no other section and no other process of this package can have the chip, unless
    `locked` is false. In between, the bus may be dropped and opened again. An adapter that is pulled out
    leaves a dead descriptor, which keeps the kernel from removing the device; plugged in again, it is another
    device.
    """

    def __init__(
        self, bus: str, address: int, opener: Callable[[str, int], SMBus], *, locked: bool = True
    ) -> None:
        self.address = address
        self._bus = bus
        self._opener = opener
        self._locked = locked
        self._lock: Lock | None = None
        self._opened: SMBus | None = None

    @property
    def i2c(self) -> SMBus:
        """The open bus, for transfers with `address`; OSError if it has been dropped."""
        if self._opened is None:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return self._opened

    def open(self) -> None:
        """Lock the chip and open the bus, unless that is done. Raises Claimed, or OSError with what to do."""
        if self._locked and self._lock is None:
            self._lock = Lock(self._bus, self.address)
        if self._opened is None:
            self._opened = self._opener(self._bus, self.address)
        self.check()

    def check(self) -> None:
        """Raise Claimed if a driver of the kernel's has taken the chip meanwhile."""
        fd = getattr(self._opened, "fd", None)  # a simulated bus has none
        if fd is None:
            return
        try:
            fcntl.ioctl(fd, _I2C_SLAVE, self.address)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise explained(error, self._bus, self.address) from error

    def explained(self, error: OSError) -> OSError:
        """Return what a failed transfer means, with the place and what to do."""
        return explained(error, self._bus, self.address)

    def drop(self) -> None:
        """Close the bus and keep the lock."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def close(self) -> None:
        """Close the bus and release the lock."""
        self.drop()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


class Lock:
    """A file lock on a chip: two masters would garble each other's readings unnoticed.

    Raises OSError when it is held, by another process or by this one.
    """

    _held: ClassVar[set[Path]] = set()
    """Those of this process."""

    def __init__(self, bus: str, address: int) -> None:
        path = LOCKS / f"oemgateway-i2c-{bus}-{address:#04x}"
        if not path.exists() and not os.access(LOCKS, os.W_OK):
            path = Path(tempfile.gettempdir()) / path.name
        self._path = path
        try:
            self._fd = _open_lock(path)
        except OSError as error:
            raise OSError(
                f"{place_of(bus, address)}: its lock {path} cannot be opened: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            if path in self._held:
                who = "another section of oemgateway.conf reads this chip: read it in one section"
            else:
                holder = holders.of_file(path)
                who = (
                    f"{holder} reads this chip: {holder.cure}"
                    if holder
                    else "another process reads this chip, the oemgateway service or a command of it: stop "
                    f"that one (`sudo fuser {path}` shows which)"
                )
            raise OSError(f"{place_of(bus, address)}: {who}") from None
        self._held.add(path)

    def release(self) -> None:
        """Release it."""
        self._held.discard(self._path)
        os.close(self._fd)


def _open_lock(path: Path) -> int:
    # Any user may put something into that directory: no link is followed, no pipe waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        # Another user's file in a sticky directory may be opened, but not with O_CREAT.
        return os.open(path, flags)
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:  # another process was quicker
        return os.open(path, flags)
    os.fchmod(made, 0o644)  # other users have to open it, whatever the umask
    return made


def open_bus(bus: str, address: int) -> SMBus:
    """Return /dev/i2c-`bus` once the chip at the address answers; OSError with what to do about it if not."""
    from smbus2 import SMBus  # noqa: PLC0415  (not needed without an I2C bus)

    try:
        i2c = SMBus(int(bus))
    except FileNotFoundError:
        raise OSError(
            f"/dev/i2c-{bus} is not there: switch I2C on (raspi-config, Interface Options) and load i2c-dev "
            "(`modprobe i2c-dev`)"
        ) from None
    except PermissionError:
        user = holders.user_name(os.geteuid())
        raise OSError(
            f"/dev/i2c-{bus}: {user} may not use it: sudo usermod -aG i2c {user}, then log in again "
            "(and restart the gateway)"
        ) from None
    except OSError as error:
        raise OSError(f"/dev/i2c-{bus}: {error.strerror}: `oemgateway doctor` says more") from error
    try:
        i2c.read_byte(address)
    except OSError as error:
        i2c.close()
        raise explained(error, bus, address) from error
    return i2c


def explained(error: OSError, bus: str, address: int) -> OSError:
    """Return what a failed transfer means, with what to do about it where that is known."""
    place = place_of(bus, address)
    if error.errno == errno.EBUSY:
        chip = f"{bus}-{address:04x}"
        folder = Path(f"/sys/bus/i2c/devices/{chip}/driver")
        driver = f" {folder.readlink().name}" if folder.is_symlink() else ""
        return Claimed(
            f"{place}: the kernel's driver{driver} holds the chip: delete its dtoverlay in config.txt and "
            f"reboot, or now: echo {chip} | sudo tee {folder}/unbind"
        )
    if error.errno in NOT_ACKNOWLEDGED:
        return OSError(
            f"{place}: nothing answers: check wiring and address (`i2cdetect -y {bus}` shows what does)"
        )
    what = error.strerror or error
    return OSError(f"{place}: {what}: is its adapter plugged in? `oemgateway doctor` says more")


def place_of(bus: str, address: int) -> str:
    """Return in words where a chip is, which only one section can have."""
    return f"I2C bus {bus}, address {address:#04x}"
