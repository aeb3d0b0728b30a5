"""Finds what is in the wrong section of oemgateway.conf, or commented out although it is needed."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from gateway.conf.document import ConfigFaults, Fault
from gateway.nodes import Decoder
from gateway.registry import KINDS, UnknownType, find, kinds_of, known
from gateway.settings import UNKNOWN, alternatives, declared, did_you_mean, taker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.conf.commented import Header
    from gateway.conf.document import Document, Entry, Section
    from gateway.registry import Kind

SECTIONS: dict[str, Kind] = {
    "listeners": "listeners",
    "dispatchers": "dispatchers",
    "buffers": "dispatchers",  # the name that files have had since 2013
}
"""The sections of listeners and dispatchers, by their names in a file."""

_TOPS = ("gateway", *SECTIONS, "nodes")

_EMONHUB = re.compile(r"Emon(Hub|Modbus|Fronius)\w+(Interfacer|Reporter)")
"""The types of emonhub."""


def check_emonhub(text: Document) -> None:
    """Raise ConfigFaults with one line if the whole file is an emonhub's."""
    for name in ("interfacers", "reporters", "hub", "available"):
        if name in text.root.sections:
            line = text.root.sections[name].line
            raise ConfigFaults([Fault(str(text.path), line, f"[{name}]", _about_emonhub(text))])


def is_emonhub(text: Document, section: Section) -> bool:
    """Tell whether a [[section]] is from an emonhub.conf; the first one of a file is a fault."""
    for key in ("Type", "type"):
        named = section.entries[key].value if key in section.entries else ""
        if isinstance(named, str) and _EMONHUB.fullmatch(named):
            line, where = section.entries[key].line, key
            break
    else:
        if "runtimesettings" not in section.sections:
            return False
        line, where = section.sections["runtimesettings"].line, "[[[runtimesettings]]]"
    text.displaced = True
    if all(fault.message != _about_emonhub(text) for fault in text.faults):
        text.fault(line, where, _about_emonhub(text))
    return True


def _about_emonhub(text: Document) -> str:
    return f"this is emonhub's: oemgateway migrate {text.path}"


def is_misplaced(text: Document, top: str, section: Section) -> bool:
    """Tell whether a [[section]] is in the wrong [section], and note the fault if it is."""
    if section.name in _TOPS and not section.entries:
        text.displaced = True
        message = f"in one pair of brackets expected, [{section.name}], as it is not a part of [{top}]"
        text.fault(section.line, f"[[{section.name}]]", message)
        return True
    homes = _homes(text, section)
    if not homes or SECTIONS.get(top, top) in homes:
        return False
    text.displaced = True
    homes = _narrowed(text, homes, section)
    header = text.commented.top_above(section.line)
    if header and SECTIONS.get(header.name, header.name) in homes:
        text.fault_once(header.line, header.text, header.message(f"[[{section.name}]]", section.line))
        return True
    why = {"listeners": " if it is to read", "dispatchers": " if it is to send"} if len(homes) > 1 else {}
    cure = ", or ".join(f"{_cure(text, home)}{why.get(home, '')}" for home in homes)
    if "type" not in section.entries and (line := text.commented.setting(section.line, "type")):
        cure += f", and remove the # before its type (line {line})"
    text.fault(section.line, "", f"[[{section.name}]] is in [{top}]: {cure}")
    return True


def _cure(text: Document, home: str) -> str:
    """Return what puts a [[section]] into the [section] where it belongs."""
    there = [
        f"move it below [{name}] (line {above.line})"
        for name, above in text.root.sections.items()
        if SECTIONS.get(name, name) == home
    ]
    return there[-1] if there else f"put a line [{home}] above it"


def _homes(text: Document, section: Section) -> Sequence[str]:
    """Return each [section] that a [[section]] can belong in, if its type or its settings tell."""
    if "type" in section.entries:
        named = section.entries["type"].value
        return kinds_of(named) if isinstance(named, str) else ()
    if section.entries and section.entries.keys() <= declared(Decoder).keys():
        return ("nodes",)
    return kinds_of(text.commented.value(section.line, "type"))


def _narrowed(text: Document, homes: Sequence[str], section: Section) -> Sequence[str]:
    """Return those of some [section]s whose type has the most of the settings of a [[section]]."""
    if len(homes) < 2:
        return homes
    named = str(section.entries["type"].value) if "type" in section.entries else ""
    named = named or text.commented.value(section.line, "type")
    takers = _takers(text)
    taken = {
        home: sum(takes(key) for key in section.entries)
        for home in homes
        if (takes := takers.get((home, named)))
    }
    return [home for home, count in taken.items() if count == max(taken.values())] or homes


