"""What people type in the first hour, and what they read then: each message says what to do next."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from gateway.commands.main import COMMANDS, main
from gateway.conf import config, document
from gateway.conf.config import ConfigFaults, Gateway
from gateway.diagnosis import machine
from gateway.nodes import Decoder
from gateway.registry import find, known
from gateway.settings import declared
from tests.gateway_process import GatewayProcess, command, run, state
from tests.ports import free_port
from tests.test_docs import HARMLESS, INDEXED
from tests.typist import Typist
from tests.waiting import wait_until

OURS = Path(gateway.__file__).parents[1]
RUNNING = "[listeners]\n[[push]]\ntype = tcp\nport = {port}\n[dispatchers]\n[[log]]\ntype = log\n"


def typed(capsys, *arguments):
    """Return the exit status of a command and all that it prints."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    return status, said.out + said.err


def test_the_command_alone_at_a_terminal_says_what_there_is_and_whether_it_runs():
    with Typist(sys.executable, "-m", "gateway") as person:
        assert person.waits() == 0
    for name in COMMANDS:
        assert re.search(rf"(?m)^    {name} ", person.seen), name
    assert "The first time: sudo oemgateway " in person.seen
    assert person.seen.splitlines()[-1].startswith("Now: ")


def test_the_command_alone_in_a_script_runs_the_gateway():
    done = command("--config-file", "/nowhere/oemgateway.conf", "run")
    assert (done.returncode, done.stderr) == (
        78,
        "/nowhere/oemgateway.conf: there is no such file: create it, or name another with --config-file\n",
    )
    assert command("--config-file", "/nowhere/oemgateway.conf").stderr == done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stauts"], "stauts is not a command (did you mean status?); `oemgateway --help` lists them"),
        (["help", "nothing"], "nothing is not a command; `oemgateway --help` lists them"),
        (["start"], "the gateway is a service: sudo service oemgateway start"),
        (["--verison"], "--verison is not understood; `oemgateway --help` explains what is"),
        (["--loglevel", "x", "status"], "--loglevel is not understood; `oemgateway --help` explains what is"),
        (
            ["queue", "drop", "--waiting", "--yes", "--dispatcher", ""],
            "--dispatcher: a name expected, not nothing; `oemgateway queue drop --help` explains it",
        ),
        (["status", "--jsn"], "--jsn is not understood; `oemgateway status --help` explains what is"),
        (["migrate"], "the following arguments are required: FILE; `oemgateway migrate --help` explains it"),
        (["history"], "are required: export|import; `oemgateway history --help` explains it"),
        (["probe"], "are required: HOST:PORT; `oemgateway probe --help` explains it"),
        (["queue", "drop"], "required; `oemgateway queue drop --help` explains it"),
        (["--config-file"], "--config-file: expected one argument; `oemgateway --help` explains it"),
    ],
)
def test_what_is_not_understood_is_one_line_with_the_next_step(capsys, arguments, words):
    status, said = typed(capsys, *arguments)
    assert status == 2
    assert said.endswith(f"{words}\n")
    assert said.startswith("oemgateway")
    assert said.count("\n") == 1


def test_an_option_may_stand_on_either_side_of_the_command(capsys):
    expected = typed(capsys, "--config-file", "/nowhere/x.conf", "status")
    assert typed(capsys, "status", "--config-file", "/nowhere/x.conf") == expected
    assert "/nowhere/x.conf: there is no such file" in expected[1]


@pytest.mark.parametrize("arguments", [["status"], ["values"], ["doctor"]])
def test_without_a_gateway_each_command_says_how_to_start_it(capsys, written, tmp_path, arguments):
    file = written(state(tmp_path) + RUNNING.format(port=free_port()))
    _, said = typed(capsys, "--config-file", str(file), *arguments)
    assert re.search(
        r"no gateway answers at .+ \(No such file or directory\): sudo service oemgateway start", said
    )


