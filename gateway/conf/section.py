"""One section of oemgateway.conf as a plugin, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.conf.document import Document, Entry, Section
from gateway.conf.misplaced import (
    SECTIONS,
    about_missing,
    about_missing_type,
    about_unknown,
    is_below_commented,
    remark_on_settings_below_commented,
)
from gateway.plugin import Listener, Plugin, Series
from gateway.registry import Kind, find, known
from gateway.settings import UNKNOWN, SettingsFault, alternatives, build, convert, declared, did_you_mean

_FOLDED = ("init_settings", "runtime_settings")
"""Subsections of the files of oem_gateway: their settings count as the section's own."""


@dataclass
class Part:
    """A plugin, and the section and entries that it was made from."""

    section: Section
    entries: Mapping[str, Entry]
    type: str
    plugin: Plugin
    exclusive: tuple[str, ...]
    catalogue: tuple[Series, ...] = ()
    simulated: bool = False
    sets: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """Which section it is."""
        return f"{self.section.name} (line {self.section.line})"


def read_part(text: Document, kind: Kind, section: Section) -> Part | None:
    """Make the plugin of a section; None if it is switched off or has a fault, which is then noted."""
    entries = folded(text, section, _FOLDED)
    if is_off(entries):
        text.remark(entries["active"].line, section.name, "neither run nor checked: active = no")
        return None
    if "type" not in entries:
        about_missing_type(text, kind, section, entries)
        return None
    if not entries["type"].value:
        expected = alternatives(known(kind))
        text.fault(entries["type"].line, "type", f"{expected} expected, not nothing")
        return None
    try:
        named = str(convert(str, entries["type"].value))
        cls = find(kind, named)
    except ValueError as error:
        text.fault(entries["type"].line, "type", str(error))
        return None
    try:
        return _made(text, section, entries, named, cls)
    except SettingsFault as fault:
        blame(text, cls, section, entries, fault)
    except Exception as error:  # noqa: BLE001  (a plugin of a third party must not hide the faults of the rest)
        text.fault(section.line, section.name, f"{named} fails on its settings, a bug in it: {error!r}")
    return None


def plugins(text: Document, kind: Kind) -> dict[str, Plugin]:
    """Return the plugins of all sections of a kind that are on and have no fault, by name."""
    parts = [
        read_part(text, kind, section)
        for top in text.root.sections.values()
        if SECTIONS.get(top.name) == kind
        for section in top.sections.values()
    ]
    return {part.plugin.name: part.plugin for part in parts if part}


def nodes_in(text: Document) -> frozenset[str]:
    """Return the nodes that a file names: those that it describes, and those of its listeners."""
    tops = list(text.root.sections.values())
    described = (node for top in tops if top.name == "nodes" for node in top.sections)
    listeners = (
        each for top in tops if SECTIONS.get(top.name) == "listeners" for each in top.sections.values()
    )
    own = (inner.entries for each in listeners for inner in (each, *each.sections.values()))
    return frozenset((*described, *(str(entries["node"].value) for entries in own if "node" in entries)))


def _made(text: Document, section: Section, entries: dict[str, Entry], named: str, cls: type[Plugin]) -> Part:
    plugin = build(cls, {key: entry.value for key, entry in entries.items() if key != "type"})
    plugin.name = section.name
    part = Part(section, entries, named, plugin, tuple(plugin.exclusive))
    if isinstance(plugin, Listener):
        part.catalogue, part.simulated = tuple(plugin.catalogue()), plugin.simulated
        part.sets, part.reads = plugin.sets, tuple(plugin.reads)
    remark_on_settings_below_commented(text, entries)
    for key, message in plugin.remarks():
        text.remark(*place(cls, section, entries, key), message)
    return part


def folded(text: Document, section: Section, known: tuple[str, ...]) -> dict[str, Entry]:
    """Return the entries of a section and of those of its subsections that are known."""
    entries = dict(section.entries)
    for name, inner in section.sections.items():
        if name not in known:
            hint = did_you_mean(name, known) or f": put what is in it into [[{section.name}]] itself"
            if "type" in inner.entries:
                hint = f" in [[{section.name}]]: two brackets expected, [[{name}]]"
            text.fault(inner.line, f"[[[{name}]]]", f"no such section{hint}")
            continue
        for deeper in inner.sections.values():
            text.fault(deeper.line, f"[[[[{deeper.name}]]]]", f"[[[{name}]]] has no sections in it")
        for key, entry in inner.entries.items():
            if key in entries:
                text.fault(entry.line, key, f"given in line {entries[key].line} already: keep one")
            else:
                entries[key] = entry
    return entries


def is_off(entries: Mapping[str, Entry]) -> bool:
    """Tell whether the section of these entries is switched off."""
    try:
        return "active" in entries and not convert(bool, entries["active"].value)
    except ValueError:
        return False  # a fault, which is found with those of the other settings


def blame(
    text: Document, cls: type, section: Section, entries: Mapping[str, Entry], fault: SettingsFault
) -> None:
    """Note each fault of a section's settings, with its line."""
    no_such = {key: said for key, said in fault.faults if key and said.startswith(UNKNOWN)}
    unknown = about_unknown(text, section, no_such)
    for key, message in fault.faults:
        line, where = place(cls, section, entries, key)
        if not (key in entries and is_below_commented(text, where, line)):
            text.fault(line, where, unknown.get(key or "", message))
    for key, message in fault.missing.items():
        about_missing(text, section, key, message)


def place(cls: type, section: Section, entries: Mapping[str, Entry], key: str | None) -> tuple[int, str]:
    """Return line and spelling of a setting, or of its section if the file does not have the setting."""
    setting = declared(cls).get(key or "")
    for spelling in (key, *(setting.metadata.get("was", ()) if setting else ())):
        if spelling in entries:
            return entries[spelling].line, spelling
    return section.line, f"{section.name}: {key}" if key else section.name