def about_unknown_top(text: Document, section: Section) -> None:
    """Note that a [section] does not exist, or what it was probably meant to be."""
    text.displaced = True
    names = ("gateway", *KINDS, "nodes")
    homes = _homes(text, section)
    if key := _key_in_brackets(text, section):
        text.fault(section.line, key, _BRACKETS.format(key=key))
        return
    if homes:
        below = alternatives(f"[{home}]" for home in _narrowed(text, homes, section))
        message = f"two brackets expected, [[{section.name}]], as it belongs below {below}"
    else:
        hint = (
            did_you_mean(section.name, names) or f": {alternatives(f'[{name}]' for name in names)} expected"
        )
        message = f"no such section{hint}"
    text.fault(section.line, f"[{section.name}]", message)


def is_below_commented(text: Document, key: str, line: int) -> bool:
    """Tell whether a setting is below a name that is commented out, and note the fault if it is."""
    header = text.commented.section_above(line)
    if header:
        text.fault_once(header.line, header.text, header.message(key, line))
    return bool(header)


def remark_on_settings_below_commented(text: Document, entries: Mapping[str, Entry]) -> None:
    """Point out the settings of a section without a fault that may have been meant for another."""
    headers: dict[int, tuple[Header, str, int]] = {}
    for key, entry in entries.items():
        if header := text.commented.section_above(entry.line):
            headers.setdefault(header.line, (header, key, entry.line))
    for line, (header, key, below) in headers.items():
        text.remark(line, header.text, header.message(key, below))


_BRACKETS = "a setting has no brackets: {key} = ... expected"


def _key_in_brackets(text: Document, section: Section) -> str:
    """Return the key if a section is a setting that was written in brackets, "" otherwise."""
    key = section.name.partition("=")[0].strip()
    is_setting = key != section.name or any(takes(key) for takes in _takers(text).values())
    return key if is_setting and not section.sections else ""


def about_missing_type(text: Document, kind: Kind, section: Section, entries: Mapping[str, Entry]) -> None:
    """Note that a section has no type: it is commented out, misspelt or missing."""
    for key, entry in entries.items():
        if key.lower() != "type" and not did_you_mean("type", [key]):
            continue
        text.fault(entry.line, key, f"{UNKNOWN} of [[{section.name}]] (did you mean type?)")
        return
    key = _key_in_brackets(text, section)
    if key and not text.commented.setting(section.line, "type"):
        text.fault(section.line, key, _BRACKETS.format(key=key))
    else:
        about_missing(text, section, "type", f"type is missing: {alternatives(known(kind))} expected")


def about_missing(text: Document, section: Section, key: str, message: str) -> None:
    """Note that a setting is missing; if it is commented out, in that line."""
    line = text.commented.setting(section.line, key)
    if line:
        cure = f"remove the #: {key} is missing in [[{section.name}]] (line {section.line})"
        text.fault(line, f"#{key}", cure)
    else:
        text.fault(section.line, section.name, message)


def about_unknown(text: Document, section: Section, messages: Mapping[str, str]) -> dict[str, str]:
    """Return a message for each setting that its section does not have: which section has it, if any."""
    if not messages:
        return {}
    others = [
        (SECTIONS[top], inner)
        for top, above in text.root.sections.items()
        if top in SECTIONS
        for inner in above.sections.values()
        if inner is not section and "type" in inner.entries
    ]
    is_top = any(section is top for top in text.root.sections.values())
    name = f"[{section.name}]" if is_top else f"[[{section.name}]]"
    said = {}
    for key, message in messages.items():
        takers = {of: None for of, takes in _takers(text).items() if takes(key)}
        of_types = (inner for kind, inner in others if (kind, str(inner.entries["type"].value)) in takers)
        there = [f"[[{inner.name}]] (line {inner.line})" for inner in islice(of_types, 3)]
        said[key] = f"{UNKNOWN} of {name}" if there or message == UNKNOWN else message
        if there:
            said[key] += f": it is one of {alternatives(there)}"
        elif takers and message == UNKNOWN:
            types = dict.fromkeys(named for _, named in takers)
            said[key] += f": it is one of a section with type = {alternatives(types)}"
    return said


def _takers(text: Document) -> Mapping[tuple[str, str], Callable[[str], bool]]:
    """Return, by kind and type, a function that tells whether the type has a setting of a name."""
    if not text.takers:
        text.takers = {(kind, name): taker(cls) for kind in KINDS for name, cls in _classes(kind).items()}
    return text.takers


def _classes(kind: Kind) -> dict[str, type]:
    """Return the classes of all types that can be loaded."""
    classes: dict[str, type] = {}
    for name in known(kind):
        with suppress(UnknownType):
            classes[name] = find(kind, name)
    return classes
