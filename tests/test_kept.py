"""When frames that are shown as arrived count as kept."""

from __future__ import annotations

from types import SimpleNamespace

from gateway.spool.notes import FAILED
from gateway.workers.kept import Kept


def test_an_answer_proves_what_was_shown_of_its_nodes(spool):
    kept = Kept(spool, SimpleNamespace(name="a"))
    kept.shown(["9", "10"])
    kept.taken({"9", "8"}, 1)
    assert not kept.sure
    kept.taken({"10"}, 2)
    assert kept.sure


def test_a_node_that_is_silent_from_then_on_is_waited_for_until_the_tenth_answer(spool):
    kept = Kept(spool, SimpleNamespace(name="a"))
    kept.shown(["9"])
    answers = []
    while not kept.sure:
        answers.append(kept.taken({"8"}, 1))
    assert len(answers) == 10


def test_only_a_failure_in_the_middle_of_a_frame_is_written_down(spool):
    kept = Kept(spool, SimpleNamespace(name="a", is_replaced=False))
    written = []
    for how in ("", "in its feeds", "in its feeds", ""):
        before = spool.syncing.puts
        kept.failed(how, 7)
        written.append((spool.syncing.puts - before, spool.notes.below(FAILED)))
    assert written == [(0, {}), (1, {"a": "in its feeds 7"}), (0, {"a": "in its feeds 7"}), (1, {})]
