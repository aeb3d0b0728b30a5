"""Conflicts: what two sections of oemgateway.conf both want and only one of them can have."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from gateway.conf.document import Section
from gateway.conf.indices import claims
from gateway.conf.section import Part
from gateway.plugin import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gateway.conf.document import Document
    from gateway.nodes import Nodes
    from gateway.registry import Kind

Writers = dict[str, list[tuple[Part, "Collection[int] | None"]]]
"""By node, the listeners that claim it, each with its indices (None: all)."""


def check_conflicts(text: Document, parts: Mapping[Kind, list[Part]], nodes: Nodes) -> None:
    """Find sections that write the same inputs, need the same port or device, or have the same name."""
    writers = _writers(parts["listeners"])
    _check_claims(text, writers)
    _check_packets(text, parts["listeners"], nodes, writers)
    _check_sets(text, parts["listeners"])
    _check_reads(text, parts["listeners"])
    _check_exclusive(text, [*parts["listeners"], *parts["dispatchers"]])
    _check_accounts(text, parts["dispatchers"])
    _check_names(text, parts)


def _writers(listeners: list[Part]) -> Writers:
    writers: Writers = {}
    for part in listeners:
        for node, indices in claims(part.catalogue).items():
            writers.setdefault(node, []).append((part, indices))
    return writers


def _check_claims(text: Document, writers: Writers) -> None:
    """Find listeners that write the same index of the same node, or a node that belongs to another alone."""
    for node, parts in writers.items():
        for at, (part, indices) in enumerate(parts):
            for other, theirs in parts[:at]:
                if shared := _shared(node, indices, theirs):
                    message = f"{shared} is written by {other.in_words} too: give one of them another node"
                    text.fault(part.section.line, part.section.name, message)
                    break


def _shared(node: str, one: Collection[int] | None, other: Collection[int] | None) -> str:
    """Return, in words, what two listeners both write of a node; "" if nothing."""
    if one is None or other is None:
        return f"node {node}"
    both = sorted({*one} & {*other})
    return f"index {', '.join(map(str, both))} of node {node}" if both else ""


def _check_packets(text: Document, listeners: list[Part], nodes: Nodes, writers: Writers) -> None:
    """Point out the nodes whose packets are refused, as another listener writes the same inputs."""
    packets = [
        (f"[[{node}]]", section.line, node)
        for node, section in text.root.sections.get("nodes", Section("nodes", 0)).sections.items()
        if node in nodes.decoders
    ]
    packets += [
        (part.section.name, part.section.line, series.node)
        for part in listeners
        for series in part.catalogue
        if series.index is None and not series.claimed
    ]
    for where, line, node in packets:
        for part, indices in writers.get(node, []):
            if indices is not None:
                message = (
                    f"packets of node {node} are refused, as {part.in_words} writes its inputs: "
                    "give one of the two another node"
                )
                text.remark(line, where, message)
                break


def _check_sets(text: Document, listeners: list[Part]) -> None:
    """Point out what two sections keep setting differently."""
    first: dict[str, tuple[Part, str]] = {}
    for part in listeners:
        for thing, ours in part.sets.items():
            other, theirs = first.setdefault(thing, (part, ours))
            if theirs != ours:
                message = (
                    f"{thing} has {ours} here and {theirs} in {other.in_words}: give it the same in both"
                )
                text.remark(part.section.line, part.section.name, message)
                break


def _check_reads(text: Document, listeners: list[Part]) -> None:
    """Point out the devices that two sections read."""
    first: dict[str, Part] = {}
    for part in listeners:
        if both := [thing for thing in part.reads if first.setdefault(thing, part) is not part]:
            more = f" (and {len(both) - 1} more)" if len(both) > 1 else ""
            message = (
                f"{both[0]}{more} is read by {first[both[0]].in_words} too, so its value is sent twice: "
                "remove it here or there, unless that is meant"
            )
            text.remark(part.section.line, part.section.name, message)


def _check_exclusive(text: Document, parts: list[Part]) -> None:
    """Find sections that need something that only one can have."""
    whole: dict[str, Part] = {}
    beginnings: dict[str, Part] = {}  # "port 80" of "port 80 of 127.0.0.1", which is in conflict with it
    for part in parts:
        for ours in part.exclusive:
            others = (beginnings.get(ours), *map(whole.get, _beginnings(ours)))
            if other := next(filter(None, others), None):
                message = (
                    f"{ours} is for {other.in_words}: give one of them another, or set active = no in it"
                )
                text.fault(part.section.line, part.section.name, message)
        for ours in part.exclusive:
            whole.setdefault(ours, part)
            for each in _beginnings(ours):
                beginnings.setdefault(each, part)


def _beginnings(words: str) -> Iterator[str]:
    return accumulate(words.split(" "), "{} {}".format)


def _check_accounts(text: Document, dispatchers: list[Part]) -> None:
    """Point out dispatchers that each deliver all readings to the same account."""
    first: dict[tuple[str, ...], Part] = {}
    for part in dispatchers:
        account = part.plugin.account if isinstance(part.plugin, Dispatcher) else ()
        if account and (other := first.setdefault(account, part)) is not part:
            message = (
                f"{other.in_words} delivers to the same account, so each reading arrives twice there: "
                "remove one of them"
            )
            text.remark(part.section.line, part.section.name, message)


def _check_names(text: Document, parts: Mapping[Kind, list[Part]]) -> None:
    listeners = {part.section.name for part in parts["listeners"]}
    for part in parts["dispatchers"]:
        if part.section.name in listeners:
            message = "a listener has this name too: the log cannot distinguish them"
            text.remark(part.section.line, part.section.name, message)
