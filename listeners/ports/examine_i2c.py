"""What keeps a user from a chip on the machine's I2C bus: no I2C, no rights, or a driver of the kernel's."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good, unknown
from listeners.ports.i2c import Lock, open_bus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from smbus2 import SMBus

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine

    Opener = Callable[[str, int], SMBus]

_SWITCHED_ON = re.compile(r"dtparam=(.*,)?i2c(_arm|1)?(=(on|1|yes|true|okay))?(,|$)")


def examine_i2c(  # noqa: PLR0913  (a chip, and what is special about it)
    machine: Machine,
    bus: str,
    address: int,
    *,
    in_use: bool,
    others: Collection[int] = (),
    more: Iterable[Callable[[], Finding]] = (),
) -> Iterator[Finding]:
    """Yield the findings up to the first that is bad: those after it would only follow from it.

    `in_use`: the running gateway has this chip, so it must not be read. `others` are the addresses that such
    a chip may have too, and `more` is what else to look at before it is read.
    """
    device = f"/dev/i2c-{bus}"
    looks: list[Callable[[], Finding]] = [
        partial(_examine_device, machine, device),
        partial(machine.examine_rights, device, "i2c"),
        partial(_examine_kernel, machine, f"{bus}-{address:04x}"),
        *more,
    ]
    if machine.live and not in_use:
        looks.append(partial(examine_chip, bus, address, others))
    for look in looks:
        finding = look()
        yield finding
        if finding.is_bad:
            break


def _examine_device(machine: Machine, device: str) -> Finding:
    config = machine.boot("config.txt")
    if machine.exists(device):
        return good(f"i2c-dev is loaded, and {device} is there")
    if machine.exists(config) and not any(map(_SWITCHED_ON.match, machine.lines(config))):
        return bad(
            f"{device} is missing, as I2C is off in {config}",
            "run raspi-config, Interface Options, I2C, and reboot",
        )
    if not machine.loaded("i2c_dev"):
        return bad(
            f"{device} is missing, as i2c-dev is not loaded",
            "sudo modprobe i2c-dev, and add the line i2c-dev to /etc/modules",
        )
    others = ", ".join(f"/dev/{name}" for name in machine.names("/dev/i2c-*"))
    if others:
        return bad(f"{device} is missing, but there is {others}", "set bus to the number of the right one")
    return bad(f"{device} is missing", "run raspi-config, Interface Options, I2C, and reboot")


def _examine_kernel(machine: Machine, chip: str) -> Finding:
    """Check whether a driver of the kernel has the chip, which no other program can use then."""
    holder, drivers = f"/sys/bus/i2c/devices/{chip}/driver", "/sys/bus/i2c/drivers"
    held = [name for name in machine.names(f"{drivers}/*") if machine.exists(f"{drivers}/{name}/{chip}")]
    if machine.exists(holder) or held:
        driver = machine.link(holder) if machine.exists(holder) else held[0]
        return bad(
            f"the kernel's driver {driver} holds the chip",
            f"delete its dtoverlay in {machine.boot('config.txt')} and reboot, or now: "
            f"echo {chip} | sudo tee {drivers}/{driver}/unbind",
        )
    return good("no driver of the kernel holds the chip")


def examine_chip(bus: str, address: int, others: Collection[int] = (), opened: Opener = open_bus) -> Finding:
    """Return whether a chip answers at the address, and if not, where else one does."""
    try:
        lock = Lock(bus, address)
    except OSError as error:
        return unknown(str(error))
    try:
        opened(bus, address).close()
    except OSError as error:
        heard = [other for other in others if other != address and hears(bus, other, opened)]
        if not heard:
            return bad(str(error))
        listed = " and ".join(f"{other:#04x}" for other in heard)
        return bad(f"nothing answers at {address:#04x}, but at {listed}", f"set address = {heard[0]:#04x}")
    finally:
        lock.release()
    return good(f"a chip answers at {address:#04x} on I2C bus {bus}")


def hears(bus: str, address: int, opened: Opener = open_bus) -> bool:
    """Tell whether a chip answers at an address."""
    try:
        opened(bus, address).close()
    except OSError:
        return False
    return True
