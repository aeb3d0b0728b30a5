"""What a purge takes, by the package and by `make purge`, and whose name the gateway's user may have."""

from __future__ import annotations

import pytest

from tests.installed import ROOT, copy_sources
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.needs_root,
    pytest.mark.skipif(not (ROOT / "install.sh").exists(), reason="the sources are not here"),
]

SOURCES = "/usr/src/oemgateway"
CONFIG = "/etc/oemgateway.conf"
PURGE = {
    "package": ("sh", f"{SOURCES}/debian/oemgateway.postrm", "purge"),
    "sources": ("make", "-C", SOURCES, "purge"),
}
INSTALL = {
    "package": ("sh", f"{SOURCES}/debian/oemgateway.preinst", "install"),
    "sources": ("make", "-C", SOURCES, "PYTHON=/usr/bin/python3", "install"),
}
STATE, LOGS = "/var/lib/oemgateway", "/var/log/oemgateway"


@pytest.fixture(params=PURGE)
def way(request):
    """The name of a way to install and to purge."""
    return request.param


@pytest.fixture
def machine(machine):
    copy_sources(machine.path(SOURCES))
    return machine


def do(machine, *command):
    """Run a command there that is to succeed, and return what it said."""
    done = machine(*command)
    assert done.returncode == 0, done.stdout
    return done.stdout


def running(machine, program):
    """Return the ids of the processes of a program that the user runs, each with a line end."""
    return machine("pgrep", "-xu", "oemgateway", program).stdout


def run_something(machine):
    """Have a program run as the user, and return its id."""
    machine("sh", "-c", "runuser -u oemgateway -- sleep 600 </dev/null >/dev/null 2>&1 &")
    return wait_until(lambda: running(machine, "sleep"), what="it to run").strip()


def make_state(machine):
    """Make the directories and files of a gateway that has run."""
    do(machine, "mkdir", "-p", STATE, LOGS)
    for file in (f"{STATE}/queue.db", f"{LOGS}/oemgateway.log", CONFIG):
        machine.path(file).touch()


@pytest.mark.parametrize(
    "account",
    ["useradd --uid 4321 --create-home oemgateway", "groupadd --gid 4321 oemgateway"],
    ids=["login", "group"],
)
def test_where_the_name_is_a_persons_nothing_is_installed(machine, way, account):
    # given a user who may log in, or a group, that is called so
    do(machine, *account.split())
    accounts = machine("cat", "/etc/passwd", "/etc/group").stdout
    # when it is to be installed, then it says what to do, and has done nothing
    done = machine(*INSTALL[way])
    assert done.returncode != 0
    assert "a person's" in done.stdout
    assert "--login NAME oemgateway" in done.stdout
    assert machine("cat", "/etc/passwd", "/etc/group").stdout == accounts
    assert not machine.path(CONFIG).exists()
    assert not machine.path(STATE).exists()


@pytest.mark.parametrize(
    "account", ["--uid 4321 --create-home", "--system --uid 555 --home-dir /srv/own"], ids=["login", "system"]
)
def test_a_purge_leaves_a_user_that_was_there_before_and_what_runs_as_it(machine, way, account):
    # given a user of that name whom no installer of ours has made
    do(machine, "useradd", *account.split(), "oemgateway")
    make_state(machine)
    process = run_something(machine)
    # when all is purged
    said = do(machine, *PURGE[way])
    # then the user is there still, with what runs as it, and with nothing of the gateway's
    assert "oemgateway: the user oemgateway stays: it was there before" in said
    assert machine("getent", "passwd", "oemgateway").returncode == 0
    assert machine.path(f"/proc/{process}").exists()
    assert not machine.path(STATE).exists()


def test_a_purge_stops_the_gateway_of_a_user_that_was_there_before(machine, way):
    # given a gateway that could not be stopped, and another program of the user's
    do(machine, "useradd", "--system", "--uid", "555", "--home-dir", "/srv/own", "oemgateway")
    gateway = run_something(machine)
    machine.path("/run/oemgateway.pid").write_text(f"{gateway}\n")
    machine("sh", "-c", "runuser -u oemgateway -- tail -f /dev/null </dev/null >/dev/null 2>&1 &")
    wait_until(lambda: running(machine, "tail"), what="the other to run")
    do(machine, *PURGE[way])
    assert not machine.path(f"/proc/{gateway}").exists()
    assert running(machine, "tail")


@pytest.fixture
def mounted(machine):
    """Return a function that mounts an empty disk there."""

    def mount(place):
        do(machine, "mkdir", "-p", place)
        do(machine, "mount", "-t", "tmpfs", "a-disk", place)

    return mount


def test_a_disk_that_is_mounted_stays_without_what_was_on_it(machine, way, mounted):
    # given readings and logs on disks of their own, and settings that are mounted, as in a container
    for place in (STATE, LOGS):
        mounted(place)
    make_state(machine)
    machine.path(f"{STATE}/lost+found").mkdir()
    do(machine, "mount", "--bind", CONFIG, CONFIG)
    # when all is purged, once and again
    for _ in range(2):
        said = do(machine, *PURGE[way])
        # then it says what stays, and why
        for place in (STATE, LOGS):
            assert f"oemgateway: {place} stays, empty: a disk is mounted there\n" in said
        assert f"oemgateway: {CONFIG} stays: rm: cannot remove '{CONFIG}': Device or resource busy\n" in said
        # and nothing is on the disks
        assert do(machine, "find", STATE, LOGS, "-mindepth", "1") == ""


def test_what_cannot_be_removed_is_named_and_does_not_stop_the_rest(machine, way, mounted):
    # given a disk that is mounted below the readings
    make_state(machine)
    mounted(f"{STATE}/older")
    machine.path(f"{STATE}/older/queue.db").touch()
    said = do(machine, *PURGE[way])
    assert f"oemgateway: {STATE} stays: rm: cannot remove '{STATE}/older': Device or resource busy\n" in said
    assert do(machine, "find", STATE) == f"{STATE}\n{STATE}/older\n"
    assert not machine.path(LOGS).exists()


def test_the_program_may_be_on_a_disk_of_its_own(machine, mounted):
    # given a program that was installed where a disk is mounted
    mounted("/opt/oemgateway")
    machine.path("/opt/oemgateway/bin").mkdir()
    said = do(machine, "make", "-C", SOURCES, "uninstall")
    assert "oemgateway: /opt/oemgateway stays, empty: a disk is mounted there\n" in said
    assert do(machine, "find", "/opt/oemgateway") == "/opt/oemgateway\n"


def test_what_cannot_be_stopped_can_be_removed(machine):
    # given a service whose script fails, as with a fault in what it reads
    machine.path("/etc/init.d/oemgateway").write_text("#!/bin/sh\nexit 2\n")
    machine.path("/etc/init.d/oemgateway").chmod(0o755)
    said = do(machine, "sh", f"{SOURCES}/debian/oemgateway.prerm", "remove")
    assert "oemgateway: it could not be stopped; what is left of it: ps -u oemgateway\n" in said


def test_where_the_socket_is_a_disk_of_its_own_the_package_can_be_removed(machine, mounted):
    mounted("/run/oemgateway")
    said = do(machine, "sh", f"{SOURCES}/debian/oemgateway.postrm", "remove")
    assert "oemgateway: /run/oemgateway stays, empty: a disk is mounted there\n" in said
