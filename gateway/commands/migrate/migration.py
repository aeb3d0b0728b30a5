"""The sections of the old file as those of the new one, and the remarks on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from gateway.commands.migrate.moved import New, Old
from gateway.commands.migrate.rules import NOT_HERE, rule_of
from gateway.commands.migrate.source import Source, entry_of, named, words
from gateway.conf.document import ConfigFaults, Fault, Section
from gateway.conf.misplaced import SECTIONS
from gateway.registry import KINDS, Kind
from gateway.settings import Raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.conf.document import Entry

_FOLDED = ("init_settings", "runtimesettings", "runtime_settings")
_EMONHUB = ("interfacers", "reporters")
_TOPS = ("gateway", "hub", "nodes", "available", *_EMONHUB, "listeners", "buffers", "dispatchers")


@dataclass
class Migration:
    """What the old file becomes: sections, those of [nodes] as they are, and what is lost, with its line.

    `refused` are lines of the old file that `check` does not accept, each with the reason.
    """

    source: Source
    is_emonhub: bool
    gateway: dict[str, tuple[Raw, int]] = field(default_factory=dict)
    sections: list[New] = field(default_factory=list)
    nodes: list[Section] = field(default_factory=list)
    lost: list[tuple[int, str, str]] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Source) -> Migration:
        """Translate a file. Raises ConfigFaults if it is of neither program."""
        tops = source.root.sections
        if not {*_TOPS} & tops.keys():
            message = "no emonhub.conf and no oemgateway.conf: [interfacers] or [listeners] expected"
            raise ConfigFaults([*source.faults, Fault(str(source.path), 0, "", message)])
        made = cls(source, bool({"hub", "available", *_EMONHUB} & tops.keys()))
        made._hub()
        for top in named(tops, *_EMONHUB, "listeners", "buffers", "dispatchers"):
            for section in top.sections.values():
                made._section(section, SECTIONS.get(top.name))
        for top in named(tops, "nodes"):
            made.nodes += top.sections.values()
        for top in named(tops, "available"):
            made._templates(top)
        made.lost += [
            (section.line, f"[{name}]", "there is no such section here")
            for name, section in tops.items()
            if name not in _TOPS
        ]
        for node in made.nodes:
            made._deeper(deep for inner in node.sections.values() for deep in inner.sections.values())
        made._find_apart()
        return made

    @property
    def names(self) -> dict[str, str]:
        """What emonhub calls the nodes that have a name there."""
        given = {node.name: entry_of(node, "nodename") for node in self.nodes}
        return {node: name for node, name in given.items() if isinstance(name, str) and name}

    def of_kind(self, kind: Kind) -> list[New]:
        """Return the listeners or dispatchers."""
        return [section for section in self.sections if section.kind == kind]

    def losses(self) -> Iterator[str]:
        """Yield what has no counterpart, in the order of the old file."""
        lost = [*self.lost, *(loss for section in self.sections for loss in section.lost)]
        yield from (self.source.at(line, reason, where) for line, where, reason in sorted(lost))

    def _hub(self) -> None:
        """Move the settings of the program itself."""
        for top in named(self.source.root.sections, "gateway"):
            for key, entry in top.entries.items():
                self.gateway[key] = (entry.value, entry.line)
        for top in named(self.source.root.sections, "hub"):
            for key, entry in top.entries.items():
                value = ", ".join(words(entry.value))
                if key == "loglevel" and value:
                    self.gateway[key] = (value.upper(), entry.line)
                elif key == "use_syslog":
                    if value.lower() == "yes":
                        self.gateway["syslog"] = ("local", entry.line)
                elif key == "autoconf":
                    if value == "1":
                        message = "a node is not described by itself: emonhub wrote those that it had heard"
                        self.lost.append((entry.line, key, f"{message} into [nodes]; describe others there"))
                elif value:
                    self.lost.append((entry.line, key, "there is no such setting here"))

    def _templates(self, available: Section) -> None:
        """Take the templates of emonhub's available.conf for the first node of theirs that is free."""
        for section in available.sections.values():
            taken = {node.name for node in self.nodes}
            free = [node for node in words(entry_of(section, "nodeids")) if node not in taken]
            if free:
                section.name = free[0]
                self.nodes.append(section)
            else:
                message = "its nodes have another template already"
                self.lost.append((section.line, f"[[{section.name}]]", message))

    def _section(self, section: Section, above: Kind | None) -> None:
        entries = _entries(section)
        typed = next((key for key in ("Type", "type") if key in entries), None)
        if typed is None and section.name.isdecimal():  # it stands in an excerpt, without [nodes]
            self.nodes.append(section)
            return
        type_ = "".join(words(entries[typed].value)) if typed else ""
        old = Old(section, type_, entries, {typed or ""})
        where = f"[[{section.name}]]"
        rule = rule_of(type_, above) if type_ else None
        if rule is None:
            reason = NOT_HERE.get(type_, "there is nothing of this type")
            reason = f"{type_}: {reason}" if type_ else "it has no Type: emonhub does not run it either"
            self.lost.append((section.line, where, reason))
            return
        made = rule.apply(old)
        self._deeper(_unfolded(section))
        if self.is_emonhub and "reporters" not in self.source.root.sections:
            self._channels(old, made)
        taken = {other.name for other in self.sections}
        for new in made:
            while new.name in taken:
                new.name += "-2"
            self.sections.append(new)

    def _channels(self, old: Old, made: list[New]) -> None:
        """Note what emonhub connects it with; it does not run what is connected with nothing."""
        own = "pub" if made[0].kind == "listeners" else "sub"
        keys = (f"{own}channels", f"{own}_channels")
        for new in made:
            new.channels = frozenset(channel for key in keys for channel in words(old.raw(key)))
            if not new.channels:
                new.off = new.off or f"it has no {own}channels: emonhub does not run it either"

    def _deeper(self, sections: Iterable[Section]) -> None:
        """Name sections that are nested deeper than either program reads."""
        for section in sections:
            self.lost.append(
                (section.line, f"[[[{section.name}]]]", "nothing is read from so deep: move it up")
            )

    def _find_apart(self) -> None:
        """Name the listeners whose readings emonhub does not give to a destination."""
        for one, other in product(self.of_kind("listeners"), self.of_kind("dispatchers")):
            if other.old and one.channels and other.channels and not one.channels & other.channels:
                message = f"it gets the readings of [[{one.name}]] too: there are no channels here"
                self.lost.append((other.old.line, f"[[{other.name}]]", message))

    def fill(self) -> None:
        """Add what a file must have: a listener and a dispatcher, which are switched off."""
        for kind in KINDS:
            if not self.of_kind(kind):
                type_, settings = _FILLED[kind]
                new = New(kind, type_, type_, None, dict(settings))
                new.off = f"put a {kind[:-1]} of yours here: the old file has none that can be moved"
                self.sections.append(new)


_FILLED: dict[Kind, tuple[str, dict[str, str]]] = {
    "listeners": ("tcp", {"port": "50011"}),
    "dispatchers": ("emoncms", {"url": "https://emoncms.org", "apikey": ""}),
}


def _unfolded(section: Section) -> Iterator[Section]:
    """Yield the sections in a section whose entries `_entries` does not take."""
    for inner in section.sections.values():
        yield from inner.sections.values() if inner.name in _FOLDED else [inner]


def _entries(section: Section) -> dict[str, Entry]:
    """Return the entries of a section and of what is in it, except deeper sections."""
    entries = dict(section.entries)
    for name in _FOLDED:
        for inner in named(section.sections, name):
            entries |= inner.entries
    return entries
