"""The command as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.commands import demo as demonstration
from gateway.commands.main import COMMANDS, main, parser
from gateway.text.terminal import CONFIGURATION
from gateway.version import VERSION
from tests.gateway_process import ENVIRONMENT, GatewayProcess, command, run, state
from tests.ports import free_port
from tests.simulators.mosquitto import Mosquitto, Subscriber
from tests.waiting import wait_until

LISTENER = "[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
DISPATCHER = """[dispatchers]
[[home]]
type = emoncms
url = http://127.0.0.1:9
apikey = s3cr3ts3cr3ts3cr3ts3cr3ts3cr3t01
"""


@pytest.fixture
def file(tmp_path, written):
    return written(state(tmp_path) + LISTENER.format(port=free_port()) + DISPATCHER)


def test_version():
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"oemgateway {VERSION}\n")


@pytest.mark.parametrize(
    "wrong", [["--loglevel", "DEBUG"], ["--logfile"], ["nonsense"]], ids=["option", "no value", "command"]
)
def test_a_service_names_the_file_that_its_wrong_arguments_come_from(wrong):
    # given arguments that systemd has read from the defaults
    done = command(*wrong, DAEMON_ARGS=" ".join(wrong))
    # then the last line says where to correct them
    assert done.returncode == CONFIGURATION
    _, cure = done.stderr.splitlines()
    assert cure == (
        "oemgateway: this comes from DAEMON_ARGS in /etc/default/oemgateway: correct it there, then: "
        "sudo service oemgateway restart"
    )


def test_a_person_who_types_wrong_arguments_is_sent_to_no_file():
    assert "/etc/default" not in command("--loglevel", "DEBUG").stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_has_not_every_character_is_no_trouble(file, encoding, monkeypatch):
    monkeypatch.chdir(file.parent)  # the name of that folder may have such characters
    file.write_text(f"{file.read_text()}[nodes]\n[[7]]\nnames = Kueche ▃,\n")
    done = command("check", file.name, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Kueche \\u2583" in done.stdout


@pytest.mark.parametrize("of", [[], ["queue"], ["queue", "list"]])
def test_help_may_be_asked_for_as_a_command(capsys, of):
    said = []
    for arguments in (["help", *of], ["--config-file", "nowhere.conf", "help", *of], [*of, "--help"]):
        with pytest.raises(SystemExit, match=r"^0$"):
            main(arguments)
        said.append(capsys.readouterr().out)
    assert said == [said[-1]] * 3
    assert said[-1].startswith(f"usage: {' '.join(['oemgateway', *of])} ")


@pytest.mark.parametrize("typed", ["\x1b[31mred", "\x9b31m", "x" * 120_000])
def test_what_was_typed_is_shown_in_a_line_that_is_safe_for_the_terminal(capsys, typed):
    for arguments in (("queue", "list", "--limit", typed), ("queue", typed)):
        with pytest.raises(SystemExit, match=r"^2$"):
            main(arguments)
        said = capsys.readouterr().err
        assert 0 < len(said) < 40_000
        assert said.rstrip("\n").isprintable()


def test_check_says_what_would_run(file):
    done = command("check", file)
    assert done.returncode == 0, done.stdout
    assert "listener push, type tcp" in done.stdout
    assert "dispatcher home, type emoncms" in done.stdout
    assert "s3cr3t" not in done.stdout


@pytest.mark.parametrize("arguments", [["check"], []])
def test_a_faulty_file_is_refused_with_every_fault_and_its_line(file, arguments):
    file.write_text(file.read_text().replace("type = tcp", "type = tpc").replace("apikey", "apkey"))
    done = command("--config-file", file, *arguments)
    assert done.returncode == 78
    said = (done.stdout + done.stderr).splitlines()
    assert said[0] == f"{file}:6: type: tpc is not a type of listener (did you mean tcp?)"
    assert any(":12: apkey: no such setting (did you mean apikey?)" in line for line in said), said
    assert "Traceback" not in done.stderr


def test_settings_are_shown_with_keys_masked_and_read_back_the_same(file, tmp_path):
    shown = command("--config-file", file, "--show-settings")
    assert shown.returncode == 0
    assert "apikey = ********" in shown.stdout
    assert "s3cr3t" not in shown.stdout
    again = tmp_path / "again.conf"
    again.write_text(shown.stdout)
    assert command("--config-file", again, "--show-settings").stdout == shown.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(file, number):
    with GatewayProcess(file) as gateway:
        gateway.process.send_signal(number)
        assert gateway.process.wait(60) == 0


def test_hangup_reads_the_file_again(file):
    with GatewayProcess(file) as gateway:
        file.write_text(file.read_text().replace("[[home]]", "[[house]]"))
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "house" in gateway.status()["dispatchers"])


def test_the_log_goes_where_it_is_sent_and_without_a_disk_it_runs_from_memory(file, tmp_path):
    (tmp_path / "state").write_text("a file where a directory should be")
    log = tmp_path / "gateway.log"
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "--config-file", file, "--logfile", log], env=ENVIRONMENT
    ) as process:
        wait_until(lambda: log.exists() and "do not survive" in log.read_text())
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 0
    assert "cannot be written" in log.read_text()


def test_the_demo_shows_a_table_and_posts_where_it_is_told_until_it_is_interrupted(tmp_path, server):
    screen, errors = tmp_path / "screen", tmp_path / "errors"
    rows = {("9", "1", "cellar"), ("9", "2", "flow"), ("9", "3", "return"), ("9", "4", "Dummy")}
    keys = {("9", "1"), ("9", "2"), ("9", "3"), ("9", "5"), ("9", "6"), ("10", "1")}

    def shown():
        return {tuple(line.split()[:3]) for line in screen.read_text().splitlines()}

    def posted():
        return {(kept.node, kept.key) for kept in server.stored}

    with (
        screen.open("wb") as out,
        errors.open("wb") as err,
        subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo"],
            env=ENVIRONMENT | {"EMONCMS": server.url, "APIKEY": server.key},
            stdout=out,
            stderr=err,
        ) as demo,
    ):
        wait_until(lambda: rows <= shown())
        wait_until(lambda: ("10", "1") in {row[:2] for row in shown()})
        wait_until(lambda: keys <= posted())
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    assert "Traceback" not in errors.read_text()
    assert ("9", "4") not in posted()


def test_the_demo_ends_by_itself_where_it_is_told_to_and_says_what_comes_next(monkeypatch, tmp_path):
    done = command("demo", "--seconds", "0.1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("What comes next: ")
    monkeypatch.setattr(demonstration, "DEFAULT_FILE", tmp_path / "oemgateway.conf")
    assert demonstration.next_step().startswith("sudo make install, ")
    (tmp_path / "oemgateway.conf").touch()
    assert demonstration.next_step().startswith("sudo oemgateway setup, ")


@pytest.mark.parametrize("seconds", ["-5", "nan", "inf", "soon", ""])
def test_the_demo_does_not_end_after_what_is_no_time(seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--seconds", seconds])
    said = capsys.readouterr()
    assert said.out == ""
    assert "argument --seconds: " in said.err
    assert " expected, not " in said.err


def test_the_demo_needs_a_key_for_an_emoncms():
    done = command("demo", EMONCMS="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "APIKEY" in done.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"EMONCMS": "emonpi", "APIKEY": "0" * 32},
            "EMONCMS: http://host or https://host expected, not emonpi",
        ),
        ({"EMONCMS": "http://emonpi", "APIKEY": "1, 2"}, "APIKEY: one value expected"),
        ({"MQTT": "localhost:99999"}, "MQTT: a number from 1 to 65535 expected, not 99999"),
        ({"MQTT": "a/b"}, "MQTT: the name or the IP address of a host expected, not a/b"),
    ],
)
def test_a_wrong_variable_of_the_demo_is_named_and_no_file_that_nobody_wrote(environment, said):
    done = command("demo", "--seconds", "0", **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"oemgateway: {said}")
    assert "oemgateway.conf" not in done.stderr


def signalled_at_import(name, before=""):
    """Return a program that starts the command, and gets a signal while its modules are imported."""
    return f"""
