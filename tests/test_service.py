"""The service: its init.d script on a machine that is thrown away, and its unit as systemd reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.gateway_process import run
from tests.peers import need
from tests.throwaway import Throwaway
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "etc" / "systemd" / "system" / "oemgateway.service"
DAEMON = "/usr/local/bin/oemgateway"
CONFIG = "/etc/oemgateway.conf"
STAND_IN = """\
#!/usr/bin/python3
import os, socket, sys, time
if sys.argv[1:] == ["check", "/etc/oemgateway.conf"]:
    text = open("/etc/oemgateway.conf").read()
    print(text)
    sys.exit(78 if "fault" in text else 0)
if "--show-settings" in sys.argv:
    sys.exit("--wrong is not understood" if "--wrong" in sys.argv else 0)
with open("/run/oemgateway/started", "a") as started:
    print(*sys.argv[1:], file=started)
END
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(600)
"""


class Service:
    """init.d/oemgateway on a machine, with a gateway that does as it is told."""

    def __init__(self, machine):
        self.machine = machine
        machine("useradd", "--system", "--user-group", "oemgateway")
        machine.copy(ROOT / "init.d" / "oemgateway", "/etc/init.d/oemgateway")
        self.configure("right")
        self.be("")

    def be(self, end):
        """Have the gateway do this before it says that it is ready."""
        daemon = self.machine.path(DAEMON)
        daemon.write_text(STAND_IN.replace("END", end))
        daemon.chmod(0o755)

    def configure(self, text, mode=0o644):
        self.machine.path(CONFIG).write_text(text)
        self.machine.path(CONFIG).chmod(mode)

    def default(self, text):
        self.machine.path("/etc/default/oemgateway").write_text(text)

    def __call__(self, action):
        """Run the action and return the exit status and what was said."""
        done = self.machine("service", "oemgateway", action)
        return done.returncode, done.stdout

    def pid(self):
        return int(self.machine.path("/run/oemgateway.pid").read_text())

    def started(self):
        """Return the arguments of each start."""
        return self.machine.path("/run/oemgateway/started").read_text().splitlines()


@pytest.fixture
def service(tmp_path):
    for program, package in (("start-stop-daemon", "dpkg"), ("service", "init-system-helpers")):
        need(program, package)
    with Throwaway(tmp_path) as machine:
        yield Service(machine)


@pytest.mark.needs_root
def test_it_says_how_it_is_used(service):
    usage = "Usage: /etc/init.d/oemgateway {start|stop|restart|try-restart|reload|force-reload|status}\n"
    assert service("nonsense") == (2, usage)


@pytest.mark.needs_root
def test_what_is_not_installed_or_not_configured_has_a_status_of_its_own(service):
    service.default("DAEMON_USER=nemo\n")
    assert service("start") == (6, "there is no user nemo ... failed!\n")
    service.default("CONFIG=/etc/other.conf\n")
    assert service("start") == (6, "/etc/other.conf is missing ... failed!\n")
    service.machine.path(DAEMON).unlink()
    assert service("start") == (5, "")
    assert service("stop") == (0, "")


@pytest.mark.needs_root
def test_a_gateway_whose_program_is_gone_can_be_stopped(service):
    service("start")
    running = service.pid()
    service.machine.path(DAEMON).unlink()
    assert service("stop") == (0, "Stopping: oemgateway.\n")
    assert not service.machine.path(f"/proc/{running}").exists()


@pytest.mark.needs_root
def test_a_user_that_does_not_exist_keeps_no_gateway_running(service):
    # given that a wrong user was set after the start
    service("start")
    running = service.pid()
    service.default("DAEMON_USER=nemo\n")
    assert service("status") == (0, "oemgateway is running.\n")
    # when it is stopped, as before its package is removed, then it stops
    assert service("stop") == (0, "Stopping: oemgateway.\n")
    assert not service.machine.path(f"/proc/{running}").exists()
    # and where there is no user at all, nothing runs, and that is no failure
    service.machine("userdel", "oemgateway")
    assert service("status") == (3, "oemgateway is not running ... failed!\n")
    assert service("stop") == (0, "Stopping: oemgateway.\n")


@pytest.mark.needs_root
def test_only_root_may_change_anything_and_everybody_may_ask(service):
    service("start")
    running = service.pid()
    for action in ("start", "stop", "restart", "try-restart", "reload", "force-reload"):
        done = service.machine("runuser", "-u", "games", "--", "/etc/init.d/oemgateway", action)
        words = f"root is needed: sudo service oemgateway {action} ... failed!\n"
        assert (done.returncode, done.stdout) == (4, words)
    done = service.machine("runuser", "-u", "games", "--", "/etc/init.d/oemgateway", "status")
    assert (done.returncode, done.stdout) == (0, "oemgateway is running.\n")
    assert service.pid() == running


@pytest.mark.needs_root
def test_it_starts_once_and_stops_twice(service):
    assert service("status") == (3, "oemgateway is not running ... failed!\n")
    assert service("stop")[0] == 0
    assert service("try-restart") == (0, "")
    assert service("reload")[0] == 7

    service.default("DAEMON_ARGS='--one --two'\n")
    for _ in range(2):
        assert service("start") == (0, "Starting: oemgateway.\n")
    (arguments,) = service.started()
    log = "/var/log/oemgateway/oemgateway.log"
    assert arguments == f"--config-file {CONFIG} --logfile {log} --one --two"
    assert service("status") == (0, "oemgateway is running.\n")
    assert (
        service.machine("stat", "-c", "%U %G", f"/proc/{service.pid()}").stdout == "oemgateway oemgateway\n"
    )

    first = service.pid()
    for action in ("restart", "try-restart"):
        assert service(action)[0] == 0
        assert service.pid() != first
    for _ in range(2):
        assert service("stop")[0] == 0
        assert service("status")[0] == 3


@pytest.mark.needs_root
def test_the_line_ends_of_windows_belong_to_no_setting(service):
    service.default("# how it starts\r\n\r\nDAEMON_USER=oemgateway\r\nDAEMON_ARGS='--one --two'\r\n")
    assert service("start") == (0, "Starting: oemgateway.\n")
    assert service.started()[0].endswith(".log --one --two")


@pytest.mark.needs_root
@pytest.mark.parametrize("action", ["start", "restart"])
def test_of_two_at_once_the_second_waits_for_the_first(service, action):
    # given a start that is not over when the second begins
    service.be("time.sleep(1)")
    both = f"service oemgateway {action} & first=$!; sleep 0.3; service oemgateway {action}; wait $first"
    done = service.machine("sh", "-c", both)
    assert "failed" not in done.stdout

    # then one gateway runs, which the script knows
    running = service.machine("pgrep", "--uid", "oemgateway").stdout.split()
    assert running == [str(service.pid())]
    assert len(service.started()) == (1 if action == "start" else 2)


@pytest.mark.needs_root
def test_what_root_or_another_gateway_has_left_is_given_to_the_user(service):
    # given the files of a gateway that root has run in the foreground, and the log of another user's
    machine = service.machine
    machine(
        "sh",
        "-c",
        """
        mkdir /run/oemgateway /var/lib/oemgateway /var/log/oemgateway /var/lib/oemgateway/deep
        touch /run/oemgateway/started /var/lib/oemgateway/deep/file /etc/elsewhere
        ln -s /etc/elsewhere /var/lib/oemgateway/link
        ln /etc/elsewhere /var/lib/oemgateway/twice
        (umask 077; touch /var/lib/oemgateway/queue.db)
        (umask 027; touch /var/log/oemgateway/oemgateway.log /var/log/oemgateway/oemgateway.log.1)
        chown -R games:games /var/log/oemgateway
        chmod 0750 /var/log/oemgateway
        """,
    )
    assert service("start")[0] == 0
    owners = machine(
        "stat",
        "--format=%n %U %G %a",
        "/run/oemgateway",
        "/run/oemgateway/started",
        "/var/lib/oemgateway",
        "/var/lib/oemgateway/queue.db",
        "/var/log/oemgateway",
        "/var/log/oemgateway/oemgateway.log",
        "/var/log/oemgateway/oemgateway.log.1",
        "/var/lib/oemgateway/deep/file",
        "/etc/elsewhere",
    )
    assert owners.stdout.splitlines() == [
        "/run/oemgateway oemgateway oemgateway 755",
        "/run/oemgateway/started oemgateway oemgateway 644",
        "/var/lib/oemgateway oemgateway oemgateway 750",
        "/var/lib/oemgateway/queue.db oemgateway oemgateway 600",
        "/var/log/oemgateway oemgateway adm 2750",
        "/var/log/oemgateway/oemgateway.log oemgateway adm 640",
        "/var/log/oemgateway/oemgateway.log.1 oemgateway adm 640",
        "/var/lib/oemgateway/deep/file root root 644",
        "/etc/elsewhere root root 644",
    ]

    # when its owner lets others read the log, that stays so
    machine("chmod", "0755", "/var/log/oemgateway")
    assert service("restart")[0] == 0
    assert machine("stat", "--format=%a", "/var/log/oemgateway").stdout == "2755\n"


@pytest.mark.needs_root
def test_a_log_that_cannot_be_written_is_named_and_takes_nothing_down(service):
    service("start")
    running = service.pid()
    service.default("LOGFILE=/var/log/gateway.log\n")
    for action in ("start", "restart", "try-restart"):
        status, said = service(action)
        assert status == 6
        assert (
            "the user oemgateway cannot write the log (/var/log/gateway.log: Permission denied): chown it,"
            in said
        )
    assert service.pid() == running
    assert service("status")[0] == 0
    # a directory of others stays theirs
    assert service.machine("stat", "--format=%U", "/var/log").stdout == "root\n"

    service.machine("install", "-o", "oemgateway", "/dev/null", "/var/log/gateway.log")
    assert service("restart")[0] == 0
    assert service.started()[-1].endswith(" --logfile /var/log/gateway.log")


@pytest.mark.needs_root
def test_a_file_with_a_fault_or_that_only_root_may_read_changes_nothing(service):
    service("start")
    running = service.pid()
    for text, mode, said in (("a fault", 0o644, "a fault\n"), ("right", 0o600, "Permission denied")):
        service.configure(text, mode)
        for action in ("start", "restart", "try-restart", "reload", "force-reload"):
            status, output = service(action)
            assert (status, said in output) == (6, True)
            assert f"oemgateway: nothing was done; correct {CONFIG} first" in output
    assert service.pid() == running
    assert service("status")[0] == 0
    assert service("stop")[0] == 0


@pytest.mark.needs_root
def test_wrong_arguments_in_the_defaults_are_named_and_change_nothing(service):
    service("start")
    running = service.pid()
    service.default("DAEMON_ARGS='--two --wrong'\n")
    for action in ("start", "restart", "try-restart"):
        status, said = service(action)
        assert (status, said.splitlines()[0]) == (6, "--wrong is not understood")
        assert "oemgateway: nothing was done; correct DAEMON_ARGS in /etc/default/oemgateway first" in said
    assert service.pid() == running
    # what runs does not have them yet
    assert service("reload")[0] == 0


@pytest.mark.needs_root
def test_a_reload_hangs_up(service):
    service.be("import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)")
    service("start")
    running = service.pid()
    assert service("reload")[0] == 0
    # It is what the stand-in ends of.
    wait_until(lambda: not service.machine.path(f"/proc/{running}").exists(), what="the signal")


@pytest.mark.needs_root
def test_a_reload_before_the_program_has_begun_does_not_end_it(service):
    service.be("os.kill(os.getpid(), 1)")
    assert service("start") == (0, "Starting: oemgateway.\n")


@pytest.mark.needs_root
def test_one_that_was_killed_is_told_from_one_that_was_stopped(service):
    for again in ("start", "restart"):
        service("start")
        service.machine("kill", "-9", service.pid())
        wait_until(lambda: service("status")[0] == 1, what="the end")
        assert "it has been killed" in service("status")[1]
        assert service("reload")[0] == 7
        assert service("try-restart")[0] == 0
        assert service("status")[0] == 1
        assert service(again)[0] == 0
        assert service("status")[0] == 0


@pytest.mark.needs_root
def test_a_stranger_that_has_the_number_of_one_that_was_killed_is_let_alone(service):
    # given that the pid file names a process of somebody else
    service.machine.path("/run/oemgateway.pid").write_text("1\n")
    assert service("status")[0] != 0
    assert service("stop")[0] == 0
    assert service.machine.path("/proc/1").exists()
    assert service("start")[0] == 0


@pytest.mark.needs_root
def test_a_gateway_that_ends_before_it_is_ready_has_not_started(service):
    # it is not waited for: that would take longer than a test may
    service.default("START_TIMEOUT=500\n")
    service.be("sys.exit(1)")
    status, said = service("start")
    assert status == 1
    assert "oemgateway has not become ready; the end of /var/log/oemgateway/oemgateway.log says why" in said
    assert service("status")[0] == 3


@pytest.mark.needs_root
def test_one_that_is_slow_to_become_the_users_is_waited_for(service):
    # given a machine so busy that there is a pid file a second before the process has changed its user
    service.machine("mv", "/sbin/start-stop-daemon", "/sbin/start-stop-daemon.real")
    slow = service.machine.path("/sbin/start-stop-daemon")
    slow.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "    --start*) echo $$ >/run/oemgateway.pid; sleep 1; rm /run/oemgateway.pid ;;\n"
        "esac\n"
        'exec /sbin/start-stop-daemon.real "$@"\n'
    )
    slow.chmod(0o755)
    assert service("start") == (0, "Starting: oemgateway.\n")
    assert service("status")[0] == 0


@pytest.mark.needs_root
def test_a_gateway_that_does_not_become_ready_is_stopped(service):
    service.default("START_TIMEOUT=1\n")
    service.be("time.sleep(600)")
    assert service("start")[0] == 1
    assert service("status")[0] == 3
    assert service.machine("pgrep", "-u", "oemgateway").stdout == ""


@pytest.mark.needs_root
def test_udev_reads_its_rules_without_a_word(service):
    rules = "/etc/udev/rules.d/60-oemgateway.rules"
    udevadm = need("udevadm", "udev")
    service.machine("mkdir", "-p", "/etc/udev/rules.d")
    service.machine.copy(ROOT / rules[1:], rules)
    done = service.machine(udevadm, "test", "--action=add", "/sys/devices/virtual/mem/null")
    assert [line for line in done.stdout.splitlines() if rules in line] == [f"Reading rules file: {rules}"]


@pytest.fixture
def unit(tmp_path):
    """The unit, of a command that is there."""
    unit = tmp_path / "oemgateway.service"
    unit.write_text(UNIT.read_text().replace("=oemgateway ", "=true "))
    return unit


def test_the_unit_is_sound(unit):
    done = run(need("systemd-analyze", "systemd"), "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_lets_the_gateway_touch_little(unit):
    analyze = need("systemd-analyze", "systemd")
    done = run(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


def test_the_unit_lets_the_gateway_ask_whether_the_clock_is_kept_right(unit):
    done = run(need("systemd-analyze", "systemd"), "security", "--offline=true", "--json=short", unit)
    said = {about["json_field"]: about for about in json.loads(done.stdout)}
    assert "adjtimex is allowed" in said["SystemCallFilter_clock"]["description"]
    assert not said["ProtectClock"]["set"]
    # and it may not set it
    assert said["CapabilityBoundingSet_CAP_SYS_TIME"]["set"]


def test_the_unit_and_the_defaults_agree_with_the_script():
    script = (ROOT / "init.d" / "oemgateway").read_text()
    set_there = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", script.partition("This file may set")[0]))
    offered = dict(
        re.findall(r"(?m)^#([A-Z_]+)=(.*)$", (ROOT / "etc" / "default" / "oemgateway").read_text())
    )
    assert offered.items() <= set_there.items()
    unit = UNIT.read_text()
    assert f"ExecStart={Path(set_there['DAEMON']).name} " in unit
    (environment,) = re.findall(r"(?m)^Environment=(.*)$", unit)
    assert dict(word.split("=") for word in environment.split()) == {
        # Each of them is there: systemd has a warning at each start for one that is not.
        name: set_there[name]
        for name in re.findall(r"\$\{?([A-Z_]+)", " ".join(re.findall(r"(?m)^Exec\w+=(.*)$", unit)))
        if name != "MAINPID"
    }
    assert f"User={set_there['DAEMON_USER']}\n" in unit
