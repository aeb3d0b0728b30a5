"""The manual page oemgateway.conf(5): the shipped file in other clothes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gateway.manual import roff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.manual.shipped_file import Group, Paragraph, Section, Setting

_WIDTH = 68
_ABOUT = (
    "This page has the words and the settings of the file as it is shipped, in their order. What it says of "
    "a # is about the lines of that file."
)


def page(sections: Iterable[Section], date: str, version: str) -> str:
    """Return the page of the file with these sections."""
    return roff.page(_lines(sections, date, version))


def _lines(sections: Iterable[Section], date: str, version: str) -> Iterator[str]:
    file, *others = sections
    title, *words = file.words
    name, _, about = title.text.partition(": ")
    yield f'.TH {name.upper()} 5 {date} "oemgateway {version}" "File Formats"'
    yield roff.heading("SH", "NAME")
    yield rf"{name} \- {roff.words(about.removesuffix('.'))}"
    yield roff.heading("SH", "DESCRIPTION")
    yield from roff.paragraph(_ABOUT)
    yield from _words(words)
    for section in others:
        yield roff.heading("SS" if section.name.startswith("[[") else "SH", section.name)
        yield from _words(section.words)
        for group in section.groups:
            yield from _group(group)
    yield roff.heading("SH", "SEE ALSO")
    yield ".BR oemgateway (1)"


def _words(paragraphs: Iterable[Paragraph]) -> Iterator[str]:
    for paragraph in paragraphs:
        if paragraph.text:
            yield from roff.paragraph(paragraph.text)
        for term, meaning in paragraph.terms.items():
            yield from roff.tagged([roff.bold(term)], meaning)


def _group(group: Group) -> Iterator[str]:
    if not group.words:
        lines = map(_line, group.settings)
        yield from roff.example(
            piece for line in lines for piece in textwrap.wrap(line, _WIDTH, subsequent_indent="    ")
        )
        return
    first, *more = group.words
    yield from roff.tagged(map(_tag, group.settings), first.text)
    for paragraph in more:
        yield ".IP"
        yield from roff.filled(roff.words(paragraph.text))


def _line(setting: Setting) -> str:
    remark = f" # {setting.remark}" if setting.remark else ""
    return f"{setting.key} = {setting.value}{remark}"


def _tag(setting: Setting) -> str:
    value = f" {roff.italic(setting.value)}" if setting.value else ""
    remark = rf" ({roff.words(setting.remark)})" if setting.remark else ""
    return rf"{roff.bold(setting.key)} ={value}{remark}"