import builtins, os, signal, sys, gateway.__main__
{before}
imported = builtins.__import__
def hook(name, *how, **more):
    if name == "gateway.commands.main":
        os.kill(os.getpid(), signal.{name})
    return imported(name, *how, **more)
builtins.__import__ = hook
sys.exit(gateway.__main__.start())
"""


@pytest.mark.parametrize("words", [[], ["run"]])
def test_a_request_to_read_the_file_does_not_end_a_gateway_that_has_not_read_it_yet(file, words):
    # given a gateway that is asked to while its modules are imported, and once more before it runs
    code = signalled_at_import(
        "SIGHUP",
        "from gateway.commands import foreground; serve = foreground.serve\n"
        "def late(daemon): os.kill(os.getpid(), signal.SIGHUP); daemon.stop.set(); serve(daemon)\n"
        "foreground.serve = late",
    )
    # then it runs
    assert run(sys.executable, "-c", code, "--config-file", file, *words).returncode == 0


def test_a_command_ends_when_its_terminal_does(file):
    code = signalled_at_import(
        "SIGHUP",
        "import gateway.commands.main as m\n"
        "def late(): os.kill(os.getpid(), signal.SIGHUP); return 0\n"
        "m.main = late",
    )
    assert run(sys.executable, "-c", code, "check", file).returncode == -signal.SIGHUP


def test_ctrl_c_while_the_modules_are_imported_is_no_traceback(file):
    # given a machine that takes seconds to import them
    done = run(sys.executable, "-c", signalled_at_import("SIGINT"))
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_the_gateway_imports_no_module_that_only_a_command_needs(file):
    names = [*COMMANDS.values(), "gateway.conf.edit"]
    names.remove("gateway.commands.foreground")
    code = f"""
