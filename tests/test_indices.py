from __future__ import annotations

import pytest

from gateway.conf.indices import Memory, Move, identities, moves, replacements
from gateway.listener import Series

A, B, C = "28.33F749050000", "28.DB564A050000", "28.AB1663050000"
BEFORE = {("9", 1): A, ("9", 2): B, ("9", 4): C}


@pytest.mark.parametrize(
    ("now", "moved", "replaced"),
    [
        pytest.param(BEFORE, [], [], id="nothing changes"),
        pytest.param({**BEFORE, ("9", 3): "28.000000000001"}, [], [], id="a new sensor at a free index"),
        pytest.param({("9", 1): A, ("9", 4): C}, [], [], id="one becomes a Dummy"),
        pytest.param(
            {("9", 1): B, ("9", 3): C},
            [Move(C, ("9", 4), ("9", 3)), Move(B, ("9", 2), ("9", 1))],
            [],
            id="a line is taken out and the rest is numbered anew",
        ),
        pytest.param(
            {("9", 1): B, ("9", 2): A, ("9", 4): C},
            [Move(A, ("9", 1), ("9", 2)), Move(B, ("9", 2), ("9", 1))],
            [],
            id="two are exchanged",
        ),
        pytest.param({**BEFORE, ("9", 5): A}, [], [], id="the same sensor at a second index"),
        pytest.param(
            {("8", 1): A, ("9", 2): B, ("9", 4): C}, [Move(A, ("9", 1), ("8", 1))], [], id="to another node"
        ),
        pytest.param(
            {**BEFORE, ("9", 2): "28.000000000001"},
            [],
            [f"index 2 of node 9: {B} is replaced by 28.000000000001"],
            id="a replacement",
        ),
    ],
)
def test_what_an_edit_does_to_the_indices(now, moved, replaced):
    assert sorted(moves(BEFORE, now), key=str) == sorted(moved, key=str)
    assert replacements(BEFORE, now) == replaced


def test_in_words():
    assert str(Move(B, ("9", 2), ("9", 1))) == (
        f"{B} moves from index 2 of node 9 to 1: to keep its input, put it back at index 2, and Dummy at an "
        "index that is then empty"
    )
    assert str(Move(A, ("9", 1), ("8", 1))) == (
        f"{A} moves from index 1 of node 9 to 1 of node 8: its inputs there are others; to keep "
        "them, put it back on node 9"
    )


def test_what_stands_where():
    wires = [Series(node="9", index=1, identity=A), Series(node="9", index=2)]
    other = [Series(node="8", index=1, identity=C), Series(node="7", identity=B)]
    assert identities([wires, [], other]) == {("9", 1): A, ("8", 1): C}


def test_it_remembers(tmp_path):
    memory = Memory(tmp_path)
    assert memory.recall() == {}
    memory.note(BEFORE)
    assert Memory(tmp_path).recall() == BEFORE


def test_a_place_that_falls_empty_is_remembered_until_its_sensor_turns_up(tmp_path):
    memory = Memory(tmp_path)
    memory.note(BEFORE)
    memory.note({("9", 2): B, ("9", 4): C})
    assert memory.recall() == BEFORE
    later = {("9", 2): B, ("9", 3): A, ("9", 4): C}
    assert moves(memory.recall(), later) == [Move(A, ("9", 1), ("9", 3))]
    memory.note(later)
    assert memory.recall() == later


@pytest.mark.parametrize(
    "text",
    [
        *("", "garbage", "[1]", '{"9": {"x": "y"}}', '{"9": 3}', "[" * 100_000, "\x1c"),
        *('{"9": {"\u00b2": "x"}}', '{"9": {"1_0x": 1}}'),
    ],
)
def test_a_damaged_file_is_as_none_and_said_when_it_is_replaced(tmp_path, text, caplog):
    file = tmp_path / "indices.json"
    file.write_text(text, encoding="utf-8")
    memory = Memory(tmp_path)
    assert memory.recall() == {}
    memory.note(BEFORE)
    assert caplog.messages == [f"{file} is damaged: what was at each index until now is not known"]
    memory.note(BEFORE)
    assert memory.recall() == BEFORE
    assert len(caplog.messages) == 1
