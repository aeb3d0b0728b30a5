"""What is remembered of the inputs, how much of it, and what is left of it after a restart."""

from __future__ import annotations

import json
import math

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from listeners.http.inputs import MOST, Inputs


def frame(node, *values, wall=1795213000.9):
    return Frame(node, values, Stamp(wall, "", 0.0))


def test_it_outlives_a_restart():
    before, after = Inputs(), Inputs()
    before.note(
        [frame("iota", 1.5, None, 3), Frame("7", (2.9,), Stamp(5, "", 0), ("battery",), by_name=True)]
    )
    assert not after.asked
    after.recall(json.loads(json.dumps(before.shown())))
    assert after.asked
    assert after.answer(None, None) == before.answer(None, None).replace(":3,", ":3.0,")


TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.integers() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x), max_leaves=10
)


@given(st.dictionaries(TEXT, JSON))
@example({"a": {"b": {"time": math.inf, "value": 1}}})
@example({"a": {"b": {"time": 1}}})
def test_what_is_damaged_says_nothing(kept):
    inputs = Inputs()
    inputs.recall(kept)
    assert inputs.asked
    inputs.note([frame("9", 1)])
    assert "9" in json.loads(inputs.answer(None, None))


def test_no_number_of_nodes_and_names_fills_the_memory():
    inputs = Inputs()
    for number in range(50):
        inputs.note([frame(f"n{number}", *range(1, 1000))])
    inputs.note([frame("n49", 5)])
    nodes = json.loads(inputs.answer(None, None))
    assert sum(map(len, nodes.values())) <= MOST
    assert "n49" in nodes
    assert "n0" not in nodes