import gateway.commands.main, sys
gateway.commands.main.main(["--config-file", {str(file)!r}, "--show-settings"])
print("extra:", *sys.modules.keys() & set({names}), file=sys.stderr)
"""
    assert run(sys.executable, "-c", code).stderr == "extra:\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_adds_its_parser(name):
    needed = {"probe": ["router:22"], "migrate": ["emonhub.conf"], "history": ["export", "-"]}.get(name, [])
    assert parser([name]).parse_args([name, *needed]).run.__name__ == "run"


@pytest.mark.parametrize(
    "arguments", [["check"], ["doctor"], ["sensors"], ["status", "--json"], ["help"], ["--version"]]
)
@pytest.mark.parametrize("closed", [False, True])
def test_a_pipe_that_nobody_reads_is_no_trouble(tmp_path, written, arguments, closed):
    # given a configuration, and output that goes nowhere
    file = written(
        f"[gateway]\nstate_dir = {tmp_path}\n[listeners]\n[[a]]\ntype = ds2482\nbus = simulated\nnode = 9\n"
        "sensor1 = 28.33F749050000\n[dispatchers]\n[[log]]\ntype = log\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    # when a command prints
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {">&-" if closed else ""}', "sh", sys.executable, "-m", "gateway"]
        + ["--config-file", str(file)] * (arguments != ["help"])
        + arguments,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    os.close(writing)
    # then it says nothing about that
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr
    assert done.returncode in (0, 1, 3)


@pytest.mark.parametrize("arguments", [["check"], ["--show-settings"], ["--version"], ["--help"]])
def test_output_on_a_full_disk_is_one_line_and_a_failure(file, arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "--config-file", str(file), *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | {"PYTHONUNBUFFERED": ""},  # as it is for people
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "oemgateway: standard output: No space left on device\n")


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("arguments", "status"), [("run", 78), ("frobnicate", 2), ("queue import -", 78)])
def test_the_exit_status_is_the_same_where_standard_error_is_closed_or_full(
    tmp_path, stderr, arguments, status
):
    (tmp_path / "empty.conf").write_text(state(tmp_path))
    line = f'exec "$@" {arguments} {stderr}'
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "gateway", "--config-file", "empty.conf"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, env=ENVIRONMENT, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == status


def test_without_a_standard_input_it_starts_as_it_does_with_one(tmp_path):
    (tmp_path / "empty.conf").write_text(state(tmp_path))
    without = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "gateway"]
    done = run(*without, "--config-file", tmp_path / "empty.conf", "queue", "drop", "--waiting")
    assert done.returncode in (1, 78)
    assert "Traceback" not in done.stderr
    bare = run(*without, "--config-file", "nowhere.conf")
    assert (bare.returncode, bare.stderr.count("\n")) == (78, 1)


def test_the_demo_publishes_where_a_broker_is_named_and_leaves_nothing_there(tmp_path):
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "homeassistant/device/+/config") as subscriber:
        demo = command("demo", "--seconds", "8", MQTT=f"127.0.0.1:{broker.port}")
        assert demo.returncode == 0
        names = [json.loads(text)["device"]["name"] for _, text, _ in subscriber.messages if text]
        with Subscriber(broker, "#") as later:
            left = [topic for topic, _, retained in later.messages if retained]
    assert {"Node 9"} < set(names)
    assert left == []
