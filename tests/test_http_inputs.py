"""What is remembered of the inputs, how much of it, and what is left of it after a restart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from listeners.http.inputs import MOST, Inputs


def frame(node, *values, wall=1795213000.9):
    return Frame(node, values, Stamp(wall, "", 0.0))


def test_it_outlives_a_restart(tmp_path):
    before, after = Inputs(), Inputs()
    before.note(
        [frame("iota", 1.5, None, 3), Frame("7", (2.9,), Stamp(5, "", 0), ("battery",), by_name=True)]
    )
    after.recall(tmp_path / "inputs.json")
    assert not after.asked
    before.keep(tmp_path / "inputs.json")
    after.recall(tmp_path / "inputs.json")
    assert after.asked
    assert after.answer(None, None) == before.answer(None, None).replace(":3,", ":3.0,")
    assert (tmp_path / "inputs.json").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 1


@given(
    st.text()
    | st.recursive(
        st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    ).map(json.dumps)
)
def test_a_damaged_file_says_nothing(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("state") / "inputs.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    inputs = Inputs()
    inputs.recall(file)
    assert inputs.asked
    inputs.note([frame("9", 1)])
    assert "9" in json.loads(inputs.answer(None, None))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":{"b":{"time":1e400,"value":1}}}', '{"a":{"b":{"time":1}}}']
)
def test_a_file_that_holds_no_inputs_says_nothing(tmp_path, text):
    (tmp_path / "inputs.json").write_text(text, encoding="utf-8")
    inputs = Inputs()
    inputs.recall(tmp_path / "inputs.json")
    assert inputs.asked
    assert inputs.answer(None, None) == "[]"


def test_no_number_of_nodes_and_names_fills_the_memory():
    inputs = Inputs()
    for number in range(50):
        inputs.note([frame(f"n{number}", *range(1, 1000))])
    inputs.note([frame("n49", 5)])
    nodes = json.loads(inputs.answer(None, None))
    assert sum(map(len, nodes.values())) <= MOST
    assert "n49" in nodes
    assert "n0" not in nodes
