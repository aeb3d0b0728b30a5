"""The machine's I2C bus, opened for one master and one chip on it."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_ACKNOWLEDGED = (errno.EREMOTEIO, errno.ENXIO, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN)
"""What the adapters' drivers say when a chip does not answer: the Pi's EREMOTEIO, others one of the rest."""

_I2C_SLAVE = 0x0703
"""The request by which i2c-dev takes an address, unless a driver of the kernel's has it (linux/i2c-dev.h)."""

LOCKS = Path("/run/lock")


class I2c(Protocol):
    """The methods of smbus2's SMBus that a DS2482 is spoken to with; all may raise OSError."""

    def write_byte(self, i2c_addr: int, value: int, /) -> None:
        """Write one byte: a command."""

    def write_byte_data(self, i2c_addr: int, register: int, value: int, /) -> None:
        """Write two bytes: a command and its parameter."""

    def read_byte(self, i2c_addr: int, /) -> int:
        """Read one byte: the register that the read pointer is at."""
        ...

    def close(self) -> None:
        """Let go of the bus."""


class Claimed(OSError):
    """A driver of the kernel's has the chip: both would drive it, and neither notice."""


class Adapter:
    """The bus as it is now: what `opener` returns, opened anew when it has been dropped.

    An adapter that is pulled out leaves a descriptor of which nothing comes any more, and which keeps the
    kernel from being done with it; put back, it is another device. Otherwise as an I2c.
    """

    def __init__(self, bus: str, address: int, opener: Callable[[], I2c]) -> None:
        self._place = bus, address
        self._opener = opener
        self._i2c: I2c | None = None

    def open(self) -> None:
        """Open the bus unless it is. Raises Claimed, or another OSError that says what to do about it."""
        if self._i2c is None:
            self._i2c = self._opener()
        self.check()

    def check(self) -> None:
        """Raise Claimed where a driver of the kernel's has taken the chip meanwhile."""
        fd = getattr(self._i2c, "fd", None)  # a simulated one has none
        if fd is None:
            return
        try:
            fcntl.ioctl(fd, _I2C_SLAVE, self._place[1])
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _explained(error, *self._place) from error

    def close(self) -> None:
        """Let go of the bus."""
        i2c, self._i2c = self._i2c, None
        if i2c is not None:
            i2c.close()

    def write_byte(self, i2c_addr: int, value: int, /) -> None:
        """Write one byte."""
        self._opened().write_byte(i2c_addr, value)

    def write_byte_data(self, i2c_addr: int, register: int, value: int, /) -> None:
        """Write two bytes."""
        self._opened().write_byte_data(i2c_addr, register, value)

    def read_byte(self, i2c_addr: int, /) -> int:
        """Read one byte."""
        return self._opened().read_byte(i2c_addr)

    def _opened(self) -> I2c:
        if self._i2c is None:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return self._i2c


class Lock:
    """A file lock on a chip: two masters that do not know of each other garble both's readings unnoticed.

    Raises OSError when it is held, by another process or by this one.
    """

    _held: ClassVar[set[Path]] = set()
    """Those of this process."""

    def __init__(self, bus: str, address: int) -> None:
        path = LOCKS / f"oemgateway-i2c-{bus}-{address:#04x}"
        if not path.exists() and not os.access(LOCKS, os.W_OK):
            path = Path(tempfile.gettempdir()) / path.name
        self._path = path
        self._fd = _opened(path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            if path in self._held:
                who = "another section of oemgateway.conf reads this chip: put its sensors into one section"
            else:
                who = (
                    "another process reads this chip, the oemgateway service or a command of it: stop "
                    f"that one (`fuser {path}` shows which)"
                )
            raise OSError(f"{_place(bus, address)}: {who}") from None
        self._held.add(path)

    def release(self) -> None:
        """Let it go."""
        self._held.discard(self._path)
        os.close(self._fd)


def _opened(path: Path) -> int:
    try:
        # Another user's file in a sticky directory may be opened, but not with O_CREAT.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def open_bus(bus: str, address: int) -> I2c:
    """Return /dev/i2c-`bus` once the chip at the address answers; OSError with what to do about it if not."""
    from smbus2 import SMBus  # noqa: PLC0415  (who has no I2C bus need not have it)

    try:
        i2c = SMBus(int(bus))
    except FileNotFoundError:
        raise OSError(
            f"/dev/i2c-{bus} is not there: switch I2C on (raspi-config, Interface Options) and load i2c-dev "
            "(`modprobe i2c-dev`)"
        ) from None
    except PermissionError:
        raise OSError(
            f"/dev/i2c-{bus} may not be opened: add the user that this runs as to the group i2c "
            "(`adduser USER i2c`) and start it again"
        ) from None
    try:
        i2c.read_byte(address)
    except OSError as error:
        i2c.close()
        raise _explained(error, bus, address) from error
    return i2c


def _explained(error: OSError, bus: str, address: int) -> OSError:
    place = _place(bus, address)
    if error.errno == errno.EBUSY:
        return Claimed(
            f"{place}: the kernel's driver holds the chip: delete its dtoverlay in config.txt and reboot, "
            f"or `echo {bus}-{address:04x} > /sys/bus/i2c/drivers/ds2482/unbind`"
        )
    if error.errno in NOT_ACKNOWLEDGED:
        return OSError(
            f"{place}: nothing answers: check wiring and address (`i2cdetect -y {bus}` shows what does)"
        )
    return error


def _place(bus: str, address: int) -> str:
    return f"I2C bus {bus}, address {address:#04x}"
