"""Which nodes a far end takes nothing of, and when each is tried again."""

from __future__ import annotations

from gateway.workers.refused_nodes import RefusedNodes

HOUR, DAY = 3600.0, 86400.0


def test_a_node_is_tried_again_after_an_hour_whatever_comes_of_it_meanwhile():
    nodes = RefusedNodes()
    assert nodes.refused("33", "full", 0.0)
    for now in range(0, 3600, 100):
        assert nodes.why("33", now) == "full"
        assert not nodes.is_due("33", now)
        nodes.set_aside("33", now)
    assert (nodes.why("33", HOUR), nodes.is_due("33", HOUR)) == ("", True)
    # and refused once more for another
    assert not nodes.refused("33", "still full", HOUR)
    assert nodes.why("33", 2 * HOUR - 1) == "still full"
    assert nodes.known(HOUR)["33"].frames == 36


def test_when_it_is_taken_it_is_forgotten():
    nodes = RefusedNodes()
    nodes.refused("33", "full", 0.0)
    nodes.set_aside("33", 1.0)
    taken = nodes.taken("33")
    assert taken is not None
    assert taken.frames == 1
    assert (nodes.taken("33"), nodes.known(2.0), nodes.is_due("33", 2.0)) == (None, {}, False)


def test_and_when_nothing_of_it_has_come_for_a_day():
    nodes = RefusedNodes()
    nodes.refused("33", "full", 0.0)
    nodes.set_aside("33", HOUR)
    assert "33" in nodes.known(DAY + HOUR - 1)
    assert nodes.known(DAY + HOUR) == {}
    assert nodes.refused("33", "full", DAY + HOUR)


def test_all_are_tried_when_somebody_asks_for_it():
    nodes = RefusedNodes()
    for name in ("33", "34"):
        nodes.refused(name, "full", 10.0)
    nodes.try_now()
    assert nodes.is_due("33", 11.0)
    assert nodes.is_due("34", 11.0)


def test_however_many_names_there_are_so_many_are_remembered():
    nodes = RefusedNodes()
    for number in range(1000):
        nodes.refused(str(number), "full", float(number))
    assert list(nodes.known(1000.0)) == [str(number) for number in range(744, 1000)]
