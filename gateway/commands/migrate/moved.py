"""A section on its way from the old file into the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.conf.document import Entry, Section
from gateway.registry import Kind
from gateway.settings import Raw


@dataclass
class Old:
    """A section of the old file, with the entries of its subsections as its own."""

    section: Section
    type: str
    entries: Mapping[str, Entry]
    used: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.section.name

    def raw(self, key: str) -> Raw:
        """Return the value of a key, "" if it is not given; it counts as moved from now on."""
        self.used.add(key)
        return self.entries[key].value if key in self.entries else ""

    def text(self, key: str, default: str = "") -> str:
        """Return the value of a key as one text, or the default where it is empty."""
        raw = self.raw(key)
        return (raw if isinstance(raw, str) else ",".join(raw)).strip() or default

    def is_on(self, key: str, default: str = "0") -> bool:
        """Tell whether a key says yes."""
        return self.text(key, default).lower() in ("1", "true", "yes", "on")

    def line_of(self, key: str) -> int:
        """Return the line of a key, or that of the section where it is not given."""
        return self.entries[key].line if key in self.entries else self.section.line


@dataclass
class New:
    """A section of the new file.

    `old` is the section that it comes from, None if from none, and `channels` are those of emonhub that it is
    connected to. `settings` are values by key, and `origin` the line of the old file that each comes from.
    `lost` are the settings without a counterpart, as line, key and reason; `off` is why it is switched off,
    `changes` are what is different in the readings, `notes` what else to say in a comment.
    """

    kind: Kind
    type: str
    name: str
    old: Section | None = None
    settings: dict[str, Raw] = field(default_factory=dict)
    origin: dict[str, int] = field(default_factory=dict)
    lost: list[tuple[int, str, str]] = field(default_factory=list)
    off: str = ""
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    channels: frozenset[str] = frozenset()

    def put(self, key: str, value: Raw, line: int = 0) -> None:
        """Give it a setting."""
        self.settings[key] = value
        if line:
            self.origin[key] = line

    def lose(self, old: Old, key: str, reason: str, *, needed: bool = False) -> None:
        """Note a setting without a counterpart; if the readings would be wrong without it, switch it off."""
        old.used.add(key)
        self.lost.append((old.line_of(key), key, reason))
        if needed:
            self.off = self.off or f"{key} has no counterpart"
