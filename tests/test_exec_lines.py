"""A program of the user's as a listener: what it prints, how it ends, and that nothing of it stays behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from gateway.diagnosis.machine import Machine
from gateway.frame import Frame
from gateway.nodes import Decoder, Nodes
from gateway.settings import SettingsFault, build
from gateway.workers.worker import ListenerWorker
from listeners.lines import Ignored, Rejected
from listeners.simulated.clock import VirtualClock, VirtualFlag
from listeners.textlines import exec_lines, program
from listeners.textlines.exec_lines import ExecLines, decode, split
from listeners.textlines.keyvalue import Pairs
from listeners.textlines.value_lines import Values
from tests.opened import opened
from tests.waiting import wait_until


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def stop(clock):
    return VirtualFlag(clock)


@pytest.fixture
def run(clock, at_end):
    """Start programs, and end them with the test."""
    return lambda *command: at_end.enter_context(
        opened(build(ExecLines, {"command": list(command)}), "own", clock)
    )


def sh(script):
    return "sh", "-c", script


def outcome(listener, stop):
    """Return how the program has ended."""
    with pytest.raises(OSError) as caught:
        listener.read(stop)
    return str(caught.value)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pipes():
    """Return the pipes that this process has open."""
    return {fd.stat().st_ino for fd in list(Path("/proc/self/fd").iterdir()) if fd.is_fifo()}


# What it prints.


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("15 69 -16.5", Values(15, (69, -16.5))),
        ("15 temperature:21.5", Pairs(("temperature",), (21.5,), "15")),
        ("boiler flow:48.25 return:-3 ", Pairs(("flow", "return"), (48.25, -3.0), "boiler")),
        ("", Ignored("blank")),
        ("boiler 1 2", Rejected("not-a-number")),
        ("256 1", Rejected("node-out-of-range")),
        ("256 a:1", Rejected("bad-node")),
        ("a:1 b:2", Rejected("bad-node")),
        ("boiler a:1 2", Rejected("bad-token")),
        ("boiler a:1  b:2", Rejected("bad-token")),
        ("boiler a:1 a:2", Rejected("repeated-name")),
        ("boiler 1:5", Rejected("bad-name")),
        ("boiler a:nan b:2", Pairs(("a", "b"), (None, 2), "boiler")),
        ("boiler a:1_0", Rejected("not-a-number")),
        ("boiler a:1,b:2", Rejected("not-a-number")),
        ("boiler \ufffd:1", Rejected("bad-name")),
        ("boiler a:" + "1" * 1024, Rejected("too-long")),
    ],
)
def test_what_a_line_says(line, said):
    assert decode(line) == said


def test_lines_become_frames_of_their_nodes(run, stop):
    listener = run(*sh('echo "15 69 1664"; echo "boiler flow:48.5 return:32"; echo; sleep 100'))
    listener.nodes = Nodes({"15": Decoder(names=("power",), scales=("0.1",))})
    frames = []
    while len(frames) < 2:
        frames += listener.read(stop)
    first, second = frames
    assert first == Frame("15", (6.9, 1664), first.stamp, ("power",), source="own")
    assert second == Frame("boiler", (48.5, 32), second.stamp, ("flow", "return"), source="own", by_name=True)


def test_what_is_no_reading_is_refused_by_name_and_harms_no_other_line(run, stop):
    listener = run(*sh('echo "no reading"; head -c 100000 /dev/zero; echo; echo "5 1"; sleep 100'))
    assert [frame.values for frame in listener.read(stop)] == [(1.0,)]
    assert listener.health().faults["too-long"] >= 1


def test_the_lines_of_a_python_script_come_as_they_are_printed(run, stop):
    listener = run(sys.executable, "-c", "import time; print('5 1'); time.sleep(100)")
    assert [frame.node for frame in listener.read(stop)] == ["5"]


def test_no_key_of_ours_is_in_its_environment(run, stop, monkeypatch):
    monkeypatch.setenv("APIKEY", "1")
    monkeypatch.setenv("USER", "2")
    listener = run(*sh('echo "5 ${APIKEY:-7} $USER"; sleep 100'))
    assert [frame.values for frame in listener.read(stop)] == [(7.0, 2.0)]


def test_its_errors_go_to_the_log_but_never_fill_it(run, stop, clock, caplog, tmp_path):
    # given a program that complains a lot, and goes on to complain when it is told to
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    complains = "for n in $(seq 80); do echo oh $n >&2; done"
    listener = run(*sh(f"{complains}; echo 5 1; read _ <{shlex.quote(str(go_on))}; echo again >&2"))
    listener.read(stop)
    # when that is an hour later
    clock.sleep(3600)
    go_on.write_text("\n")
    outcome(listener, stop)
    # then the log has fifty lines of each hour at most
    assert caplog.messages == [
        *(f"the program says: 'oh {n}'" for n in range(1, 51)),
        "the program says: 'again'",
    ]


def test_what_it_says_at_each_start_is_logged_once(run, stop, caplog):
    # given a program that is restarted
    listener = run(*sh("echo 'no meter' >&2; echo 5 1"))
    for _ in range(3):
        listener.read(stop)
        outcome(listener, stop)
        # when it says the same again
        listener.open()
    # then it is one line
    assert caplog.messages == ["the program says: 'no meter'"]


# How it ends.


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first >&2; echo 'no bus' >&2; exit 3", "sh has ended with status 3: 'no bus'"),
        ("printf 'no line end' >&2; kill -9 $$", "sh was ended by signal 9: 'no line end'"),
        ("exit 0", "sh has ended with status 0"),
        ("exec >&-; sleep 100", "sh has closed its output"),
        ("exec >&- 2>&-; exit 1", "sh has ended with status 1"),
    ],
)
def test_its_end_is_an_os_error_with_its_status_and_its_last_words(run, stop, script, said):
    assert outcome(run(*sh(script)), stop) == said


def test_what_has_no_line_end_is_no_reading(run, stop):
    listener = run(*sh("printf '5 1\\n5 12'"))
    assert [frame.values for frame in listener.read(stop)] == [(1.0,)]
    outcome(listener, stop)
    assert listener.counts == {"unterminated": 1}


def test_one_that_works_and_ends_is_not_started_again_in_a_rush(run, stop, clock):
    listener = run(*sh("echo 5 1"))
    listener.read(stop)
    clock.sleep(4)
    outcome(listener, stop)
    assert clock.monotonic() == 10


def test_one_that_fails_is_left_to_the_pauses_of_the_core(run, stop, clock):
    outcome(run(*sh("exit 1")), stop)
    assert clock.monotonic() == 0


def test_it_is_started_again_by_the_core(tmp_path, caplog):
    mark = tmp_path / "mark"
    once = f'[ -e "{mark}" ] || {{ touch "{mark}"; echo "no bus" >&2; exit 1; }}'
    frames = []

    class Sink:
        def put(self, more, _notes):
            frames.extend(more)

    listener = build(ExecLines, {"command": list(sh(f"{once}; echo 5 1; sleep 100"))})
    listener.clock = VirtualClock()
    worker = ListenerWorker(listener, Sink())
    worker.start()
    wait_until(lambda: frames)
    listener.clock.sleep(60)
    worker.settle()
    worker.stop.set()
    worker.join(60)
    assert not worker.is_alive()
    assert "sh has ended with status 1: 'no bus'" in caplog.messages
    assert caplog.messages[-1] == "works again"


# What is left of it.


def test_all_that_it_has_started_ends_with_it_if_need_be_by_force(run, stop):
    stubborn = "trap '' TERM; while :; do sleep 1; done"
    listener = run(*sh(f'{stubborn} & echo "1 $! $$"; {stubborn}'))
    (frame,) = listener.read(stop)
    processes = [int(value) for value in frame.values]
    assert all(map(is_running, processes))
    listener.close()
    wait_until(lambda: not any(map(is_running, processes)))


def test_one_that_has_ended_and_left_a_silent_child_has_ended(run, stop, monkeypatch):
    monkeypatch.setattr(exec_lines, "_SILENCE", 0.2)
    listener = run(*sh("sleep 1000 & echo 5 $!"))
    (frame,) = listener.read(stop)
    assert outcome(listener, stop) == "sh has ended with status 0"
    wait_until(lambda: not is_running(int(frame.values[0])))


def test_one_that_has_ended_is_heard_for_as_long_as_its_child_prints(run, stop, monkeypatch):
    monkeypatch.setattr(exec_lines, "_SILENCE", 5)
    listener = run(*sh("(while :; do echo 5 1; sleep 0.05; done) &"))
    assert all(listener.read(stop) for _ in range(5))


def test_what_has_left_its_session_ends_with_it_too(run, stop):
    listener = run(*sh('setsid sh -c "trap : TERM; echo 7 \\$\\$; while :; do sleep 1; done" & sleep 1000'))
    (frame,) = listener.read(stop)
    child = int(frame.values[0])
    assert is_running(child)
    listener.close()
    wait_until(lambda: not is_running(child))


def test_it_has_a_chance_to_put_its_things_in_order(run, stop, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_PATIENCE", 60)
    tidy = f'touch "{tmp_path}/done"; exit'
    listener = run(*sh(f"trap '{tidy}' TERM; echo 5 1; while :; do sleep 0.01; done"))
    listener.read(stop)
    listener.close()
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("then", ["exit", "exec >&-; sleep 100", "sleep 100"])
def test_neither_a_descriptor_nor_a_zombie_stays_behind(run, stop, then):
    before = pipes()
    listener = run(*sh(f"echo 5 $$; {then}"))
    (frame,) = listener.read(stop)
    assert len(pipes() - before) == 2
    if then != "sleep 100":
        outcome(listener, stop)
    listener.close()
    listener.close()
    assert not pipes() - before
    assert not Path(f"/proc/{frame.values[0]:.0f}").exists()


def test_asked_to_stop_it_returns_with_nothing(run, stop):
    listener = run("sleep", "100")
    threading.Timer(0.05, stop.set).start()
    assert listener.read(stop) == []


# What is in the configuration.


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("reader", ["reader"]),
        ("reader --port '/dev/a b'", ["reader", "--port", "/dev/a b"]),
        (["reader", "a b", "$HOME"], ["reader", "a b", "$HOME"]),
    ],
)
def test_a_command_is_one_text_or_a_list(command, arguments):
    listener = build(ExecLines, {"command": command})
    assert split(listener.command) == arguments
    assert listener == build(ExecLines, {"command": command})


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (
            "",
            "a value expected, not nothing: the program that prints lines, such as /usr/local/bin/read-meter",
        ),
        ("''", "a program and its arguments expected, not nothing"),
        ("reader 'a", "a program and its arguments expected: no closing quotation"),
        ("./reader", "the name of a program or its absolute path expected, not ./reader"),
        (
            ["/bin/echo 1", "2"],
            "a program expected before the comma, not /bin/echo 1 (text with a comma needs quotes)",
        ),
    ],
)
def test_a_command_that_is_none_is_a_fault(command, fault):
    with pytest.raises(SettingsFault) as caught:
        build(ExecLines, {"command": command})
    assert caught.value.faults == [("command", fault)]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("reader | tail -1", "| is an argument of reader"),
        ("sleep 1 && reader", "&& is an argument of sleep"),
        ("while true; do reader; done", "true; is an argument of while"),
        ("sh -c 'reader | tail -1; sleep 1'", ""),
        ("sh -c 'while sleep 1; do reader; done;'", ""),
        ("reader --from 'http://here/?a=1&b=2;'x", ""),
    ],
)
def test_what_only_a_shell_understands_is_pointed_out(command, word):
    remarks = [message for _, message in build(ExecLines, {"command": command}).remarks()]
    assert remarks == [f"no shell reads it, and {word}: try sh -c '...'"] * bool(word)


def test_a_program_that_cannot_be_run_is_an_os_error_with_a_hint(run, tmp_path):
    script = tmp_path / "reader"
    with pytest.raises(OSError, match=r"reader: No such file.*is it installed, and its path right\?"):
        run(shlex.quote(str(script)))
    script.write_text("echo 5 1\n")
    with pytest.raises(OSError, match=r"reader: Permission denied .*chmod \+x"):
        run(shlex.quote(str(script)))
    script.chmod(0o755)
    with pytest.raises(OSError, match=r"reader: Exec format error .*#!/bin/sh"):
        run(shlex.quote(str(script)))


def test_the_doctor_names_a_closed_directory_above_a_script_that_an_interpreter_is_given(tmp_path):
    # given a script in a home that only its owner may enter: whether it may be read makes no difference
    (tmp_path / "home").mkdir(mode=0o700)
    script = tmp_path / "home" / "read.py"
    script.touch(0o600)
    machine = Machine(root=tmp_path, user="oemgateway", uid=990, gids=frozenset(), live=False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "ttyUSB1").touch(0o600)
    listener = build(ExecLines, {"command": "python3 /home/read.py --port /dev/ttyUSB1 --more /dev/ttyUSB9"})
    # when the doctor looks at it, then the home is named, and neither a device nor what is not there
    (finding,) = listener.examine(machine)
    assert str(finding).startswith("FAULT : oemgateway may not enter /home, where /home/read.py is: ")


def test_a_program_in_a_home_that_the_service_may_not_enter_is_not_answered_with_chmod(
    run, tmp_path, monkeypatch
):
    # given a program below a directory that this user may not enter
    script = tmp_path / "reader"
    script.write_text("echo 5 1\n")
    monkeypatch.setattr("gateway.paths.os.access", lambda place, mode: mode == os.F_OK or place != tmp_path)
    # when it is run, then the directory is named
    with pytest.raises(
        OSError, match=r"reader: Permission denied \(this user may not enter /.*another directory"
    ):
        run(str(script))


@pytest.mark.parametrize("arguments", [(), ("2",)])
def test_a_program_in_a_folder_with_a_space_in_its_name_is_run(run, stop, tmp_path, arguments):
    script = tmp_path / "My scripts" / "reader"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho 5 "${1:-1}"\nsleep 100\n')
    script.chmod(0o755)
    (frame,) = run(str(script), *arguments).read(stop)
    assert frame.values == (float(*arguments or "1"),)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "#!/bin/sh\r\necho 5 1\r\n",
            r"its lines end as those of Windows do: sed -i 's/\\r\$//' .*/reader'?\)",
        ),
        (
            "#!/usr/bin/python2 -u\nprint('5 1')\n",
            r"what its first line names, /usr/bin/python2, is not there",
        ),
    ],
)
def test_a_script_that_is_there_is_not_looked_for_elsewhere(run, tmp_path, text, advice):
    script = tmp_path / "reader"
    script.write_bytes(text.encode())
    script.chmod(0o755)
    with pytest.raises(OSError, match=rf"reader: No such file or directory \({advice}"):
        run(str(script))


def test_it_does_not_run_before_it_is_opened(stop):
    with pytest.raises(OSError, match="not running"):
        build(ExecLines, {"command": "sh"}).read(stop)


def test_the_program_on_the_page_of_lograte_prints_lines_that_are_read(tmp_path):
    page = (Path(__file__).parents[1] / "docs/listeners/lograte.rst").read_text(encoding="utf-8")
    script = textwrap.dedent(page[page.index("    #!/bin/sh") :])
    journal = tmp_path / "journalctl"
    journal.write_text("#!/bin/sh\nprintf 'status=sent\\nstatus=bounced\\nstatus=sent\\n'\n")
    journal.chmod(0o755)
    script = script.replace("/var/lib/oemgateway/", f"{tmp_path}/").replace("sleep 60", "sleep 0.01")
    path = f"{tmp_path}:{os.environ['PATH']}"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, env={"PATH": path}) as running:
        line = running.stdout.readline().decode()
        running.kill()
    assert decode(line.rstrip("\n")) == Pairs(("sent",), (2,), "mail")


def test_without_a_command_it_is_said_what_that_is():
    with pytest.raises(SettingsFault) as caught:
        build(ExecLines, {})
    assert caught.value.missing == {
        "command": "command is missing: the program that prints lines, such as /usr/local/bin/read-meter"
    }
