"""Which packets are of our group, where a board hears every group (it is in group 0) and prints which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from listeners.lines import Ignored, Rejected

if TYPE_CHECKING:
    import logging

    from listeners.radio.grammar import Packet


@dataclass
class Groups:
    """Takes the packets of the group that is set, or of the first one that is heard.

    Where every group is wanted (0), each node has its own group: that in which it was first heard.
    """

    wanted: int | None
    _found: dict[int | None, int] = field(default_factory=dict)  # by node, or one for all

    def judge(self, packet: Packet, log: logging.Logger) -> Packet | Ignored | Rejected:
        """Return a packet that is to be taken, or why not."""
        if packet.node is None:
            return Ignored("directed")
        return packet if self._is_ours(packet, log) else Rejected("other-group")

    def _is_ours(self, packet: Packet, log: logging.Logger) -> bool:
        if packet.group is None or self.wanted:  # a board that has only one group does not print it
            return packet.group in (None, self.wanted)
        if self.wanted is None and not self._found:
            log.warning(
                "the board is in group 0 and hears every group: only group %d, the first heard, is taken; "
                "to say which, set group = %d, or group = 0 for all",
                packet.group,
                packet.group,
            )
        ours = self._found.setdefault(None if self.wanted is None else packet.node, packet.group)
        return packet.group == ours
