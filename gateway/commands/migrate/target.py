"""The new file: its text, made to pass `check`, and written for its owner alone."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.commands.migrate.source import as_comment, depth_of
from gateway.conf import config
from gateway.registry import KINDS
from gateway.settings import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.commands.migrate.migration import Migration
    from gateway.commands.migrate.moved import New
    from gateway.commands.migrate.source import Source
    from gateway.conf.document import Fault
    from gateway.registry import Kind
    from gateway.settings import Raw

_MOST_ROUNDS = 20


class Line(NamedTuple):
    """A line of the new file, and the one of the old file that it comes from, 0 if from none."""

    text: str
    origin: int = 0


def compose(moving: Migration) -> list[Line]:
    """Return the new file."""
    return [
        Line(f"# Made of {moving.source.path.name} by `oemgateway migrate`."),
        *_gateway(moving),
        *(line for kind in KINDS for line in _plugins(moving, kind)),
        *_nodes(moving),
    ]


def _gateway(moving: Migration) -> Iterator[Line]:
    yield from (Line(""), Line("[gateway]"))
    for key, (value, origin) in moving.gateway.items():
        yield from _comments(moving.source.above(origin))
        yield Line(f"    {key} = {_written(value)}{moving.source.behind(origin)}", origin)


def _plugins(moving: Migration, kind: Kind) -> Iterator[Line]:
    yield from (Line(""), Line(f"[{kind}]"))
    if kind == "listeners":
        lost = [f"Not moved: {moving.source.at(line, reason, key)}" for line, key, reason in moving.lost]
        yield from _comments(map(as_comment, lost), "")
    for section in moving.of_kind(kind):
        yield Line("")
        yield from _section(moving.source, section)


def _section(source: Source, section: New) -> Iterator[Line]:
    old = section.old
    yield from _comments(source.above(old.line) if old else [], "")
    yield Line(f"[[{section.name}]]{source.behind(old.line) if old else ''}", old.line if old else 0)
    yield Line(f"    type = {section.type}")
    lost = [f"Not moved: {source.at(line, reason, key)}" for line, key, reason in sorted(section.lost)]
    yield from _comments(map(as_comment, [*section.notes, *lost]))
    if section.off:
        yield from (Line(f"    # Switched off: {section.off}"), Line("    active = no"))
        section.settings.pop("active", None)
    for key, value in section.settings.items():
        origin = section.origin.get(key, 0)
        yield from _comments(source.above(origin) if origin else [])
        yield Line(f"    {key} = {_written(value)}{source.behind(origin)}".rstrip(), origin)
    yield from _comments(source.inside(old) if old else [])


def _nodes(moving: Migration) -> Iterator[Line]:
    """Yield the sections of nodes as they are, under the names that they have now."""
    source = moving.source
    yield from (Line(""), Line("[nodes]"))
    for node in moving.nodes:
        yield Line("")
        yield from _comments(source.above(node.line), "")
        yield Line(f"[[{node.name}]]{source.behind(node.line)}", node.line)
        yield from (Line(source.lines[at - 1].rstrip(), at) for at in list(source.block(node))[1:])


def _comments(texts: Iterable[str], indent: str = "    ") -> Iterator[Line]:
    return (Line(f"{indent}{text}") for text in texts)


def _written(value: Raw) -> str:
    if isinstance(value, str):
        return quoted(value)
    return ", ".join(map(quoted, value)) + "," * (len(value) == 1)


def repair(lines: list[Line], faults: list[Fault]) -> list[tuple[int, str, str]]:
    """Take what `check` refuses out of force; return that, with the line of the old file.

    A listener or dispatcher is switched off. Where that does not help, and elsewhere, the line becomes a
    comment, a section with all that is in it.
    """
    lost = []
    for fault in sorted(faults, key=lambda fault: fault.line, reverse=True):
        at = fault.line - 1
        header, top = _above(lines, at)
        message = re.sub(r" \(line \d+\)", "", fault.message)
        lost.append((lines[at].origin or lines[header].origin, fault.where, message))
        said = as_comment(": ".join(filter(None, ("Not used", fault.where, message))))
        if top in ("[listeners]", "[dispatchers]") and header and "active = no" not in lines[header + 1].text:
            lines[header + 1 : header + 1] = [Line("    active = no"), Line(f"    {said}")]
            _drop_other_active(lines, header + 3)
            continue
        depth = depth_of(lines[at].text)
        end = at + 1
        while depth and end < len(lines) and not 0 < depth_of(lines[end].text) <= depth:
            end += 1
        lines[at:end] = [
            Line(said),
            *(Line(f"# | {line.text.strip()}", line.origin) for line in lines[at:end]),
        ]
    return lost


def _above(lines: list[Line], at: int) -> tuple[int, str]:
    """Return where the [[section]] begins that a line is in, 0 if it is in none, and its [section]."""
    header = 0
    for number in range(at, -1, -1):
        depth = depth_of(lines[number].text)
        if depth == 1:
            return header, lines[number].text
        header = number if depth == 2 and not header else header
    return header, ""


def _drop_other_active(lines: list[Line], number: int) -> None:
    """Remove a setting `active` from the section that goes on in this line."""
    while number < len(lines) and not depth_of(lines[number].text):
        if lines[number].text.split("=")[0].strip() == "active":
            del lines[number]
        number += 1


def write(lines: list[Line], file: Path, *, overwrite: bool) -> list[tuple[int, str, str]]:
    """Write a file that passes `check`; return what had to be taken out of force for that.

    Raises FileExistsError where there is a file already, unless it may be overwritten; its owner and group
    then stay. Nothing is left behind where it cannot be written.
    """
    file = file.resolve()  # a link to the file stays one
    is_new = not overwrite or not file.exists()
    if is_new:
        _reserve(file)
    new: Path | None = None
    try:
        fd, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        new = Path(name)
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as opened:
            lost = _accepted(lines, new)
            opened.write(_text(lines))
            if not is_new:
                about = file.stat()
                os.fchown(fd, about.st_uid, about.st_gid)
                os.fchmod(fd, about.st_mode & 0o660)
            opened.flush()
            os.fsync(fd)
        new.replace(file)
    except BaseException:
        for left in filter(None, (new, file if is_new else None)):
            left.unlink(missing_ok=True)
        raise
    return lost


def _reserve(file: Path) -> None:
    """Create a file, for its owner alone. Raises FileExistsError with what to do."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise FileExistsError(f"{file} exists: name another with -o, or add --overwrite") from None


def _accepted(lines: list[Line], file: Path) -> list[tuple[int, str, str]]:
    """Repair the lines until `check` accepts them; return what was taken out of force."""
    lost: list[tuple[int, str, str]] = []
    for _ in range(_MOST_ROUNDS):
        file.write_text(_text(lines), encoding="utf-8", errors="replace")
        try:
            config.read(file)
        except config.ConfigFaults as refused:
            lost += repair(lines, refused.faults)
        else:
            return lost
    config.read(file)  # raises what is still wrong, a bug of ours
    return lost


def _text(lines: list[Line]) -> str:
    return "".join(f"{line.text}\n" for line in lines)
