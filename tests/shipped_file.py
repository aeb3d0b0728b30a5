"""etc/oemgateway.conf as what it says to people: its words, and the settings that they are about.

A line that starts with "# " is words, and one that is blank or a # alone ends a paragraph of them. Words up
to the first blank line are about the file; others belong to what follows them, a section, or the settings up
to the next words or blank line. A paragraph whose lines start with a word and two spaces is a list of terms.
Any other line is a section or a setting, in force or after a #.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WORDS = re.compile(r"\s*#( .*)?")
_SECTION = re.compile(r"\s*#?(\[+[^]]+\]+)")
_SETTING = re.compile(r"\s*#?(\w+) =(.*)")
_TERM = re.compile(r"(\w+) {2,}(.*)")


@dataclass(frozen=True)
class Setting:
    """A setting as the file shows it, and the remark behind it."""

    key: str
    value: str
    remark: str

    @classmethod
    def parse(cls, key: str, rest: str) -> Setting:
        """Return a setting by its key and what stands behind the =."""
        value, _, remark = rest.partition(" # ")
        return cls(key, value.strip(), remark.removeprefix("<-- "))


@dataclass
class Paragraph:
    """A paragraph of words or, if it has `terms`, a list of these and their meanings."""

    text: str
    terms: dict[str, str] = field(default_factory=dict)


@dataclass
class Group:
    """Settings that are explained together."""

    words: list[Paragraph]
    settings: list[Setting] = field(default_factory=list)


@dataclass
class Section:
    """A section by its name in brackets; the file itself is one without a name."""

    name: str
    words: list[Paragraph]
    groups: list[Group] = field(default_factory=list)


def read(text: str) -> list[Section]:
    """Return the file's own words and its sections, in their order."""
    first, _, rest = text.partition("\n\n")
    sections = [Section("", _paragraphs(first.splitlines()))]
    pending: list[str] = []
    for line in rest.splitlines():
        if not line or _WORDS.fullmatch(line):
            pending.append(line)
        elif section := _SECTION.match(line):
            sections.append(Section(section[1], _paragraphs(pending)))
            pending = []
        elif setting := _SETTING.fullmatch(line):
            groups = sections[-1].groups
            if pending or not groups:
                groups.append(Group(_paragraphs(pending)))
                pending = []
            groups[-1].settings.append(Setting.parse(setting[1], setting[2]))
        else:
            raise ValueError(f"neither words nor a section nor a setting: {line}")
    return sections


def _paragraphs(lines: list[str]) -> list[Paragraph]:
    found: list[list[str]] = [[]]
    for line in lines:
        if said := line.strip().removeprefix("#")[1:]:
            found[-1].append(said)
        else:
            found.append([])
    return [_paragraph(said) for said in found if said]


def _paragraph(lines: list[str]) -> Paragraph:
    if not _TERM.match(lines[0]):
        return Paragraph(" ".join(lines))
    terms: dict[str, str] = {}
    for line in lines:
        if term := _TERM.match(line):
            terms[term[1]] = term[2]
        else:
            terms[list(terms)[-1]] += f" {line.strip()}"
    return Paragraph("", terms)
