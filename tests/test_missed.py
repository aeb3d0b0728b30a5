from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.radio.missed import Missed


def heard(*numbers, node="22", name="MSG"):
    missed = Missed()
    for number in numbers:
        missed.hear(node, ("Vrms", name), (243.1, number))
    return missed.by_node()


@pytest.mark.parametrize(
    ("numbers", "missed"),
    [
        ((), 0),
        ((84,), 0),
        ((84, 85, 86), 0),
        ((84, 87), 2),
        ((84, 87, 89.0), 3),
        ((84, 84, 84, 85), 0),  # heard twice
        ((84, 87, 87, 88), 2),
        ((84, 87, None, 88), 2),  # damaged
        ((84, 87, 1, 2), 0),  # the node has started anew
        ((84, 87, 1, 5), 3),
    ],
)
def test_what_is_not_heard_is_missed(numbers, missed):
    assert heard(*numbers) == ({"22": missed} if missed else {})


def test_each_node_has_its_own_count():
    missed = Missed()
    for node, number in (("22", 1), ("17", 50), ("22", 3), ("17", 51)):
        missed.hear(node, ("MSG",), (number,))
    assert missed.by_node() == {"22": 1}


@pytest.mark.parametrize("name", ["MSG", "Msg", "msg"])
def test_it_may_be_spelled_in_either_case(name):
    assert heard(1, 3, name=name) == {"22": 1}


@pytest.mark.parametrize("name", ["", "MSG2", "pulse"])
def test_no_other_value_counts(name):
    assert heard(1, 3, name=name) == {}


def test_a_value_may_have_no_name():
    missed = Missed()
    missed.hear("10", (), (1, 2, 3))
    assert missed.by_node() == {}


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_it_is_never_negative(numbers):
    assert all(count > 0 for count in heard(*numbers).values())
