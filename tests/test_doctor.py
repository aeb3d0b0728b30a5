"""`oemgateway doctor`: the examination as a whole."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.commands import doctor
from gateway.conf.config import Gateway
from gateway.diagnosis.finding import Finding, Verdict, good, unknown
from gateway.diagnosis.machine import Machine
from gateway.plugin import Listener
from gateway.process import control
from tests.gateway_process import GatewayProcess, command, read_only, state
from tests.ports import free_port
from tests.simulators.pi import ailing, fault
from tests.statuses import status
from tests.waiting import wait_until

FLOW = "28.33F749050000"

CONFIGURATION = """[gateway]
state_dir = /var/lib/oemgateway
[listeners]
[[bridge]]
type = ds2482
node = 9
sensor1 = 28.33F749050000
[[radio]]
type = rfm12pi
[dispatchers]
[[home]]
type = log
"""

LOG = "[dispatchers]\n[[log]]\ntype = log\n"


def test_the_command_on_another_root(pi):
    pi.put("/etc/oemgateway.conf", CONFIGURATION)
    pi.path("/etc/oemgateway.conf").chmod(0o600)
    pi.path("/var/lib/oemgateway").mkdir(parents=True)
    for device in ("/dev/i2c-1", "/dev/ttyAMA0"):
        pi.path(device).chmod(0o666)
    done = command("doctor", "--root", pi.root)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"ok    configuration: {pi.root}/etc/oemgateway.conf has no faults"
    assert {line.partition(": ")[0] for line in lines[1:]} == {"ok    state", "ok    bridge", "ok    radio"}

    pi.remove("/dev/i2c-1")
    done = command("doctor", "--root", pi.root)
    assert done.returncode == 1
    assert "FAULT bridge: /dev/i2c-1 is missing: run raspi-config" in done.stdout


@pytest.mark.parametrize("root", ["/nowhere", "/etc/passwd"])
def test_a_root_that_is_not_there(root):
    done = command("doctor", "--root", root)
    expected = f"oemgateway: {root}: the directory that a system is in expected, and there is none\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)


def test_a_faulty_configuration_is_said_first_and_the_usual_ways_are_examined(pi):
    pi.put("/etc/oemgateway.conf", CONFIGURATION.replace("node = 9", "node = 9\nresolution = 13"))
    file = pi.path("/etc/oemgateway.conf")
    findings = list(doctor.examine(file, pi.machine))
    assert str(findings[0]) == f"FAULT {file}:7: resolution: 9, 10, 11 or 12 expected, not 13"
    assert {finding.subject for finding in findings[1:]} == {
        "state",
        "ds2482, if you have one",
        "rfm12pi, if you have one",
    }


def test_a_missing_configuration(pi):
    (first, *_) = doctor.examine(pi.path("/etc/oemgateway.conf"), pi.machine)
    assert first.is_bad
    assert str(first).startswith(f"FAULT {pi.root}/etc/oemgateway.conf: ")


def test_a_file_that_only_root_may_read_is_a_fault_of_the_service(pi):
    # given a file as an editor or a backup of root's leaves it
    pi.put("/etc/oemgateway.conf", CONFIGURATION)
    file = pi.path("/etc/oemgateway.conf")
    file.chmod(0o600)
    service = replace(pi.machine, user="oemgateway", uid=pi.machine.uid + 1)
    # when root looks, who may read everything
    found = [each for each in doctor.examine(file, service) if each.subject == "configuration"]
    cure = "sudo chgrp oemgateway /etc/oemgateway.conf, then sudo chmod g+r /etc/oemgateway.conf"
    assert fault(found[1:]) == ("oemgateway may not read /etc/oemgateway.conf", cure)
    file.chmod(0o644)
    assert not ailing([each for each in doctor.examine(file, service) if each.subject == "configuration"])


def test_a_closed_home_that_a_link_to_the_file_leads_into_is_a_fault_of_the_service(pi):
    # given settings in a home that only its user may enter
    pi.put("/home/pi/dotfiles/oemgateway.conf", CONFIGURATION)
    pi.path("/home/pi").chmod(0o700)
    file = pi.path("/etc/oemgateway.conf")
    file.parent.mkdir(exist_ok=True)
    file.symlink_to(pi.path("/home/pi/dotfiles/oemgateway.conf"))
    service = replace(pi.machine, user="oemgateway", uid=pi.machine.uid + 1)
    # when root looks, then it is no mode of the file that is named
    found = [each for each in doctor.examine(file, service) if each.subject == "configuration"]
    assert fault(found[1:]) == (
        "oemgateway may not enter /home/pi, where /etc/oemgateway.conf is",
        "keep the file itself in another directory, such as /etc",
    )
    pi.path("/home/pi").chmod(0o711)
    assert not ailing([each for each in doctor.examine(file, service) if each.subject == "configuration"])


def finding_on_state(pi, machine, text=CONFIGURATION):
    pi.put("/etc/oemgateway.conf", text)
    findings = doctor.examine(pi.path("/etc/oemgateway.conf"), machine)
    return next(finding for finding in findings if finding.subject == "state")


def test_a_state_directory_that_cannot_be_written(pi):
    pi.path("/var/lib").mkdir(parents=True, mode=0o755)
    assert fault([finding_on_state(pi, pi.machine)]) == (
        "pi may not write to /var/lib/oemgateway",
        "sudo install -d -o pi /var/lib/oemgateway, once its disk is mounted, or name another as state_dir",
    )
    assert not ailing([finding_on_state(pi, replace(pi.machine, uid=0))])
    pi.put("/var/lib/oemgateway")
    assert finding_on_state(pi, replace(pi.machine, uid=0)).is_bad


@pytest.mark.parametrize("is_there", [True, False])
def test_a_state_directory_on_a_file_system_that_is_read_only(written, tmp_path, is_there):
    # given one that root may write to by its mode, or one that cannot be made
    card = tmp_path / "card"
    card.mkdir()
    place = card if is_there else card / "state"
    file = written(CONFIGURATION.replace("/var/lib/oemgateway", f"{place}\nsocket = {tmp_path}/none"))
    # then
    said = read_only(card, "--config-file", file, "doctor").stdout
    assert f" may not write to {place}, as its file system is read-only: make that writable, or name" in said


@pytest.mark.parametrize("exists", [True, False])
def test_a_state_directory_in_a_home_that_may_not_be_entered(pi, exists):
    # given a directory in a home that only its owner may enter, or none there yet
    home = pi.path("/home/other")
    (home / "oemgateway").mkdir(parents=True)
    (home / "oemgateway").chmod(0o777)
    if not exists:
        (home / "oemgateway").rmdir()
    home.chmod(0o700)
    # when the doctor looks at it, then it is not to be made, and not said to be fine
    text = CONFIGURATION.replace("/var/lib/oemgateway", "/home/other/oemgateway")
    finding = finding_on_state(pi, replace(pi.machine, uid=990), text)
    assert fault([finding]) == (
        "pi may not enter /home/other, where /home/other/oemgateway is",
        "name another directory as state_dir",
    )


def test_a_link_is_no_state_directory_to_systemd(pi):
    # given a directory on another disk, which /var/lib/oemgateway leads to
    pi.path("/mnt/disk").mkdir(parents=True)
    pi.path("/var/lib").mkdir(parents=True)
    pi.path("/var/lib/oemgateway").symlink_to(pi.path("/mnt/disk"))
    text = CONFIGURATION.replace("state_dir", "#state_dir")
    assert "is a link" not in str(finding_on_state(pi, pi.machine, text))
    pi.path("/run/systemd/system").mkdir(parents=True)
    found, cure = fault([finding_on_state(pi, pi.machine, text)])
    assert found == "/var/lib/oemgateway is a link, which systemd refuses"
    assert cure.startswith("name the directory that it leads to as state_dir")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "tcp:127.0.0.1:{port}",
            "FAULT syslog: tcp:127.0.0.1:{port} is not reached (Connection refused): start it",
        ),
        ("nowhere.invalid, local3", "FAULT syslog: nowhere.invalid, local3 is not reached ("),
        ("127.0.0.1:{port}", "ok    syslog: 127.0.0.1:{port} can be reached"),
    ],
)
def test_a_syslog_that_is_not_reached(tmp_path, words, said):
    port = free_port()
    file = tmp_path / "gateway.conf"
    file.write_text(
        f"[gateway]\nsyslog = {words.format(port=port)}\nstate_dir = {tmp_path}\nsocket = {tmp_path}/none\n"
        "[listeners]\n[[bridge]]\ntype = ds2482\nnode = 9\nbus = simulated\n"
        "[dispatchers]\n[[home]]\ntype = log\n"
    )
    (about,) = (
        str(each) for each in doctor.examine(file, Machine.below(Path("/"))) if each.subject == "syslog"
    )
    assert about.startswith(said.format(port=port))


def test_the_usual_state_directory_is_not_missed_by_a_user_who_has_his_own(pi):
    pi.path("/var/lib").mkdir(parents=True, mode=0o755)
    finding = finding_on_state(pi, pi.machine, CONFIGURATION.replace("state_dir", "#state_dir"))
    assert finding.verdict is Verdict.UNKNOWN
    assert "started by pi the gateway keeps it in " in finding.cure


class Broken(Listener):
    def examine(self, machine):
        yield unknown("so far, so good")
        raise ZeroDivisionError("a bug")


def test_a_plugin_that_cannot_examine_does_not_hide_the_rest(pi):
    first, second = doctor._examine_plugin(Broken(), pi.machine)
    assert first.found == "so far, so good"
    assert second.found == "it could not be examined, a bug in it: ZeroDivisionError('a bug')"


def test_a_plugin_need_not_examine(pi):
    assert not list(Listener().examine(pi.machine))


def test_a_fault_of_the_file_hides_only_its_own_setting(tmp_path):
    file, states = tmp_path / "oemgateway.conf", tmp_path / "state"
    file.write_text(f"{state(tmp_path)}loglevel = VERBOSE\n")
    said = command("--config-file", file, "doctor").stdout
    assert f"may write to {states}" in said
    assert f"no gateway answers at {states}/control (" in said
    # when the place itself is wrong, no other is claimed to be it
    file.write_text("[gateway]\nstate_dir = state\n")
    said = command("--config-file", file, "doctor").stdout
    assert "?     state: where it is kept is not known: the faults of the file hide it" in said
    assert "it has faults, which hide where the socket is: oemgateway check" in said


def test_what_the_running_gateway_has_seen_is_told(tmp_path):
    file = tmp_path / "oemgateway.conf"
    port = free_port()
    file.write_text(
        state(tmp_path)
        + f"[listeners]\n[[push]]\ntype = tcp\nport = {port}\n[[radio]]\ntype = rfm12pi\n"
        + f"port = {tmp_path}/nothing\n[[demo]]\ntype = ds2482\nbus = simulated\nnode = 9\ninterval = 1\n"
        + f"sensor1 = {FLOW}\nsensor2 = 28.000000000001\n[dispatchers]\n[[home]]\ntype = log\n"
    )
    before = command("--config-file", file, "doctor")
    assert f"?     gateway: no gateway answers at {tmp_path}/state/control (No such file" in before.stdout
    with GatewayProcess(file) as gateway:
        wait_until(lambda: gateway.status()["listeners"]["demo"]["frames"])
        wait_until(lambda: gateway.status()["listeners"]["radio"]["trouble"])
        said = command("--config-file", file, "doctor").stdout
        other = tmp_path / "other.conf"
        other.write_text(file.read_text())
        elsewhere = command("--config-file", other, "doctor").stdout
    assert f"ok    gateway: it is running, pid {gateway.process.pid}" in said
    assert f"ok    state: the running gateway keeps it in {tmp_path}/state" in said
    assert "?     push: the running gateway has had no frame through it yet" in said
    assert f"FAULT radio: the running gateway is in trouble with it: {tmp_path}/nothing: No such file" in said
    assert " since the gateway started, the last " in said
    assert "FAULT demo: the running gateway is in trouble with it: sensor2 28." in said
    assert (
        f"?     gateway: the one that runs, pid {gateway.process.pid}, has another file: {file}" in elsewhere
    )


def test_each_trouble_of_the_gateway_itself_is_a_fault(tmp_path, monkeypatch):
    troubles = ["the disk refuses", "the file has faults"]
    troubled = status(healthy=False, troubles=troubles, queue_trouble="the disk refuses")
    monkeypatch.setattr(doctor, "_ask", lambda *_: (good("it is running"), troubled, 812))
    found = [str(each) for each in doctor.examine(tmp_path / "none", Machine.below(Path("/")))]
    assert found[1:4] == [
        "ok    gateway: it is running",
        "FAULT gateway: the file has faults",
        "FAULT state: the disk refuses",
    ]


def test_a_file_that_became_faulty_still_names_the_socket_and_the_state_of_the_one_that_runs(tmp_path):
    file = tmp_path / "oemgateway.conf"
    file.write_text(f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n" + LOG)
    file.chmod(0o600)
    with GatewayProcess(file) as running:
        file.write_text(file.read_text().replace("type = log", "type = lod"))
        found = [str(each) for each in doctor.examine(file, Machine.below(Path("/")))]
        pid = running.process.pid
    assert f"ok    gateway: it is running, pid {pid}" in found
    assert f"ok    state: the running gateway keeps it in {tmp_path / 'state'}" in found


def test_a_gateway_that_hangs_is_a_fault(monkeypatch):
    def hang(path: Path, what: str, **_: object) -> object:
        raise TimeoutError(f"the gateway at {path} runs, but does not answer: its disk may hang")

    monkeypatch.setattr(control, "ask", hang)
    finding, *found = doctor._ask(Gateway(socket=Path("/run/x")), Path("/etc/x.conf"))
    assert (finding.verdict, found) == (Verdict.BAD, [None, 0])
    assert "runs, but does not answer" in finding.found
    assert finding.cure == "look at the disk and the log, then sudo service oemgateway restart"


@pytest.mark.parametrize("trouble", ["hangs", "has no socket yet"])
def test_a_gateway_that_does_not_answer_has_its_ports_and_buses_all_the_same(tmp_path, trouble):
    # given a gateway that is stopped or is about to make its socket, with a port
    file, port = tmp_path / "oemgateway.conf", free_port()
    file.write_text(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        "[dispatchers]\n[[log]]\ntype = log\n"
    )
    file.chmod(0o600)
    with GatewayProcess(file) as running:
        process = running.process
        process.send_signal(signal.SIGSTOP)
        if trouble != "hangs":
            (tmp_path / "state" / "control").unlink()
        try:
            found = [str(each) for each in doctor.examine(file, Machine.below(Path("/")))]
        finally:
            process.send_signal(signal.SIGCONT)
    # then nothing else is a fault, such as its port
    (about,) = [each for each in found if " gateway: " in each]
    assert [each for each in found if each.startswith("FAULT")] == ([about] if trouble == "hangs" else [])
    assert ("runs, but does not answer" if trouble == "hangs" else "has the queue, and does not") in about
    assert about.endswith(f"sudo kill {process.pid}, and start it again")
    assert f"ok    state: the running gateway keeps it in {tmp_path / 'state'}" in found


def test_the_machine_of_this_process(monkeypatch):
    # given a machine on which the service is not installed
    monkeypatch.setattr("pwd.getpwnam", {}.__getitem__)
    here = Machine.below(Path("/"))
    assert (here.live, here.uid) == (True, os.geteuid())
    assert os.getegid() in here.gids
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    assert Machine.below(Path("/proc")).user == "4000000"


def test_a_finding_is_a_line():
    assert (
        str(Finding(Verdict.BAD, "it is off", "switch it on", "bridge"))
        == "FAULT bridge: it is off: switch it on"
    )
