"""Which nodes a far end takes nothing of, and when each is tried again."""

from __future__ import annotations

import logging

from gateway.frame import Frame, Stamp
from gateway.workers.refused_nodes import RefusedInARow, RefusedNodes

HOUR, DAY = 3600.0, 86400.0


def nodes_refused(*names: str) -> RefusedNodes:
    nodes = RefusedNodes(logging.getLogger("oemgateway.far"))
    for name in names:
        nodes.refused(name, "full", 0.0)
    return nodes


def chosen(nodes: RefusedNodes, now: float, *names: str) -> tuple[str, str, int]:
    """Return the nodes whose frames are to be sent, and to be set aside, and up to which frame that goes."""
    window = [(number, Frame(name, (1.0,), Stamp(0.0, "", 0.0))) for number, name in enumerate(names, 1)]
    frames, aside, upto = nodes.choose(window, now)
    return " ".join(frame.node for _, frame in frames), " ".join(frame.node for _, frame, _ in aside), upto


def test_a_node_is_tried_again_after_an_hour_whatever_comes_of_it_meanwhile():
    nodes = nodes_refused("33")
    for now in range(0, 3600, 100):
        assert chosen(nodes, now, "33", "9", "33") == ("9", "33 33", 3)
        nodes.set_aside(["33"], now)
    # alone, and after those that stand before it
    assert chosen(nodes, HOUR, "9", "33", "9") == ("9", "", 1)
    assert chosen(nodes, HOUR, "33", "9") == ("33", "", 1)
    # and refused once more for another
    nodes.refused("33", "still full", HOUR)
    assert chosen(nodes, 2 * HOUR - 1, "33") == ("", "33", 1)
    assert (nodes.known(HOUR)["33"].frames, nodes.known(HOUR)["33"].reason) == (36, "still full")


def test_when_it_is_taken_it_is_forgotten(caplog):
    nodes = nodes_refused("33")
    nodes.set_aside(["33"], 1.0)
    nodes.taken(["33", "9"])
    nodes.taken(["33"])
    assert caplog.messages[1:] == ["node 33 is taken now; 1 of its frames wait for oemgateway queue retry"]
    assert (nodes.known(2.0), chosen(nodes, 2.0, "33")) == ({}, ("33", "", 1))


def test_and_when_nothing_of_it_has_come_for_a_day(caplog):
    nodes = nodes_refused("33")
    nodes.set_aside(["33"], HOUR)
    assert "33" in nodes.known(DAY + HOUR - 1)
    assert nodes.known(DAY + HOUR) == {}
    nodes.refused("33", "full", DAY + HOUR)
    assert len(caplog.records) == 2


def test_all_are_tried_when_somebody_asks_for_it():
    nodes = nodes_refused("33", "34")
    nodes.try_now()
    assert chosen(nodes, 1.0, "33", "34") == ("33", "", 1)
    assert chosen(nodes, 1.0, "34", "33") == ("34", "", 1)


def test_however_many_names_there_are_so_many_are_remembered():
    nodes = nodes_refused(*map(str, range(1000)))
    assert list(nodes.known(0.0)) == [str(number) for number in range(744, 1000)]


def test_many_frames_of_a_node_refused_one_after_another_are_a_trouble_until_one_is_taken():
    refused = RefusedInARow()
    for name in ["9"] * 9 + ["8"] * 9:
        refused.refused(name, "another type", 0.0)
    assert refused.trouble(0.0) == ""
    refused.refused("9", "another type", 1.0)
    said = "the last 10 frames of node 9 were refused and set aside: another type"
    assert refused.trouble(DAY) == said
    assert refused.trouble(DAY + 1.0) == ""
    refused.refused("8", "too old", 2.0)
    assert refused.trouble(2.0) == said.replace("node 9", "node 9, and of 1 more")
    refused.taken({"9", "8"})
    refused.refused("9", "another type", 3.0)
    assert refused.trouble(3.0) == ""
