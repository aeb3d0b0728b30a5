"""The new file: its text, made to pass `check`, and written for its owner alone."""

from __future__ import annotations

import os
import re
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.commands.migrate.source import as_comment
from gateway.conf import config, document
from gateway.conf.edit import rewrite
from gateway.process.output import check_plain
from gateway.registry import KINDS
from gateway.settings import quoted
from gateway.text.plain import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.commands.migrate.migration import Migration
    from gateway.commands.migrate.moved import New
    from gateway.commands.migrate.source import Source
    from gateway.conf.document import Fault
    from gateway.settings import Raw

_MOST_ROUNDS = 20


class Line(NamedTuple):
    """A line of the new file, the line of the old one that it comes from (0: none), and its section."""

    text: str
    origin: int = 0
    owner: New | None = None


def compose(moving: Migration) -> Iterator[Line]:
    """Yield the new file. A line of the old one that is refused is a comment, and so is a refused node."""
    source = moving.source
    yield Line(f"# Made of {escaped(source.path.name)} by `oemgateway migrate`.")
    yield from (Line(""), Line("[gateway]"))
    for key, (value, origin) in moving.gateway.items():
        yield from _comments(source.above(origin))
        yield from _line(moving, f"    {key} = {_written(value)}{source.behind(origin)}", origin)
    for kind in KINDS:
        yield from (Line(""), Line(f"[{kind}]"))
        if kind == "listeners":
            yield from _comments(map(as_comment, _losses(source, moving.lost)), "")
        for section in moving.of_kind(kind):
            yield Line("")
            yield from _section(moving, section)
    yield from (Line(""), Line("[nodes]"))
    for node in moving.nodes:
        header, *below = source.block(node)
        yield Line("")
        yield from _comments(source.above(header), "")
        yield from _line(moving, f"[[{node.name}]]{source.behind(header)}", header)
        texts = [source.lines[number - 1].rstrip() for number in below]
        if header in moving.refused:
            yield from (Line(f"# | {text.strip()}") for text in texts)
        else:
            yield from chain.from_iterable(map(partial(_line, moving), texts, below))


def _section(moving: Migration, section: New) -> Iterator[Line]:
    source, old = moving.source, section.old
    yield from _comments(source.above(old.line) if old else [], "")
    yield Line(f"[[{section.name}]]{source.behind(old.line) if old else ''}", old.line if old else 0, section)
    yield Line(f"    type = {section.type}", old.line if old else 0, section)
    yield from _comments(map(as_comment, [*section.notes, *_losses(source, section.lost)]))
    if section.off:
        yield from (Line(f"    # Switched off: {section.off}"), Line("    active = no"))
        section.settings.pop("active", None)
    for key, value in section.settings.items():
        origin = section.origin.get(key, 0)
        yield from _comments(source.above(origin) if origin else [])
        yield from _line(moving, f"    {key} = {_written(value)}{source.behind(origin)}", origin, section)
    yield from _comments(source.inside(old) if old else [])


def _line(moving: Migration, text: str, origin: int, owner: New | None = None) -> Iterator[Line]:
    said = moving.refused.get(origin)
    if said is not None:
        yield Line(as_comment(f"Not used: {said}"))
    yield Line(text.rstrip() if said is None else f"# | {text.strip()}", origin, owner)


def _losses(source: Source, lost: list[tuple[int, str, str]]) -> list[str]:
    return [f"Not moved: {source.at(line, reason, key)}" for line, key, reason in sorted(lost)]


def _comments(texts: Iterable[str], indent: str = "    ") -> Iterator[Line]:
    return (Line(f"{indent}{text}") for text in texts)


def _written(value: Raw) -> str:
    if isinstance(value, str):
        return quoted(value)
    return ", ".join(map(quoted, value)) + "," * (len(value) == 1)


def _refuse(moving: Migration, lines: list[Line], faults: list[Fault]) -> list[tuple[int, str, str]]:
    """Disable what `check` refuses; return that, with the line of the old file.

    A listener or dispatcher is switched off. If that does not help, or elsewhere, the line is refused.
    """
    lost = []
    for fault in faults:
        line = lines[fault.line - 1]
        message = re.sub(r" \(line \d+\)", "", fault.message)
        lost.append((line.origin, fault.where, message))
        said = ": ".join(filter(None, (fault.where, message)))
        if line.owner and not line.owner.off:
            line.owner.off = said
        else:
            moving.refused[line.origin] = said
    return lost


def write(moving: Migration, file: Path, *, overwrite: bool) -> list[tuple[int, str, str]]:
    """Write a file that passes `check`; return what had to be disabled for that.

    Raises FileExistsError if there is a file already, unless it may be overwritten; its owner and group
    then stay. Nothing is left behind where it cannot be written.
    """
    file = Path(os.path.realpath(file))  # a link to the file stays one
    if overwrite:
        check_plain(file)
    is_new = not overwrite or not file.exists()
    if is_new:
        _reserve(file)
    try:
        data, lost = _accepted(moving, file)
        rewrite(file, data, mode=0o660)
    except BaseException:
        if is_new:
            file.unlink(missing_ok=True)
        raise
    return lost


def _reserve(file: Path) -> None:
    """Create a file, for its owner alone. Raises FileExistsError with what to do."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise FileExistsError(f"{file} exists: name another with -o, or add --overwrite") from None


def _accepted(moving: Migration, file: Path) -> tuple[bytes, list[tuple[int, str, str]]]:
    """Return the text of the file, which `check` accepts, and what was disabled for that."""
    lost: list[tuple[int, str, str]] = []
    for rounds in count():
        lines = list(compose(moving))
        data = "".join(f"{line.text}\n" for line in lines).encode(errors="replace")
        try:
            config.understood(document.parse(file, data))
        except config.ConfigFaults as refused:
            if rounds > _MOST_ROUNDS:
                raise
            lost += _refuse(moving, lines, refused.faults)
        else:
            break
    return data, lost
