"""One section of [nodes] as a decoder, with its faults and remarks.

A section of an emonhub can stand here as it is, and gives the same values. emonhub looks for
decoding settings only in [[[rx]]], and ignores everything that it does not know. So what would be a fault
elsewhere is a remark here, unless there is no [[[rx]]] and it looks like a setting of ours that is misspelt.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.conf.misplaced import about_unknown, remark_on_settings_below_commented
from gateway.conf.section import blame
from gateway.nodes import Decoder, check_id
from gateway.plugin import Listener
from gateway.settings import ANSWERS, UNKNOWN, SettingsFault, build, declared, did_you_mean
from gateway.text.words import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.conf.document import Document, Entry, Section
    from gateway.conf.section import Part
    from gateway.nodes import Nodes

_DECODING = frozenset(declared(Decoder)) - {"name"}
_LABELS = ("nodename", "name")
"""The first is emonhub's, and has precedence."""
_NUMBERS = ("node", "nodeid", "node_id", "id")
"""What people write for the number of a node."""
_UNUSED = ("hardware", "firmware", "nodeids", "tx")
"""Entries that emonhub has in the section of a node and that are not needed here."""


def read_node(text: Document, section: Section) -> Decoder | None:
    """Return the decoder of a section; None if it has a fault, which is then noted.

    Also None if no node can be called that.
    """
    node = section.name
    rx = section.sections.get("rx")
    entries = _entries(text, section, rx)
    if "nodeids" in section.entries:
        _check_nodeids(text, node, section.entries["nodeids"])
    try:
        check_id(node)
    except ValueError as error:
        text.remark(section.line, f"[[{node}]]", f"not used, as no node can be called that: {error}")
        return None
    if rx is not None:
        _drop_lone_scale(text, entries)
        _drop_other_whitening(text, entries)
    _read_lists(text, entries)
    try:
        decoder = build(Decoder, {key: entry.value for key, entry in entries.items()})
    except SettingsFault as fault:
        blame(text, Decoder, section, entries, fault)
        return None
    _check_lengths(text, decoder, entries)
    remark_on_settings_below_commented(text, entries)
    return decoder


def remark_on_names(text: Document, listeners: Sequence[Part], nodes: Nodes) -> None:
    """Point out the nodes that no listener can have, such as [[node10]] where a 10 is meant."""
    are_named = any(isinstance(part.plugin, Listener) and part.plugin.NAMES_NODES for part in listeners)
    if are_named or not nodes.decoders:
        return
    known = {series.node for part in listeners for series in part.catalogue}
    for node, section in text.root.sections["nodes"].sections.items():
        is_known = node.isdecimal() or node in known or "nodeids" in section.entries
        if node in nodes.decoders and not is_known:
            number = re.search(r"[1-9][0-9]*|0$", node)
            hint = f" (did you mean [[{number[0]}]]?)" if number and int(number[0]) <= 255 else ""
            message = f"not used: no listener here has such a node, and packets have a number{hint}"
            text.remark(section.line, f"[[{node}]]", message)


def remark_on_scales(text: Document, listeners: Sequence[Part], nodes: Nodes) -> None:
    """Point out scales of nodes that only come from listeners which take values as they are."""
    plugins = [part.plugin for part in listeners if isinstance(part.plugin, Listener)]
    scaling = [plugin for plugin in plugins if plugin.SCALES]
    if not any(plugin.NAMES_NODES and not plugin.SCALES for plugin in plugins):
        return
    are_named = any(plugin.NAMES_NODES for plugin in scaling)
    known = {series.node for plugin in scaling for series in plugin.catalogue()}
    for node, decoder in nodes.decoders.items():
        section = text.root.sections["nodes"].sections[node]
        is_scaled = are_named or node in known or (node.isdecimal() and scaling)
        if is_scaled or all(float(scale) == 1 for scale in decoder.scales or (decoder.scale or 1,)):
            continue
        for key in ("scale", "scales"):
            if entry := section.sections.get("rx", section).entries.get(key):
                message = "not used: what is posted, or comes by MQTT, stays as it is"
                text.remark(entry.line, key, f"{message}; only packets and lines are multiplied")


def _entries(text: Document, section: Section, rx: Section | None) -> dict[str, Entry]:
    """Return the entries that are used, and note a remark or a fault for each of the others."""
    used: dict[str, Entry] = {}
    for key, entry in section.entries.items():
        if key == "name" and "nodename" in section.entries:
            text.remark(entry.line, key, "not used: the node is called by its nodename")
        elif key in _LABELS or (key in _DECODING and rx is None):
            used[key] = entry
        elif key in _DECODING:
            text.remark(entry.line, key, "not used: [[[rx]]] says what the values are, as in emonhub")
        elif key not in _UNUSED:
            _unknown(text, section, key, entry, misspelt=rx is None)
    for name, inner in section.sections.items():
        if name not in ("rx", *_UNUSED):
            hint = did_you_mean(name, ("rx",))
            text.remark(inner.line, f"[[[{name}]]]", f"not used: no such section{hint}")
    return used | (_received(text, section, rx) if rx else {})


