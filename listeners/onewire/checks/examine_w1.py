"""The doctor's checks of the kernel's own 1-Wire driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine


def examine_w1(machine: Machine, path: Path) -> Finding:
    """Return whether the kernel has a bus in this directory of sysfs, and if not, why."""
    if masters := machine.names(f"{path}/w1_bus_master*"):
        return good(f"the kernel has {', '.join(masters)}")
    config = machine.boot("config.txt")
    overlays = [line for line in machine.lines(config) if line.startswith("dtoverlay=w1-gpio")]
    if not overlays:
        return bad(
            f"the kernel has no 1-Wire bus, as {config} has no dtoverlay=w1-gpio",
            "run raspi-config, Interface Options, 1-Wire, and reboot",
        )
    if not machine.loaded("w1_gpio"):
        return bad(f"the kernel has no 1-Wire bus in spite of {overlays[0]}", "reboot, or modprobe w1-gpio")
    return bad(f"w1-gpio is loaded, but {path} has no bus", "see what `dmesg | grep w1` says of its pin")
