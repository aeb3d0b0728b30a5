"""Lines `node v1 v2 ...` from a device on a serial port, such as an emonTx with its three-phase firmware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.settings import setting
from listeners.ports.serial_listener import Baud, SerialListener
from listeners.textlines import value_lines

if TYPE_CHECKING:
    from listeners.lines import Ignored, Rejected


@dataclass(kw_only=True)
class SerialLines(SerialListener):
    """Listens to a device that prints the values of one node or of several."""

    baud: Baud = setting(9600, was=("com_baud",))

    def hear(self, line: str) -> value_lines.Values | Ignored | Rejected:
        """Return what a line says."""
        return value_lines.decode(line)