def test_a_second_gateway_names_the_first(written, tmp_path):
    file = written(state(tmp_path) + RUNNING.format(port=free_port()))
    with GatewayProcess(file) as first:
        done = command("--config-file", file, "run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert re.search(rf"in use: another oemgateway is running, \S+ \(pid {first.process.pid}\): sudo ", line)


def test_two_gateways_with_one_socket_are_said(written, tmp_path):
    file = written(state(tmp_path) + RUNNING.format(port=free_port()))
    with GatewayProcess(file) as first:
        other = tmp_path / "other.conf"
        text = file.read_text().replace(f"state_dir = {tmp_path}", f"state_dir = {tmp_path}/other")
        other.write_text(re.sub(r"port = \d+", f"port = {free_port()}", text))
        second = GatewayProcess(other)
        second.launch()
        try:
            wait_until(lambda: f"(pid {first.process.pid}) answers there: sudo " in second.log)
        finally:
            second.process.terminate()
            second.process.wait(60)


def test_a_port_that_is_taken_is_named_by_the_gateway_and_by_the_doctor(capsys, written, tmp_path):
    port = free_port()
    file = written(state(tmp_path) + RUNNING.format(port=port))
    code = f"import socket; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        who = rf"in use by \S+ \(pid {other.pid}\): sudo [\w ]+, or set another port"
        status, before = typed(capsys, "--config-file", str(file), "doctor")
        with GatewayProcess(file) as running:
            log = running.log
        other.communicate(b"\n")
    assert status == 1
    assert re.search(rf"FAULT push: port {port} is {who}", before)
    assert re.search(rf"push: 127\.0\.0\.1:{port}: the port is {who}", log)


def test_a_file_that_this_user_may_not_read_asks_for_sudo(monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(document, "open", refuse, raising=False)
    words = "cannot be read: Permission denied: put sudo before the command, as it holds a key"
    assert typed(capsys, "check") == (78, f"/etc/oemgateway.conf: {words}\n")


def test_a_file_that_the_service_may_not_read_is_named_with_its_cure(monkeypatch, capsys):
    # given a file that an editor of root's has written anew, and a service for which sudo does nothing
    def refuse(*_, **__):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(document, "open", refuse, raising=False)
    monkeypatch.setattr(machine, "user_name", lambda _: "oemgateway")
    words = (
        "/etc/oemgateway.conf: cannot be read: Permission denied: oemgateway may not read it: "
        "sudo chgrp oemgateway /etc/oemgateway.conf, then sudo chmod g+r /etc/oemgateway.conf\n"
    )
    assert typed(capsys, "check") == (78, words)

    # where the directory is closed, no mode of the file helps
    monkeypatch.setattr(machine, "closed_above", lambda _: "/home/pi")
    words = (
        "/etc/oemgateway.conf: cannot be read: Permission denied: oemgateway may not enter /home/pi: "
        "keep the file itself in another directory, such as /etc\n"
    )
    assert typed(capsys, "check") == (78, words)


def test_the_file_that_is_missing_comes_with_the_installation(monkeypatch, capsys):
    def miss(*_, **__):
        raise FileNotFoundError(2, os.strerror(2))

    monkeypatch.setattr(document, "open", miss, raising=False)
    said = typed(capsys, "check")[1]
    cure = "`sudo make install` makes it (Debian's package: `sudo dpkg-reconfigure oemgateway`), or name"
    assert cure in said


def swapped(word):
    return word[:1] + word[2:3] + word[1:2] + word[3:] if len(word) > 2 else word * 2


SETTINGS = [
    *(("gateway", "", name) for name in declared(Gateway)),
    *(("nodes", "", name) for name in declared(Decoder)),
    *(
        (kind, type_, INDEXED.get(name, name).removesuffix("N") + ("1" if name in INDEXED else ""))
        for kind in ("listeners", "dispatchers")
        for type_ in known(kind)
        for name in declared(find(kind, type_))
    ),
]


@pytest.mark.parametrize(("top", "type_", "name"), SETTINGS)
def test_a_misspelt_setting_is_recognised(written, top, type_, name):
    wrong = swapped(name) if swapped(name) != name else f"{name}s"
    inner = "[[10]]\n" if top == "nodes" else f"[[a]]\ntype = {type_}\n" if type_ else ""
    text = f"[{top}]\n{inner}{wrong} = 1\n" + "".join(part for part in HARMLESS if f"[{top}]" not in part)
    line = text.splitlines().index(f"{wrong} = 1") + 1
    try:
        said = config.read(written(text)).remarks
    except ConfigFaults as caught:
        said = caught.faults
    assert any(fault.line == line and f"(did you mean {name}" in str(fault) for fault in said), [
        *map(str, said)
    ]


def test_without_its_libraries_the_program_says_how_to_get_them():
    path = f"sys.path.insert(0, {str(OURS)!r})"
    code = f"import runpy, sys; {path}; runpy.run_module('gateway', run_name='__main__')"
    done = run(sys.executable, "-I", "-S", "-c", code)
    assert done.returncode == 1
    assert re.fullmatch(
        r"oemgateway: the Python module \w+ is missing: `make demo` fetches .*\n", done.stderr
    )


def test_make_says_what_it_can_make():
    done = run("make", "-C", OURS, "help")
    assert re.search(r"(?m)^make demo  .*simulated hardware", done.stdout)
    assert "make install " in done.stdout


@pytest.mark.parametrize("points_to", [sys.executable, "/nowhere/python3"])
def test_after_an_upgrade_of_python_make_sets_itself_up_again(tmp_path, points_to):
    # given an environment whose packages are for a Python that was there before
    old = tmp_path / "old"
    (old / "lib/python3.1/site-packages").mkdir(parents=True)
    (old / "bin").mkdir()
    (old / "bin/python").symlink_to(points_to)
    (old / "pyvenv.cfg").touch()
    for done in ("runtime", "manual", "test", "lint"):
        (old / f".{done}").touch()

    # when anything is made with it, then it is made anew
    planned = run("make", "-n", "-C", OURS, "demo", f"VENV={old}", f"PYTHON={sys.executable}").stdout
    assert re.search(rf"-m venv .*{re.escape(str(old))}", planned)
    assert f"Setting up {old}" in planned


def test_an_environment_of_this_python_is_kept(tmp_path):
    if " " in str(tmp_path):
        pytest.skip("make takes no file with a space in its name")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    (tmp_path / "own/.runtime").touch()
    planned = run("make", "-n", "-C", OURS, "demo", f"VENV={tmp_path / 'own'}", f"PYTHON={sys.executable}")
    assert "-m venv" not in planned.stdout
    assert (tmp_path / "own/.runtime").exists()


@pytest.mark.parametrize(
    ("pip_says", "words"),
    [
        (
            "/x/bin/python: No module named pip",
            "the environment in .venv is incomplete: rm -rf .venv, then run make again",
        ),
        (
            "ERROR: [Errno 13] Permission denied: '.venv'",
            "another user: sudo rm -rf .venv, then run make again",
        ),
        ("ERROR: [Errno 28] No space left on device", "the disk is full: make room, then run make again"),
        (
            "ERROR: No matching distribution found for wheel",
            "connect to the network once, then run make again",
        ),
    ],
)
def test_what_keeps_make_from_its_packages_is_said(tmp_path, pip_says, words):
    pip = tmp_path / "pip"
    pip.write_text(f'#!/bin/sh\necho "{pip_says}"\nexit 1\n')
    pip.chmod(stat.S_IRWXU)
    done = run(OURS / "install.sh", "fetch", pip)
    assert done.returncode != 0
    assert words in done.stderr.splitlines()[-1]
