"""oemgateway.conf as plugin objects, or every fault in it at once with its file and line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from gateway.conf import document
from gateway.conf.conflicts import check_conflicts
from gateway.conf.document import ConfigFaults, Document, Fault, Section
from gateway.conf.indices import identities, moves
from gateway.conf.misplaced import (
    SECTIONS,
    about_unknown_top,
    check_emonhub,
    is_below_commented,
    is_emonhub,
    is_misplaced,
)
from gateway.conf.node_section import read_node, remark_on_names, remark_on_scales
from gateway.conf.section import Part, blame, is_off, place, read_part
from gateway.nodes import Nodes
from gateway.paths import check_socket, find_socket, find_state_dir
from gateway.plugin import Dispatcher, Listener
from gateway.process.syslog import check_syslog
from gateway.registry import KINDS, Kind, known
from gateway.settings import (
    LogLevel,
    SettingsFault,
    at_least,
    build,
    declared,
    nearest,
    secrets,
    setting,
)
from gateway.spool import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.conf.indices import Place

__all__ = ["ConfigFaults", "Configuration", "Fault", "Gateway", "read"]

_DAY = 86400


@dataclass(kw_only=True)
class Gateway:
    """The settings of [gateway]: those of the daemon itself."""

    loglevel: LogLevel = setting("INFO")
    syslog: tuple[str, ...] = setting((), check=check_syslog)
    state_dir: Path | None = setting(None, at_start=True)
    socket: Path | None = setting(None, at_start=True)
    simulate: bool = setting(default=False)
    commit_interval: float = setting(5.0, check=at_least(0), at_start=True)
    max_frames: int = setting(1_000_000, check=at_least(1000), at_start=True)
    max_size: int = setting(200, check=at_least(1), at_start=True)
    max_refused: int = setting(100_000, check=at_least(1), at_start=True)
    max_refused_size: int = setting(20, check=at_least(1), at_start=True)
    max_age: float = setting(0.0, check=at_least(0), at_start=True)
    unsynced: Literal["hold", "send"] = setting("hold", at_start=True)
    index_guard: Literal["warn", "refuse"] = setting("warn")
    file: Path | None = field(default=None, init=False, compare=False)
    """The file that they are from."""

    @property
    def limits(self) -> Limits:
        """How much the queue keeps."""
        return Limits(
            frames=self.max_frames,
            bytes=self.max_size * 1_000_000,
            refused=self.max_refused,
            refused_bytes=self.max_refused_size * 1_000_000,
            age=self.max_age * _DAY or math.inf,
        )

    def find_state_dir(self) -> Path:
        """Return where a gateway with these settings keeps its state, as far as can be seen from outside."""
        return find_state_dir(self.state_dir, self.file, self.socket)

    def find_socket(self) -> Path:
        """Return where a gateway with these settings can be asked."""
        return find_socket(self.socket, self.find_state_dir())


def defaults(file: Path) -> Gateway:
    """Return what holds as far as a file cannot be read."""
    gateway = Gateway()
    gateway.file = file
    return gateway


@dataclass(kw_only=True)
class Configuration:
    """What would run: the active plugins by section name, in the order of the file.

    `types` are their types as the file has them; `remarks` say what is allowed but worth a word.
    """

    path: Path
    gateway: Gateway
    listeners: dict[str, Listener]
    dispatchers: dict[str, Dispatcher]
    types: dict[Kind, dict[str, str]]
    nodes: Nodes
    remarks: list[Fault]


def read(path: Path | str, remembered: Mapping[Place, str] = MappingProxyType({})) -> Configuration:
    """Read a file; no plugin is opened. Raises ConfigFaults with everything that is wrong with it.

    `remembered` is what stood at each index until now: a sensor that the file moves is a remark, or a fault
    where index_guard says so.
    """
    return understood(document.read(Path(path)), remembered)


def understood(text: Document, remembered: Mapping[Place, str] = MappingProxyType({})) -> Configuration:
    """Do the same with the text of a file."""
    check_emonhub(text)
    readable = not text.faults
    gateway = _gateway(text)
    sections = _sections(text)
    nodes = _nodes(text)
    if readable and not text.displaced:
        _check_presence(text, sections)
    parts: dict[Kind, list[Part]] = {
        kind: [part for section in named.values() if (part := read_part(text, kind, section))]
        for kind, named in sections.items()
    }
    check_conflicts(text, parts, nodes)
    remark_on_names(text, parts["listeners"], nodes)
    remark_on_scales(text, parts["listeners"], nodes)
    if gateway:
        gateway.file = text.path
        _check_socket(text, gateway)
        _check_moves(text, gateway, parts["listeners"], remembered)
    if gateway and not gateway.simulate:
        _check_simulated(text, parts)
    if text.public:
        _check_secrets(text, [*parts["listeners"], *parts["dispatchers"]])
    if text.faults or not gateway:
        raise ConfigFaults(text.faults)
    plugins = [part.plugin for made in parts.values() for part in made]
    listeners = {plugin.name: plugin for plugin in plugins if isinstance(plugin, Listener)}
    for listener in listeners.values():
        listener.nodes = nodes
    return Configuration(
        path=text.path,
        gateway=gateway,
        listeners=listeners,
        dispatchers={plugin.name: plugin for plugin in plugins if isinstance(plugin, Dispatcher)},
        types={kind: {part.plugin.name: part.type for part in made} for kind, made in parts.items()},
        nodes=nodes,
        remarks=sorted(text.remarks, key=lambda remark: remark.line),
    )


def read_gateway(path: Path | str) -> tuple[Gateway, frozenset[str]]:
    """Read only [gateway]: each setting without a fault, whatever is wrong elsewhere.

    Return with it the names of the settings that a fault may hide. Raises ConfigFaults if the file cannot be
    read.
    """
    text = document.read(Path(path))
    gateway, hidden = _sound(text)
    gateway.file = text.path
    return gateway, hidden


def _sound(text: Document) -> tuple[Gateway, frozenset[str]]:
    section = text.root.sections.get("gateway")
    if section is None:
        is_usual = text.root.sections and not text.faults and not text.root.entries
        return Gateway(), frozenset(() if is_usual else declared(Gateway))
    cut = {fault.line for fault in text.faults}
    hidden = {key for key, entry in section.entries.items() if entry.line in cut} | {*text.root.entries}
    entries = {key: entry.value for key, entry in section.entries.items() if entry.line not in cut}
    try:
        return build(Gateway, entries), frozenset(hidden)
    except SettingsFault as fault:
        wrong = {key for key, _ in fault.faults if key}
    known = declared(Gateway)
    misspelt = {nearest(key, known) for key in wrong - {*known}} - {""}
    sound = {key: value for key, value in entries.items() if key not in wrong}
    return build(Gateway, sound), frozenset(hidden | wrong | misspelt)


def _gateway(text: Document) -> Gateway | None:
    section = text.root.sections.get("gateway")
    if section is None:
        return Gateway()
    for inner in section.sections.values():
        if not is_misplaced(text, "gateway", inner):
            text.fault(inner.line, f"[[{inner.name}]]", "[gateway] has no sections in it")
    try:
        return build(Gateway, {key: entry.value for key, entry in section.entries.items()})
    except SettingsFault as fault:
        blame(text, Gateway, section, section.entries, fault)
        return None


def _check_socket(text: Document, gateway: Gateway) -> None:
    """Remark on a socket that the system does not take: the gateway runs without it."""
    if gateway.socket:
        try:
            check_socket(gateway.socket)
        except ValueError as error:
            line = text.root.sections["gateway"].entries["socket"].line
            text.remark(line, "socket", f"{error}: no command can ask this gateway")


def _sections(text: Document) -> dict[Kind, dict[str, Section]]:
    """Return the sections of listeners and dispatchers by name; anything else there is a fault."""
    sections: dict[Kind, dict[str, Section]] = {"listeners": {}, "dispatchers": {}}
    for key, entry in text.root.entries.items():
        if not is_below_commented(text, key, entry.line):
            text.fault(entry.line, key, "it is above the first section: put it into [gateway]")
    for top, above in text.root.sections.items():
        if top not in SECTIONS:
            if top not in ("gateway", "nodes"):
                about_unknown_top(text, above)
            continue
        _check_no_settings(text, above, "name")
        named = sections[SECTIONS[top]]
        for name, section in above.sections.items():
            if not is_off(section.entries) and (
                is_emonhub(text, section) or is_misplaced(text, top, section)
            ):
                continue
            if name in named:
                message = f"there is one of this name in line {named[name].line}: give it another"
                text.fault(section.line, f"[[{name}]]", message)
            named.setdefault(name, section)
    return sections


def _nodes(text: Document) -> Nodes:
    """Return the decoders of [nodes]."""
    above = text.root.sections.get("nodes", Section("nodes", 0))
    _check_no_settings(text, above, "node")
    decoders = {
        node: read_node(text, section)
        for node, section in above.sections.items()
        if not is_misplaced(text, "nodes", section)
    }
    return Nodes({node: decoder for node, decoder in decoders.items() if decoder})


def _check_no_settings(text: Document, above: Section, inner: str) -> None:
    """Find settings in a section that may only contain sections."""
    for key, entry in above.entries.items():
        if not is_below_commented(text, key, entry.line):
            message = f"[{above.name}] has no settings of its own: a [[{inner}]] expected above it"
            text.fault(entry.line, key, message)


def _check_presence(text: Document, sections: dict[Kind, dict[str, Section]]) -> None:
    for kind in KINDS:
        if not sections[kind]:
            example = known(kind)[0]
            above = [section.line for top, section in text.root.sections.items() if SECTIONS.get(top) == kind]
            message = f"there is no {kind[:-1]}: below [{kind}] add [[{example}]] and type = {example}"
            text.fault(above[-1] if above else text.length, "", message)


def _check_moves(
    text: Document, gateway: Gateway, listeners: list[Part], remembered: Mapping[Place, str]
) -> None:
    """Point out the sensors that this file moves to another index."""
    say = text.fault if gateway.index_guard == "refuse" else text.remark
    places = {(each.node, each.index): (part, each.setting) for part in listeners for each in part.catalogue}
    for move in moves(remembered, identities(part.catalogue for part in listeners)):
        part, key = places[move.after]
        say(*place(type(part.plugin), part.section, part.entries, key or None), str(move))


def _check_simulated(text: Document, parts: dict[Kind, list[Part]]) -> None:
    """Find simulated listeners along with a destination with a key, unless that is allowed."""
    destination = next((part for part in parts["dispatchers"] if secrets(part.plugin)), None)
    for source in parts["listeners"]:
        if source.simulated and destination:
            message = (
                f"its readings are simulated and would go to {destination.in_words}: "
                "set one of them to active = no, or simulate = yes in [gateway]"
            )
            text.fault(source.section.line, source.section.name, message)


def _check_secrets(text: Document, parts: list[Part]) -> None:
    """Point out, in one line, the keys that every user of the machine can read."""
    found = [(part, key) for part in parts for key in secrets(part.plugin)]
    for part, key in found[:1]:
        others = f", and {len(found) - 1} more below" if len(found) > 1 else ""
        message = f"every user of this machine can read it{others}: chmod 640 {text.path}"
        text.remark(*place(type(part.plugin), part.section, part.entries, key), message)
