from __future__ import annotations

import pytest

from gateway.frame import Frame, Stamp, check_node

STAMP = Stamp(1_700_000_000.0, "boot", 5.0)


def test_index_one_is_the_first_value_and_a_gap_moves_nothing():
    frame = Frame("9", (18.7, None, 19.2), STAMP, names=("flow",))
    assert frame.items() == [(1, 18.7), (3, 19.2)]
    assert [frame.name(index) for index in (0, 1, 2, 3)] == ["", "flow", "", ""]


@pytest.mark.parametrize("node", ["9", "gateway", "emonTx_3-cellar", "a.b", "two words", "x" * 64])
def test_node_names_that_emoncms_keeps(node):
    check_node(node)


@pytest.mark.parametrize("node", ["", " 9", "9 ", "a/b", "a:b", "x" * 65])
def test_node_names_that_emoncms_would_change(node):
    with pytest.raises(ValueError, match="expected, not"):
        check_node(node)