def _received(text: Document, section: Section, rx: Section) -> dict[str, Entry]:
    """Return those of [[[rx]]]."""
    used: dict[str, Entry] = {}
    for key, entry in rx.entries.items():
        if key in _DECODING:
            used[key] = entry
        elif key in _LABELS:
            text.remark(entry.line, key, f"not used: it belongs in [[{section.name}]], above [[[rx]]]")
        else:
            _unknown(text, section, key, entry, misspelt=False)
    for inner in rx.sections.values():
        text.remark(inner.line, f"[[[[{inner.name}]]]]", "not used: [[[rx]]] has no sections in it")
    return used


def _unknown(text: Document, section: Section, key: str, entry: Entry, *, misspelt: bool) -> None:
    """Note a fault for `type` and for what may be a misspelt setting, and a remark for anything else."""
    hint = did_you_mean(key, (*_LABELS, *_DECODING))
    message = f"{UNKNOWN}{hint}"
    if key in _NUMBERS:
        number = next(filter(None, _listed(entry)), "10")
        message = f"{UNKNOWN}: the number of a node is the name of its section, [[{number}]]"
    elif not hint:
        message = about_unknown(text, section, {key: UNKNOWN})[key]
    if key == "type" or (misspelt and hint):
        text.fault(entry.line, key, message)
    else:
        text.remark(entry.line, key, f"not used: {message}")


def _listed(entry: Entry) -> Sequence[str]:
    """Return the values of an entry, which may be one."""
    return [entry.value] if isinstance(entry.value, str) else entry.value


def _check_nodeids(text: Document, node: str, nodeids: Entry) -> None:
    """Point out a section of emonhub's available.conf that is not yet named by its node."""
    listed = _listed(nodeids)
    if listed and node not in listed:
        message = "not used: the node that a section is about is its name"
        text.remark(nodeids.line, "nodeids", f"{message}, which is [[{node}]], not [[{listed[0]}]]")


def _drop_lone_scale(text: Document, entries: dict[str, Entry]) -> None:
    """Drop a list of one scale, which emonhub (emonhub_interfacer.py) does not multiply by either."""
    scales = entries.get("scales")
    if scales is not None and isinstance(scales.value, list) and len(scales.value) == 1:
        message = f"not used, as in emonhub, which wants two or more: try scale = {scales.value[0]}"
        text.remark(scales.line, "scales", message)
        del entries["scales"]
        entries.pop("scale", None)


def _drop_other_whitening(text: Document, entries: dict[str, Entry]) -> None:
    """Drop a `whitening` that is not 1, the only one that emonhub (emonhub_interfacer.py) looks for."""
    whitening = entries.get("whitening")
    if whitening is not None and whitening.value != "1":
        if ANSWERS.get(str(whitening.value).lower()) is not False:
            text.remark(whitening.line, "whitening", "not used, as in emonhub, which knows only 1: try that")
        del entries["whitening"]


def _read_lists(text: Document, entries: dict[str, Entry]) -> None:
    """Read a list under a setting that is one for all values, as its author means it.

    emonhub decodes nothing of such a node. Without the setting its packets would get wrong values.
    """
    for one, many, thing in (("datacode", "datacodes", "letter"), ("scale", "scales", "number")):
        entry = entries.get(one)
        if entry is None or isinstance(entry.value, str) or not entry.value:
            continue
        expected = f"one {thing} for all values expected"
        if many in entries:
            text.remark(entry.line, one, f"not used, as there is {many}")
        elif len(entry.value) > 1:
            entries[many] = entry
            text.remark(entry.line, one, f"{expected}, not {len(entry.value)}: read as {many}, one for each")
        else:
            entries[one] = replace(entry, value=entry.value[0])
            text.remark(entry.line, one, f"{expected}, without a comma behind it: read as that")
            continue
        del entries[one]


def _check_lengths(text: Document, decoder: Decoder, entries: dict[str, Entry]) -> None:
    """Point out names, scales and units for more values than there are, and names and lists that mislead."""
    count = len(decoder.codes)
    for message in shared(decoder.names):
        text.remark(entries["names"].line, "names", message)
    for key in ("names", "scales", "units"):
        given = len(getattr(decoder, key))
        if any(";" in each for each in getattr(decoder, key)):
            text.remark(entries[key].line, key, "a ; separates nothing: a comma expected between two values")
        if count and given > count:
            message = f"as there are datacodes: {count} expected, not {given}; the rest is not used"
            text.remark(entries[key].line, key, message)
