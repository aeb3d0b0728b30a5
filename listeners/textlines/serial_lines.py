"""Lines `node v1 v2 ...` from a device on a serial port, such as an emonTx with its three-phase firmware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.settings import setting
from listeners.ports.serial_listener import Baud, SerialListener
from listeners.textlines.value_lines import Values, decode

if TYPE_CHECKING:
    from gateway.frame import Frame, Stamp
    from listeners.lines import Ignored, Rejected


@dataclass(kw_only=True)
class SerialLines(SerialListener):
    """Listens to a device that prints the values of one node or of several."""

    baud: Baud = setting(9600, was=("com_baud",))

    def frame(self, line: str, stamp: Stamp) -> Frame | Ignored | Rejected:
        """Return what a line says: the values, with the scales and names that [nodes] gives them."""
        said = decode(line)
        if not isinstance(said, Values):
            return said
        self.counts.count_missing(said.values, line, self.log)
        return said.frame(self.nodes, stamp, self.name)
