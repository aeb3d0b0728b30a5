"""What was delivered from memory before what the file has: ranges of ids that survive a kill."""

from __future__ import annotations

from gateway.spool.ahead import Ahead
from gateway.spool.notes import Notes


def test_what_is_passed_twice_is_one_range():
    ahead = Ahead()
    for first, last in ((7, 17), (4, 8), (20, 20)):
        ahead.add("a", first, last)
    assert ahead.passed("a") == ((4, 17), (20, 20))
    assert (ahead.beyond("a", 3), ahead.beyond("a", 2)) == (17, 2)


def test_the_notes_have_all_of_it_and_forget_it_once_it_is_past():
    # given what was passed, and given, ahead of others
    ahead, notes = Ahead(), Notes()
    ahead.give("a", 4, 4)
    ahead.add("a", 4, 8)
    ahead.note(notes, passed=2)
    # when it is read again
    again = Ahead()
    again.load(notes, end=7)  # a power cut took some of these frames
    # then no id is in it that no frame has
    assert (again.passed("a"), again.starts) == (((4, 6),), [4])
    # and nothing is left of it once all have passed it
    again.forget("a", 6)
    again.note(notes, passed=6)
    assert notes.below("") == {}


def test_notes_of_others_are_left_alone():
    notes = Notes()
    notes.update({"ahead x/last": "1-9", "ahead": "5"})
    ahead = Ahead()
    ahead.load(notes, end=100)
    ahead.note(notes, passed=0)
    assert notes.below("") == {"ahead x/last": "1-9", "ahead": "5"}
