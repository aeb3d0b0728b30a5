"""The queue looked at, taken away and brought back, while a gateway runs and while none does."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import boot_id
from gateway.commands import queue_command
from gateway.commands.main import main
from gateway.commands.queue_listing import reading, standing
from gateway.frame import Frame, Stamp
from gateway.present.exchange import to_object
from gateway.present.queue_answers import QueueAnswers
from gateway.process import control
from gateway.spool import Spool
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import ENVIRONMENT, GatewayProcess, command, read_only, state
from tests.ports import connect, free_port
from tests.simulators.emoncms import FakeEmoncms
from tests.spools import leave_queue, open_queue, refuse
from tests.statuses import answer
from tests.test_exchange import frames
from tests.waiting import wait_until

NOW = time.time()


def frame(n: float, node: str = "9", wall: float = NOW - 1000) -> Frame:
    return Frame(
        node, (n, None, -0.5), Stamp(wall + n, "before", 5.5 + n), ("flow", "", "größe"), -61, "bridge"
    )


@pytest.fixture
def file(tmp_path, written) -> Path:
    """Two dispatchers whose servers are not there."""
    sections = "".join(
        f"[[{who}]]\ntype = emoncms\nurl = http://127.0.0.1:9\napikey = {'0' * 32}\n" for who in "ab"
    )
    listener = f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n"
    return written(f"{state(tmp_path)}max_frames = 5000\n{listener}[dispatchers]\n{sections}")


@pytest.fixture
def filled(path) -> Path:
    """Four wait, for b, one of which was refused by a."""
    spool = open_queue(path, "a", "b")
    spool.put([frame(n) for n in range(4)])
    refuse(spool, "a", spool.peek("a", 1)[0][0], "too \x1b[31mhot")
    spool.close()
    return path


@pytest.fixture
def queue(file, capsys, monkeypatch):
    """Run `oemgateway queue`; return its status and what it printed and said."""

    def run(*arguments: object, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped.encode())))
        status = main(["--config-file", str(file), "queue", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture(params=["no gateway runs", "a gateway runs"])
def either(request, file, queue) -> Iterator:
    """The same command on either way to the queue; the gateway is started with what is there then."""
    if request.param == "no gateway runs":
        yield queue
        return
    request.getfixturevalue("filled")
    with GatewayProcess(file, traced=False):
        yield queue


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def values(text: str) -> list[float]:
    return [row["values"]["1"] for row in lines(text)]


def test_how_the_queue_stands(filled, either):
    status, printed, _ = either()
    assert status == 0
    first, second, last = printed.splitlines()
    assert re.fullmatch(
        r"a: 3 wait, the oldest for \d+ minutes; 1 refused \(oemgateway queue list --refused says why\)",
        first,
    )
    assert re.fullmatch(r"b: 4 wait, the oldest for \d+ minutes", second)
    assert last.endswith("kB on the disk; 0 dropped, for want of room or for their age")
    about = json.loads(either("--json")[1])
    assert about["dispatchers"]["a"] == about["dispatchers"]["a"] | {"waiting": 3, "refused": 1, "held": 0}
    assert (about["dispatchers"]["b"]["oldest"], about["dropped"]) == (frame(0).stamp.wall, 0)
    assert about["bytes"] > 5000


def test_what_waits_and_what_was_refused_is_listed(filled, either):
    status, printed, said = either("list", "--limit", "3")
    assert (status, len(printed.splitlines())) == (0, 3)
    assert "node 9  1 flow = 0, 3 größe = -0.5" in printed
    assert "--limit N shows more than 3" in said
    assert values(either("list", "--dispatcher", "a", "--json")[1]) == [1, 2, 3]
    status, printed, said = either("list", "--refused")
    assert printed.endswith("(a: too \\x1b[31mhot)\n")
    assert said == ""
    assert either("list", "--refused", "--dispatcher", "b")[1] == ""


def test_a_dispatcher_that_is_not_there_is_named(filled, queue):
    for action in (["list"], ["export"], ["retry"], ["drop", "--waiting"]):
        status, printed, said = queue(*action, "--dispatcher", "c")
        assert (status, printed) == (1, "")
        assert said == "oemgateway: --dispatcher: none is called c; there are a, b\n"


def test_what_is_exported_is_for_its_owner_alone_and_comes_back_as_it_was(filled, either, tmp_path):
    target = tmp_path / "taken.jsonl"
    status, _, said = either("export", target, "--refused")
    assert (status, said) == (0, "oemgateway: exported: 1, still in the queue too\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert lines(target.read_text()) == [
        to_object(frame(0)) | {"dispatcher": "a", "reason": "too \x1b[31mhot"}
    ]
    # what is for one alone comes back for it alone
    assert either("import", target)[:2] == (0, "imported: 1\n")
    assert values(either("export", "--dispatcher", "a")[1]) == [1, 2, 3, 0]
    assert values(either("export", "--dispatcher", "b")[1]) == [0, 1, 2, 3]
    # and what is for all, for all
    text = json.dumps(to_object(frame(7)))
    assert json.loads(either("import", "-", "--json", piped=f"\n{text}\n\n")[1]) == {"imported": 1}
    assert values(either("export")[1]) == [0, 1, 2, 3, 0, 7]
    assert "(for a alone)" in either("list")[1].splitlines()[-2]


@given(kept=st.lists(frames(), max_size=4))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_any_frames_survive_an_export_and_an_import(queue, path, tmp_path, kept):
    # the row of their boot is not there, so that a time before 2001 would count as unknown
    kept = [replace(f, stamp=replace(f.stamp, wall=1e9 + f.stamp.wall % 5e8)) for f in kept]
    for left in path.parent.glob("*"):
        left.unlink()
    leave_queue(path, kept, "a", "b")
    assert queue("export", tmp_path / "taken")[0] == 0
    assert queue("drop", "--waiting", "--yes")[0] == 0
    assert queue("import", tmp_path / "taken")[0] == 0
    spool = open_queue(path, "a", "b")
    for who in "ab":
        assert [f for _, f in spool.peek(who, 10)] == kept
    spool.close()


@pytest.mark.parametrize(
    ("named", "added"), [((), {"a": 3, "b": 0}), (("--dispatcher", "b"), {"a": 0, "b": 3})]
)
def test_what_was_exported_of_one_dispatcher_is_imported_for_it_alone_or_for_the_one_that_is_named(
    filled, either, tmp_path, named, added
):
    # given what waits for one of two
    before = {who: len(values(either("export", "--dispatcher", who)[1])) for who in "ab"}
    taken = tmp_path / "taken"
    assert either("export", "--dispatcher", "a", taken)[0] == 0
    taken.write_text("".join(taken.read_text().splitlines(keepends=True)[:3]))
    # when it is imported, the other gets nothing
    assert either("import", taken, *named)[:2] == (0, "imported: 3\n")
    for who in "ab":
        assert len(values(either("export", "--dispatcher", who)[1])) == before[who] + added[who]


def test_an_export_of_what_waits_for_some_only_says_so(filled, either, tmp_path):
    status, _, said = either("export", tmp_path / "taken")
    assert (status, "3 for a, 4 for b: an import gives each reading to all" in said) == (0, True)
    assert "an import" not in either("export", "--dispatcher", "a", tmp_path / "of a")[2]


def test_a_csv_has_a_line_per_value(filled, queue):
    rows = queue("export", "--csv", "--refused")[1].splitlines()
    assert rows[0] == "unix,time,node,index,name,value,rssi,source,dispatcher,reason"
    assert rows[1].split(",")[2:9] == ["9", "1", "flow", "0", "-61", "bridge", "a"]
    assert len(rows) == 3


def test_any_size_age_and_time_has_its_words():
    about = {"waiting": 1, "age": 200_000.0, "held": 0, "refused": 0, "gone": False}
    shown = [*standing({"dispatchers": {"a": about}, "bytes": 12_345_678, "dropped": 3})]
    assert shown == [
        "a: 1 waits, the oldest for 2 days",
        "12.3 MB on the disk; 3 dropped, for want of room or for their age",
    ]
    *_, last = standing({"dispatchers": {}, "bytes": 0, "dropped": 0, "refused_dropped": 7})
    assert last.startswith("7 of what was refused were dropped, ever: ")
    assert reading(to_object(frame(0, wall=1e12))).startswith("1000000000000.0  node 9  ")


def test_a_file_that_is_not_there_is_named_as_it_was_given(filled, queue):
    assert queue("import", "/nowhere/given") == (
        1,
        "",
        "oemgateway: /nowhere/given: No such file or directory\n",
    )
    assert queue("export", "/nowhere/kept") == (
        1,
        "",
        "oemgateway: /nowhere/kept: No such file or directory\n",
    )


@pytest.mark.parametrize("limit", ["-3", "x", "1_0", "٣"])
def test_a_limit_that_is_no_number_of_readings_is_refused(filled, queue, limit, capsys):
    with pytest.raises(SystemExit) as ended:
        queue("list", "--limit", limit)
    assert ended.value.code == 2
    assert f"--limit: a whole number expected, not {limit}" in capsys.readouterr().err


def test_a_bad_line_is_named_and_nothing_is_imported(filled, either, tmp_path):
    good = json.dumps(to_object(frame(5)))
    given = tmp_path / "given"
    bad = [
        b"unix,time",
        b"\xff",
        b"[" * 10_000,
        b'{"node": "9"}',
        b'{"dispatcher": "c", ' + good[1:].encode(),
    ]
    given.write_bytes(b"\n".join([good.encode(), b"", *bad, good.encode(), b"x" * 300_000]))
    status, printed, said = either("import", given)
    assert (status, printed) == (1, "")
    faults = said.splitlines()
    assert [fault.removeprefix(f"oemgateway: {given}:").split(":")[0] for fault in faults] == [
        "3", "4", "5", "6", "7", "9", "oemgateway"
    ]  # fmt: skip
    assert "a JSON object in one line, expected" in faults[0]
    assert "time: missing" in faults[3]
    assert "dispatcher: none is called c; there are a, b" in faults[4]
    assert faults[-1] == "oemgateway: nothing is imported"
    assert values(either("export")[1]) == [0, 1, 2, 3]


@pytest.mark.parametrize("given", ["/dev/zero", "endless"])
def test_an_import_that_never_ends_is_refused(filled, queue, tmp_path, monkeypatch, given):
    monkeypatch.setattr(queue_command, "_LARGEST", 1 << 20)
    if given == "endless":
        given = tmp_path / "endless"
        given.write_text(f"{json.dumps(to_object(frame(5)))}\n" * 10_000)
    status, printed, said = queue("import", given)
    assert (status, printed) == (1, "")
    assert "nothing is imported" in said
    assert len(values(queue("export")[1])) == 4


def test_an_export_that_an_editor_has_saved_with_a_byte_order_mark_is_imported(filled, either, tmp_path):
    given = tmp_path / "given"
    given.write_bytes(b"\xef\xbb\xbf" + json.dumps(to_object(frame(5))).encode() + b"\r\n")
    assert either("import", given)[1] == "imported: 1\n"


def test_a_reading_from_the_future_and_one_that_is_held_are_no_imports(filled, path, queue, tmp_path):
    spool = open_queue(path, "a", "b", clock=VirtualClock())
    spool.set_clock(None)
    spool.put([replace(frame(4), stamp=VirtualClock().now())])
    spool.close()
    held = r"b: 5 wait, the oldest for \d+ minutes; 1 of them held until the clock is right\n"
    assert re.search(held, queue()[1])
    assert queue("list")[1].endswith("(its time is not known)\n")
    given = tmp_path / "given"
    future = json.dumps(to_object(frame(5, wall=NOW + 86_400)))
    given.write_text(f"{future}\n{queue('export')[1].splitlines()[-1]}")
    status, _, said = queue("import", given)
    assert status == 1
    assert f"{given}:1: its time, " in said
    assert f"{given}:2: its time is not known" in said


def test_many_go_piece_by_piece_and_a_full_queue_is_told_where_it_ended(filled, either, tmp_path):
    given = tmp_path / "given"
    given.write_text("".join(json.dumps(to_object(frame(n / 100))) + "\n" for n in range(6000)))
    status, _, said = either("import", given)
    assert status == 1
    kept = values(either("export")[1])[4:]
    assert 3000 < len(kept) < 5000
    assert kept == [n / 100 for n in range(len(kept))]
    assert f"{given}: of its readings only the first {len(kept)} are in the queue: " in said
    assert "max_frames is 5000" in said
    assert either("drop", "--waiting", "--yes")[1] == f"dropped: {len(kept) + 4}\n"
    assert values(either("export")[1]) == []


def test_what_was_refused_is_retried_for_who_refused_it(filled, either):
    assert either("retry", "--dispatcher", "b")[1] == "retried: 0\n"
    assert json.loads(either("retry", "--json")[1]) == {"retried": 1, "undated": 0}
    assert values(either("export", "--dispatcher", "a")[1]) == [1, 2, 3, 0]
    assert values(either("export", "--dispatcher", "b")[1]) == [0, 1, 2, 3]
    assert either("list", "--refused")[1] == ""


def test_what_has_no_time_is_not_retried(path, queue):
    spool = open_queue(path, "a", "b", clock=VirtualClock())
    spool.set_clock(None)
    spool.put([replace(frame(1), stamp=VirtualClock().now())])
    spool.close()
    spool = open_queue(path, "a", "b")
    spool.set_clock(0.0, lost="taken between A and B")
    assert spool.peek("a", 1) + spool.peek("b", 1) == []
    spool.close()
    status, printed, _ = queue("retry")
    assert (status, printed.splitlines()[0]) == (
        0,
        "retried: 0",
    )
    assert "not retried: 2, whose time is not known" in printed
    assert "(a: taken between A and B; its time is not known)" in queue("list", "--refused")[1]


@pytest.mark.parametrize("answer", ["", "no\n", "y\n"])
def test_nothing_is_dropped_without_a_yes(filled, queue, answer):
    status, printed, said = queue("drop", "--waiting", piped=answer)
    assert (status, printed) == (1, "")
    assert "Drop for good what is waiting (a 3, b 4)? Type yes: " in said
    assert "nothing is dropped" in said
    assert len(values(queue("export")[1])) == 4


def test_a_yes_drops_what_is_meant_and_no_more(filled, either):
    assert either("drop", "--refused", piped="yes\n")[1] == "dropped: 1\n"
    assert either("drop", "--waiting", "--dispatcher", "a", "--yes")[1] == "dropped: 3\n"
    assert values(either("export", "--dispatcher", "a")[1]) == []
    assert values(either("export", "--dispatcher", "b")[1]) == [0, 1, 2, 3]
    assert "a: none waits\n" in either()[1]
    assert json.loads(either("drop", "--waiting", "--yes", "--json")[1]) == {"dropped": 4}
    assert values(either("export")[1]) == []


def test_what_a_dispatcher_that_is_gone_refused_can_be_exported_and_dropped(filled, queue, file):
    file.write_text(file.read_text().replace("[[a]]", "[[c]]"))
    assert "a: not in use any more; 1 refused" in queue()[1]
    assert values(queue("export", "--refused")[1]) == [0]
    retried, kept = queue("retry")[1].splitlines()
    assert (retried, kept.partition(",")[0]) == ("retried: 0", "not retried: 1 of a")
    status, _, said = queue("retry", "--dispatcher", "a")
    assert (status, said) == (1, "oemgateway: dispatcher a: none has that name; there are: b, c\n")
    # and be given to another, by the commands that retry names
    export, admit, drop = (
        [str(path) if word == "FILE" else "c" if word == "NAME" else word for word in words.split()[1:]]
        for words in kept.partition("another: ")[2].split(", ")
        for path in [file.with_name("taken")]
    )
    assert [queue(*words)[0] for words in (export, admit)] == [0, 0]
    assert values(queue("export", "--dispatcher", "c")[1])[-1] == 0
    assert queue(*drop, "--yes")[1] == "dropped: 1\n"
    assert "a:" not in queue()[1]


def test_where_nothing_is_kept_yet_nothing_is_made(queue, path):
    status, _, said = queue()
    assert (status, said) == (
        1,
        f"oemgateway: {path}: there is none; the gateway makes it when it first runs\n",
    )
    assert not path.exists()


def test_with_no_dispatcher_what_comes_waits_for_one(filled, queue, file):
    file.write_text(file.read_text().replace("type = emoncms", "type = emoncms\nactive = no"))
    in_use = "no dispatcher is in use: what comes waits for one"
    assert f"{in_use}, as do 4 readings that are there\n" in queue()[1]
    assert "(a 0, for any dispatcher 4)? Type yes" in queue("drop", "--waiting", piped="no\n")[2]
    assert queue("drop", "--waiting", "--yes")[1] == "dropped: 4\n"
    assert f"{in_use}\n" in queue()[1]
    given = json.dumps(to_object(frame(1)) | {"dispatcher": "a"})
    assert "dispatcher: none is called a; there is none" in queue("import", "-", piped=given)[2]


def test_a_gateway_that_does_not_answer_keeps_its_file(filled, queue, file, tmp_path):
    spool = Spool(filled)
    status, _, said = queue("export", tmp_path / "taken")
    assert (status, said.count("\n")) == (1, 1)
    assert "another oemgateway is running" in said
    assert not (tmp_path / "taken").exists()
    spool.close()


def test_a_gateway_of_another_version_says_what_it_answers(filled, queue, tmp_path):
    other = control.Control(
        tmp_path / "state/control",
        {"status": lambda: {**answer(), "file": str(tmp_path / "oemgateway.conf")}},
    )
    status, _, said = queue()
    assert status == 1
    assert said == "oemgateway: the gateway says: queue is not a question this daemon answers: status\n"
    other.close()


def test_a_gateway_that_hangs_is_not_taken_for_none(filled, queue, monkeypatch):
    def hang(path: Path, what: str, **arguments: object) -> object:
        raise TimeoutError("it runs, but does not answer")

    monkeypatch.setattr(control, "ask", hang)
    assert queue() == (1, "", "oemgateway: it runs, but does not answer\n")


def test_a_gateway_that_breaks_off_is_one_line(filled, queue, tmp_path, monkeypatch):
    other = control.Control(
        tmp_path / "state/control",
        {"status": lambda: {**answer(), "file": str(tmp_path / "oemgateway.conf")}},
    )
    real = control.ask

    def ask(path: Path, what: str, **arguments: object) -> object:
        if what != "status":
            raise TimeoutError("timed out")
        return real(path, what, **arguments)

    monkeypatch.setattr(control, "ask", ask)
    status, _, said = queue()
    assert (status, said.count("\n")) == (1, 1)
    assert "timed out" in said
    other.close()


def test_an_import_that_is_interrupted_says_how_much_of_it_is_in_the_queue(
    filled, queue, path, tmp_path, monkeypatch
):
    # given: a file of several pieces, and Ctrl-C when the second of them is in the queue
    spool = open_queue(path, "a", "b")
    gateway = control.Control(
        tmp_path / "state/control",
        {
            "status": lambda: {**answer(), "file": str(tmp_path / "oemgateway.conf")},
            **QueueAnswers(spool).by_name(),
        },
    )
    real = control.ask
    admitted: list[int] = []

    def ask(path: Path, what: str, **arguments: object) -> object:
        answered = real(path, what, **arguments)
        if what == "queue-admit":
            admitted.append(answered["count"])
            if len(admitted) == 2:
                raise KeyboardInterrupt
        return answered

    monkeypatch.setattr(control, "ask", ask)
    given = tmp_path / "given"
    given.write_text("".join(json.dumps(to_object(frame(n / 100))) + "\n" for n in range(4000)))
    # when
    status, _, said = queue("import", given)
    # then
    assert status == 1
    assert f"{given}: of its readings only the first {admitted[0]} are in the queue, and " in said
    assert f"perhaps the {admitted[1]} after them (oemgateway queue says how many wait): interrupted" in said
    gateway.close()
    spool.close()


def test_an_import_without_an_answer_is_not_said_to_have_put_nothing_into_the_queue(
    filled, queue, path, tmp_path, monkeypatch
):
    # given: a gateway that is killed when it has put the readings into the queue
    spool = open_queue(path, "a", "b")
    answers = QueueAnswers(spool).by_name()
    gateway = control.Control(
        tmp_path / "state/control",
        {"status": lambda: {**answer(), "file": str(tmp_path / "oemgateway.conf")}, **answers},
    )
    real = control.ask

    def ask(path: Path, what: str, **arguments: object) -> object:
        answered = real(path, what, **arguments)
        if what == "queue-admit":
            raise OSError("the daemon hung up without an answer")
        return answered

    monkeypatch.setattr(control, "ask", ask)
    # when
    _, _, said = queue("import", "-", piped=json.dumps(to_object(frame(9))))
    # then
    assert 9.0 in values(queue("export")[1])
    assert "only the first 0 are in the queue, and perhaps the 1 after them (oemgateway queue says" in said
    gateway.close()
    spool.close()


def test_a_file_system_that_is_read_only_is_named_as_such_and_not_the_user(filled, file):
    done = read_only(filled.parent, "--config-file", file, "queue")
    assert done.returncode == 1
    assert "queue.db: Read-only file system" in done.stderr


def test_who_may_not_ask_or_write_is_told_to_be_another(filled, queue, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "may not write there" in queue()[2]

    def ask(*_: object, **__: object) -> object:
        raise PermissionError

    monkeypatch.setattr(control, "ask", ask)
    assert "may not ask it: sudo" in queue()[2]


def test_who_has_read_enough_and_who_presses_ctrl_c_see_no_traceback(filled, file, queue, monkeypatch):
    oemgateway = [sys.executable, "-m", "gateway", "--config-file", str(file)]
    with subprocess.Popen(
        [*oemgateway, "queue", "export"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.wait(60) == 0
        assert b"Traceback" not in process.stderr.read()

    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.commands.queue_command._confirmed", lambda *_: interrupted())
    status, _, said = queue("drop", "--waiting")
    assert (status, said) == (1, "oemgateway: interrupted\n")


def test_an_export_goes_into_a_device_as_into_a_file_and_a_failed_one_leaves_nothing(filled, queue, tmp_path):
    assert queue("export", "/dev/null")[0] == 0
    target = tmp_path / "there" / "taken"
    assert queue("export", target)[0] == 1
    (tmp_path / "taken").write_text("what was there before")
    assert queue("export", tmp_path / "taken", "--dispatcher", "c")[0] == 1
    assert (tmp_path / "taken").read_text() == "what was there before"
    assert not list(tmp_path.glob(".taken*"))


def test_what_cannot_be_written_or_read_is_named(filled, queue, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for arguments, place in (
        (("export", "/dev/full"), "/dev/full: No space left on device"),
        (("export", ""), f"{Path.cwd()}: Is a directory"),
        (("import", "/proc/self/mem"), "/proc/self/mem: Input/output error"),
    ):
        status, _, said = queue(*arguments)
        assert (status, said) == (1, f"oemgateway: {place}\n")
    assert queue("export", tmp_path / "loop")[0] == 0


def test_an_age_is_by_the_boots_own_clock_and_no_answer_is_large(path):
    clock = VirtualClock(wall=5.0)
    spool = open_queue(path, frames=100_000)
    answers = QueueAnswers(spool, clock)
    now = clock.now()
    spool.put([Frame("9", (1.0,), Stamp(1e9, now.boot or boot_id(), now.boottime - 30))])
    assert answers.status()["dispatchers"]["a"]["age"] == (30 if now.boot else 0)
    spool.put([frame(n) for n in range(1200)])
    piece = answers.waiting()
    assert (len(piece["rows"]), piece["more"]["after"]) == (500, spool.waiting()[499].number)
    with pytest.raises(ValueError, match="none has that name"):
        answers.waiting(who="b")
    spool.close()


def test_a_frame_that_was_refused_reaches_its_server_after_a_retry_and_the_other_server_once(
    tmp_path, written
):
    # given two servers, of which one takes a single node
    with FakeEmoncms(max_nodes=1) as small, FakeEmoncms() as large:
        port = free_port()
        sections = "".join(
            f"[[{name}]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\n"
            for name, server in (("small", small), ("large", large))
        )
        file = written(
            f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n[dispatchers]\n{sections}"
        )
        with GatewayProcess(file) as gateway:
            # when readings of two nodes come in
            with connect(port) as client:
                client.sendall(b"9 18.5\r\n10 21\r\n9 18.6\r\n")
            wait_until(lambda: small.values("9") == {"1": 18.6} and len(large.stored) == 3)
            # then the one that is refused is in the quarantine, and no other is held up
            listed = command("--config-file", file, "queue", "list", "--refused").stdout
            assert listed.count("\n") == 1
            assert "node 10  1 = 21  (small: " in listed
            # and when that server takes it after all, a retry delivers it there and nowhere else
            small.max_nodes = 32
            done = command("--config-file", file, "queue", "retry")
            assert done.stdout == "retried: 1\n", done.stderr
            wait_until(lambda: small.values("10") == {"1": 21})
            wait_until(
                lambda: all(d["queue"]["waiting"] == 0 for d in gateway.status()["dispatchers"].values())
            )
        assert len(large.stored) == 3
        assert len(small.stored) == 3


def test_an_export_to_the_file_of_standard_output_goes_into_a_pipe(tmp_path):
    file = tmp_path / "oemgateway.conf"
    file.write_text(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\n[dispatchers]\n[[log]]\ntype = log\n"
    )
    leave_queue(tmp_path / "state" / "queue.db", [frame(1.5)], "log")
    done = command("--config-file", file, "queue", "export", "/dev/stdout")
    assert (done.returncode, values(done.stdout)) == (0, [1.5])


def test_a_gateway_that_is_just_starting_is_waited_for(tmp_path):
    # given one that has the queue, and makes its socket a second later
    file = tmp_path / "oemgateway.conf"
    file.write_text(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n"
        "[dispatchers]\n[[log]]\ntype = log\n"
    )
    socket = tmp_path / "state" / "control"
    with GatewayProcess(file):
        away = socket.rename(socket.with_name("away"))
        later = threading.Timer(1.0, away.rename, [socket])
        later.start()
        done = command("--config-file", file, "queue")
        later.join()
    assert (done.returncode, done.stderr) == (0, "")
    assert "log: none waits" in done.stdout


def test_the_queue_of_a_gateway_with_another_file_is_left_alone(tmp_path):
    # given a gateway, and a second file that names the same socket
    text = (
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n"
        "[dispatchers]\n[[log]]\ntype = log\n"
    )
    file, other = tmp_path / "oemgateway.conf", tmp_path / "other.conf"
    for each in (file, other):
        each.write_text(text)
    with GatewayProcess(file):
        # when its queue is asked for with the second one
        done = command("--config-file", other, "queue", "drop", "--waiting", "--yes")
    # then nothing is done, and it says which file that is
    assert done.returncode == 1
    assert f"runs with {file}: name that as --config-file, or give {other} a socket of its own" in done.stderr
