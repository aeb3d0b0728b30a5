"""`oemgateway migrate`: moves in from an emonhub or an oem_gateway, without touching either."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands.migrate.migration import Migration
from gateway.commands.migrate.source import Source, entry_of, words
from gateway.commands.migrate.target import write
from gateway.paths import DEFAULT_FILE
from gateway.text.terminal import FAILED, OK, USAGE, say, say_aside
from gateway.text.words import shared

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "migrate",
        help="make an oemgateway.conf of an emonhub.conf",
        description="Makes an oemgateway.conf of the file of an emonhub or an oem_gateway, and says what "
        "continues, what changes, and what has no counterpart here; the exit status is then 1. The old file "
        "is not touched, and nothing is started.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the old file, such as /etc/emonhub/emonhub.conf"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the new file (default: that of --config-file)"
    )
    parser.add_argument("--overwrite", action="store_true", help="take the place of a file that exists")


def run(options: argparse.Namespace) -> int:
    """Write the new file and print what became of the old one."""
    try:
        return _migrate(options)
    except PermissionError as error:
        cure = "put sudo before the command"
        if error.filename != str(options.file):
            cure += ", or name another file with -o"
        raise PermissionError(f"{error.filename}: {error.strerror}: {cure}") from error


def _migrate(options: argparse.Namespace) -> int:
    new: Path = options.output or options.config_file
    if new.exists() and new.samefile(options.file):
        say_aside(f"{new} is the old file, which stays as it is: name another with -o")
        return USAGE
    source = Source.read(options.file)
    moving = Migration.of(source)
    moving.fill()
    refused = write(moving, new, overwrite=options.overwrite)
    missing = [*map(str, source.faults), *moving.losses()]
    missing += [source.at(line, message, where) for line, where, message in sorted(refused)]
    missing = list(dict.fromkeys(missing))
    say(_report(moving, new, missing))
    return FAILED if missing else OK


def _report(moving: Migration, new: Path, missing: list[str]) -> Iterator[str]:
    yield f"{new} is made of {moving.source.path}, and passes `oemgateway check`."
    yield from _paragraph("Moved:", _moved(moving))
    yield from _paragraph("Not moved:", missing)
    yield from _paragraph("What continues unchanged:", _unchanged(moving))
    yield from _paragraph("What changes for dashboards:", _changes(moving))
    yield from _paragraph("Next:", _next(moving, new))


def _paragraph(title: str, lines: Iterable[str]) -> Iterator[str]:
    if texts := list(lines):
        yield from ("", title, *(f"  {text}" for text in texts))


def _moved(moving: Migration) -> Iterator[str]:
    for section in moving.sections:
        if section.old:
            yield f"[[{section.name}]] type = {section.type}{f', off: {section.off}' if section.off else ''}"
    if moving.nodes:
        yield f"[nodes] {', '.join(node.name for node in moving.nodes)}"


def _unchanged(moving: Migration) -> Iterator[str]:
    if not moving.is_emonhub:
        yield "nodes and indices: inputs and feeds go on"
        return
    for section in moving.of_kind("dispatchers"):
        if section.off:
            continue
        if section.type == "mqtt":
            yield f"[[{section.name}]]: the topics, and with them the inputs that Emoncms makes of them"
        elif section.type == "emoncms" and "keys" not in section.settings:
            yield f"[[{section.name}]]: inputs that are called by node and index"
        elif section.type == "emoncms":
            yield f"[[{section.name}]]: inputs have the names that they had (keys = name)"


def _changes(moving: Migration) -> Iterator[str]:
    if not moving.is_emonhub:
        yield "a sensor without a value leaves a gap: it does not shift its neighbours any more"
        return
    posting = [new for new in moving.of_kind("dispatchers") if new.type == "emoncms" and not new.off]
    if any("keys" in new.settings for new in posting) and moving.names:
        yield "nodes that were called by name over HTTP are called by number, and their inputs are new:"
        yield from (f"  {name} is {node}" for node, name in moving.names.items())
        yield "on the page Inputs of Emoncms log each to the feed of the old input: its history goes on"
    if any("keys" not in new.settings for new in posting):
        for new in moving.of_kind("listeners"):
            if new.type == "keyvalue" and not new.off:
                yield f"node {new.settings['node']}: inputs that were 1, 2, 3 by HTTP have names: new"
    if posting and any(new.type == "rfm12pi" and not new.off for new in moving.sections):
        yield "the signal strength, which was behind the last value of a node, is not sent by HTTP"
    yield "a sensor that is absent leaves a gap, where emonhub sent 300 degrees or nothing"
    for node in moving.nodes:
        for remark in shared(words(entry_of(node.sections.get("rx", node), "names"))):
            yield f"node {node.name}: {remark}"
    yield from (change for new in moving.sections for change in new.changes)


def _next(moving: Migration, new: Path) -> Iterator[str]:
    if moving.is_emonhub:
        yield "sudo systemctl disable --now emonhub    (first: only one program can read a serial port)"
    else:
        yield "stop oem_gateway, if it was started by hand (`make install` stops its service)"
    if not new.stat().st_mode & stat.S_IRGRP:
        yield f"sudo chown oemgateway {new}    (if the gateway runs as a service)"
    if any(section.off for section in moving.sections):
        yield "where a section that is off should run: correct it, and remove its active = no"
    yield f"sudo oemgateway check {new}"
    if os.path.realpath(new) != os.path.realpath(DEFAULT_FILE):
        yield f"sudo cp --preserve {new} {DEFAULT_FILE}    (which is the file that the service reads)"
    yield "sudo service oemgateway start, then: sudo oemgateway values"
