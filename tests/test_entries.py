"""listeners/entries.py: what `nameN = SOMETHING | Dummy, label` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from gateway.settings import SettingsFault, build, shown
from listeners.entries import Entries, EntrySampler


@dataclass(frozen=True)
class Things(Entries):
    PREFIX: ClassVar = "thing"

    @classmethod
    def parse(cls, text):
        return text.upper()


@dataclass(kw_only=True)
class Section:
    things: Things = field(default_factory=Things)


@dataclass(kw_only=True)
class Sampler(EntrySampler):
    KINDS: ClassVar = (("thing", ""),)

    things: Things = field(default_factory=Things)

    @property
    def entries(self):
        return self.things


def test_a_number_keeps_its_place_whatever_else_there_is():
    section = build(Section, {"thing10": ["b", "beta"], "thing2": "dummy", "thing1": "a"})
    assert {number: (entry.what, entry.title) for number, entry in section.things.by_number.items()} == {
        1: ("A", "a"),
        2: (None, "dummy"),
        10: ("B", "beta"),
    }
    assert list(section.things.named()) == [1, 10]


def test_what_is_shown_reads_as_the_same():
    entries = {"thing1": ["a, #b", "be,ta"], "thing2": "Dummy"}
    section = build(Section, entries)
    assert shown(section) == {"thing1": '"a, #b", "be,ta"', "thing2": "Dummy"}


@pytest.mark.parametrize(
    ("key", "raw", "words"),
    [
        ("thing200", "a", "a number from 1 to 199 expected, not 200"),
        ("thing1", ["a", "b", "c"], "a comma needs quotes"),
        ("things1", "a", "did you mean thing1"),
    ],
)
def test_a_wrong_entry_says_what_is_expected(key, raw, words):
    with pytest.raises(SettingsFault, match=words):
        build(Section, {key: raw})


def test_its_troubles_are_shown_while_its_thread_changes_them():
    # given a thread that takes note of another trouble while somebody looks
    class Words(str):
        __slots__ = ()

        def __hash__(self):
            sampler._troubles[len(sampler._troubles) + 1] = "missing"
            return super().__hash__()

    sampler = build(Sampler, {"node": "5", "thing1": "a", "thing2": "b"})
    sampler._troubles[1] = Words("missing")
    # then what was there is shown
    assert sampler.health().troubles == ["thing1 (a): missing"]
