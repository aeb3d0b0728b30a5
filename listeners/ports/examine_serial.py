"""What keeps a user from a serial port: a missing port, missing rights, or a console that uses it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good
from listeners.ports.adapter import adapter_of, look_for_copies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine

_RASPI_CONFIG = (
    "run raspi-config, Interface Options, Serial Port (login shell: no, hardware: yes), and reboot"
)
_OWN_PORT = re.compile(r"serial0|tty(AMA|S)[0-9]+")
_WITH_BLUETOOTH = re.compile(r"Raspberry Pi (3|4|Zero W|Zero 2 W)")
"""Models whose Bluetooth uses ttyAMA0 unless an overlay prevents that."""
_WITHOUT_BLUETOOTH = re.compile(r"dtoverlay=(pi3-)?(disable|miniuart)-bt\b")


def examine_serial(machine: Machine, port: str) -> Iterator[Finding]:
    """Yield the findings on a port: its name, a link to it, or a pattern."""
    if names := machine.names(port):
        port = f"{port.rpartition('/')[0]}/{names[0]}"
    if not machine.exists(port):
        yield _missing(machine, port)
        return
    if closed := machine.unreachable(Path(port), "put the port, or its link, into another directory"):
        yield closed
        return
    name = machine.link(port)
    yield good(f"{port} is there")
    yield machine.examine_rights(port, "dialout")
    if rival := machine.rival(port):
        yield bad(f"{rival} has it open too, and only one program can read a serial port", rival.cure)
    consoles = list(_consoles(machine, name))
    yield from consoles or [good(f"no console is on {port}")]
    if name == "ttyAMA0":
        yield from _examine_bluetooth(machine)


def _missing(machine: Machine, port: str) -> Finding:
    if _OWN_PORT.fullmatch(port.rpartition("/")[2]):
        return bad(f"{port} is missing", _RASPI_CONFIG)
    others = list(stable_names(machine).values())
    others += [f"/dev/{name}" for kind in ("USB", "ACM") for name in machine.names(f"/dev/tty{kind}*")]
    hint = f"set port to one of these: {', '.join(others)}" if others else "plug the board in"
    return bad(f"{port} is missing", hint)


def stable_names(machine: Machine) -> dict[str, str]:
    """Return the names that stay, by the files they mean: what may be another adapter's as well is none."""
    ttys = machine.path("/sys/class/tty")
    found: dict[str, str] = {}
    for folder in ("by-id", "by-path"):
        for name in machine.names(f"/dev/serial/{folder}/*"):
            port = os.path.realpath(machine.path(path := f"/dev/serial/{folder}/{name}"))
            adapter = adapter_of(port, ttys)
            if adapter:
                look_for_copies(adapter, ttys)
            if folder == "by-path" or adapter is None or adapter.has_own_serial:
                found.setdefault(port, path)
    return found


def _consoles(machine: Machine, name: str) -> Iterator[Finding]:
    """Yield what uses the port as a console: the kernel, init or systemd."""
    kernel = re.compile(rf"\bconsole=({'|'.join(_names(machine, name))})\b\S*")
    for file in ("/proc/cmdline", machine.boot("cmdline.txt")):
        if found := kernel.search(machine.text(file)):
            yield bad(f"it is the kernel's console, by {found[0]} in {file}", _RASPI_CONFIG)
    if any("getty" in line and name in line.split() for line in machine.lines("/etc/inittab")):
        yield bad(
            "it is used for logins, by /etc/inittab",
            f"put a # before the line with {name} there, then sudo init q",
        )
    for alias in _names(machine, name):
        unit = f"serial-getty@{alias}.service"
        if machine.names(f"/etc/systemd/system/*.wants/{unit}"):
            yield bad(f"it is used for logins, by {unit}", f"sudo systemctl disable --now {unit}")


def _names(machine: Machine, name: str) -> list[str]:
    """Return the names of a port: its own, and serial0 where that is, or may be, a link to it."""
    is_primary = machine.link("/dev/serial0") in (name, "serial0")
    return [name, "serial0"] if is_primary and _OWN_PORT.fullmatch(name) else [name]


def _examine_bluetooth(machine: Machine) -> Iterator[Finding]:
    model = machine.text("/proc/device-tree/model").rstrip("\0")
    if not _WITH_BLUETOOTH.match(model):
        return
    config = machine.boot("config.txt")
    if any(map(_WITHOUT_BLUETOOTH.match, machine.lines(config))):
        yield good(f"Bluetooth does not use ttyAMA0, by {config}")
    else:
        yield bad(
            f"Bluetooth uses ttyAMA0 on a {model}",
            f"add the line dtoverlay=disable-bt to {config} and reboot",
        )
