"""`make install` and the Debian package, from nothing to nothing, on a machine that is thrown away."""

from __future__ import annotations

import http.server
import os
import re
import ssl
import subprocess
import threading
import time

import pytest

from tests.certificates import make_certificate
from tests.gateway_process import run
from tests.installed import (
    CONFIG,
    PREFIX,
    PROGRAM,
    ROOT,
    FromSources,
    Installed,
    copy_sources,
)
from tests.peers import PIP, missing, need
from tests.ports import free_port
from tests.waiting import wait_until

MAINTAINER = ("preinst", "postinst", "prerm", "postrm")
ROTATION = "/etc/logrotate.d/oemgateway"
STATE = "/var/lib/oemgateway"
SETTINGS = """\
[gateway]
    simulate = yes

[listeners]

[[bridge]]
    type = ds2482
    bus = simulated
    node = 9
    interval = 1
    sensor1 = 28.33F749050000

[dispatchers]

[[emoncms]]
    type = emoncms
    url = http://127.0.0.1:9
    apikey = 0123456789abcdef0123456789abcdef
"""
# As of 2013: the daemon of a user pi, with a log of its own.
ANCESTOR = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          oemgateway
# Required-Start:    $remote_fs $syslog
# Required-Stop:     $remote_fs $syslog
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: The gateway of before
### END INIT INFO
case $1 in
    start) start-stop-daemon --start --quiet --background --make-pidfile --pidfile /run/oemgateway.pid \\
        --chuid pi --startas /bin/sleep -- 600 ;;
    stop) start-stop-daemon --stop --quiet --retry=INT/30/KILL/5 --pidfile /run/oemgateway.pid ;;
esac
"""
ACCOUNTS = re.compile(r"/etc/(passwd|shadow|group|gshadow|subuid|subgid)-? ")
UNGUARDED = "holds the key, and it cannot be set who may read it (FAT, as of /boot/firmware, keeps no owners)"
GUARDED = "holds the key: from now on only root and the group oemgateway may read it"
FAULTY = SETTINGS.replace("interval = 1", "interval = often")
FAULT = f"{CONFIG}:10: interval: "

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (ROOT / "install.sh").exists(), reason="the sources are not here"),
]


@pytest.mark.parametrize("script", ["install.sh", *(f"debian/oemgateway.{name}" for name in MAINTAINER)])
def test_shellcheck_has_nothing_to_say(script):
    done = run(need("shellcheck", "shellcheck"), ROOT / script)
    assert (done.returncode, done.stdout) == (0, "")


def fetch_from(url, folder):
    """Run `install.sh fetch` with a pip that is to fetch a package from there."""
    pip = [*PIP, "--isolated", "--retries", "0", "--disable-pip-version-check"]
    return run(ROOT / "install.sh", "fetch", *pip, "download", "--dest", folder, "--index-url", url, "wheel")


def test_where_the_clock_is_wrong_setting_up_says_so_and_what_it_shows(tmp_path):
    # given a server of packages with a certificate that is not valid, as none is by a clock of 1970
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as index:
        index.socket = context.wrap_socket(index.socket, server_side=True)
        serving = threading.Thread(target=index.serve_forever)
        serving.start()
        # when packages are to be fetched from it
        done = fetch_from(f"https://localhost:{index.server_port}/", tmp_path)
        index.shutdown()
        serving.join()
    # then it is one line, which names the clock
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "the certificate of their server was refused" in done.stderr
    assert f"clock shows {time.strftime('%-d %B %Y')}, " in done.stderr
    assert "sudo date -s '2026-01-31 18:30'), then run make again" in done.stderr


def test_without_a_network_setting_up_says_so_in_a_few_lines(tmp_path):
    done = fetch_from(f"http://127.0.0.1:{free_port()}/", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *errors, cure = done.stderr.splitlines()
    assert cure == (
        "oemgateway: packages could not be fetched: connect to the network once, then run make again"
    )
    assert errors
    assert all(line.startswith("ERROR: ") for line in errors)


def set_version(place, version, config=None):
    """Make these sources those of another version, which ships a configuration with one line more."""
    file = place / "gateway" / "version.py"
    file.write_text(re.sub(r'(?m)^VERSION = ".*"$', f'VERSION = "{version}"', file.read_text()))
    with (config or place / "etc" / "oemgateway.conf").open("a") as shipped:
        shipped.write(f"# {version} has one line more.\n")


def everything(machine):
    """Return all files that installing could have to do with: of what kind, whose, how large and how old."""
    places = (
        "/etc /home /opt /run /usr/bin /usr/local /usr/share/oemgateway /lib/systemd/system /var/lib /var/log"
    )
    notes = ("*/__pycache__", "/var/lib/dpkg", "/var/lib/ucf", "/var/log/dpkg.log", "/run/adduser")
    notes += ("/run/.s-s-d-notify.*",)  # of a start that was given up
    pruned = " ".join(f"-path '{note}' -prune -o" for note in notes)
    done = machine(
        "sh", "-c", f"find {places} {pruned} -printf '%p %y %m %u %g %l %s %T@\\n' 2>/dev/null | sort"
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if not ACCOUNTS.match(line))


def unlike(before, after):
    """Return the paths that are not as they were: added, changed or gone, directories' times aside."""

    def settled(line):
        return line.rsplit(" ", 2)[0] if line.startswith("d ") else line

    return {
        path
        for path in before.keys() | after.keys()
        if settled(before.get(path, "")) != settled(after.get(path, ""))
    }


def listening(machine, pid):
    """Return the ports that a process listens on or has bound."""
    sockets = {
        str(entry.readlink()) for entry in machine.path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()
    }
    ports = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in machine.path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if f"socket:[{columns[9]}]" in sockets and (columns[3] == "0A" or table.startswith("udp")):
                ports.add(int(columns[1].rpartition(":")[2], 16))
    return ports


def run_ancestor(machine):
    """Have oem_gateway run, started with the machine, and return the id of its process."""
    script = machine.path("/etc/init.d/oemgateway")
    script.write_text(ANCESTOR)
    script.chmod(0o755)
    machine(
        "sh",
        "-c",
        """
        groupadd emoncms
        useradd pi
        install -d -o pi -g emoncms -m 0750 /var/log/oemgateway
        install -o pi -g emoncms -m 0644 /dev/null /var/log/oemgateway/oemgateway.log
        """,
    )
    assert machine("update-rc.d", "oemgateway", "defaults").returncode == 0
    assert machine("service", "oemgateway", "start").returncode == 0
    pid = machine.path("/run/oemgateway.pid")
    wait_until(lambda: pid.exists() and pid.read_text(), what="the gateway of before")
    return int(pid.read_text())


@pytest.mark.needs_root
def test_the_life_of_the_service_from_make_install_to_make_purge(machine):  # noqa: PLR0915  (as lives are)
    before = everything(machine)
    gateway = FromSources(machine)
    set_version(gateway.folder, "0.0.8")
    # As an earlier version left it, where it had other members.
    assert machine("groupadd", "--system", "oemgateway").returncode == 0

    # When it is installed for the first time, it is enabled, and says that its file has to be filled in.
    said = gateway.make("install")
    assert said == (
        "oemgateway: 0.0.8 is installed\n"
        "oemgateway: next: sudo oemgateway setup\n"
        f"oemgateway: or edit {CONFIG} (three lines, marked <--), then: sudo service oemgateway start\n"
    )
    there = everything(machine)
    assert there[CONFIG].startswith("f 640 root oemgateway ")
    assert there[STATE].startswith("d 750 oemgateway oemgateway ")
    assert there["/var/log/oemgateway"].startswith("d 2750 oemgateway adm ")
    assert "/etc/rc2.d/S01oemgateway" in there
    assert "/etc/systemd/system/oemgateway.service" not in there
    assert machine("id", "-nG", "oemgateway").stdout.split()[:2] == ["oemgateway", "dialout"]
    assert "nologin" in machine("getent", "passwd", "oemgateway").stdout
    assert gateway.version() == "0.0.8"

    # The Debian package is refused beside it.
    refused = machine("sh", "/usr/src/oemgateway/debian/oemgateway.preinst", "install")
    assert (refused.returncode, f"installed in {PREFIX} already" in refused.stdout) == (1, True)

    # It does not start before that, and says why.
    status, said = gateway.service("start")
    assert (status, "apikey" in said) == (6, True)
    assert gateway.service("status")[0] == 3

    # When it is installed once more, nothing changes.
    there = everything(machine)
    assert gateway.make("install") == "oemgateway: nothing to do: it is installed as it is here\n"
    assert unlike(there, everything(machine)) == set()

    # When its file is right, it starts, as a user of its own that listens nowhere.
    gateway.edit(SETTINGS)
    assert gateway.service("start")[0] == 0
    assert gateway.service("status")[0] == 0
    running = gateway.pid()
    assert machine("stat", "-c", "%U %G", f"/proc/{running}").stdout == "oemgateway oemgateway\n"
    assert listening(machine, running) == set()
    gateway.wait_for_readings()
    asked = machine("runuser", "-u", "nobody", "--", "oemgateway", "status")
    assert (asked.returncode, "this user may not ask it: sudo" in asked.stdout) == (4, True)

    # An edit is taken over by a reload, one with a fault by nothing.
    gateway.edit(SETTINGS.replace("node = 9", "node = 10"))
    assert gateway.service("reload")[0] == 0
    wait_until(
        lambda: any('"node": "10"' in line for line in gateway.waiting()), 20, "the edit to take effect"
    )
    gateway.edit(FAULTY)
    status, said = gateway.service("restart")
    assert (status, FAULT in said) == (6, True)
    assert gateway.service("status")[0] == 0
    assert gateway.pid() == running

    # What is new leaves what runs alone as long as the file has a fault.
    with (gateway.folder / "init.d" / "oemgateway").open("a") as script:
        script.write("# The next version.\n")
    said = gateway.make("install")
    assert FAULT in said
    assert said.endswith(f"oemgateway: correct {CONFIG}, then: sudo service oemgateway restart\n")
    assert gateway.pid() == running

    # An upgrade restarts what runs, and keeps the settings and all that waits.
    gateway.edit(SETTINGS)
    waiting = gateway.wait_for_readings()
    set_version(gateway.folder, "0.1.0")
    said = gateway.make("install")
    assert f"oemgateway: {CONFIG} is kept; what is new is in {CONFIG}.new\n" in said
    assert gateway.pid() != running
    assert gateway.version() == "0.1.0"
    assert machine.path(CONFIG).read_text() == SETTINGS
    assert machine.path(f"{CONFIG}.new").read_text().endswith("# 0.1.0 has one line more.\n")
    assert gateway.waiting()[: len(waiting)] == waiting

    # The log is rotated, and goes on in the new file.
    rotated = machine(need("logrotate", "logrotate"), "--force", "--state", "/tmp/rotated", ROTATION)
    assert (rotated.returncode, rotated.stdout) == (0, "")
    gateway.edit(SETTINGS.replace("node = 9", "node = 11"))
    assert gateway.service("reload")[0] == 0
    wait_until(lambda: "bridge" in gateway.log(), what="a line in the new log")
    logs = machine("sh", "-c", "stat -c '%n %U %G %a' /var/log/oemgateway/*").stdout
    assert logs.splitlines() == [
        f"/var/log/oemgateway/oemgateway.log{suffix} oemgateway adm 640" for suffix in ("", ".1")
    ]

    # A configuration that all may read, or root alone, is put right; what else its owner has chosen stays.
    for mode, owner, guarded in (
        ("0644", "root:oemgateway", True),
        ("0600", "root:root", True),
        ("0600", "oemgateway:root", False),
    ):
        machine("sh", "-c", f"chmod {mode} {CONFIG}; chown {owner} {CONFIG}")
        assert (f"oemgateway: {CONFIG} {GUARDED}\n" in gateway.make("install")) is guarded
        found = machine("stat", "-c", "%a %U:%G", CONFIG).stdout
        assert found == ("640 root:oemgateway\n" if guarded else f"{mode[1:]} {owner}\n")

    # A command that is gone comes back, and what is stopped stays stopped.
    assert gateway.service("stop")[0] == 0
    machine("rm", "/usr/local/bin/oemgateway")
    gateway.make("install")
    assert gateway.version() == "0.1.0"
    assert gateway.service("status")[0] == 3

    # A program that is gone comes back, and runs.
    machine(
        "sh",
        "-c",
        f"rm -r {PREFIX}/source {PREFIX}/bin/oemgateway {PREFIX}/lib/python3*/site-packages/gateway",
    )
    assert "oemgateway: 0.1.0 is installed\n" in gateway.make("install")
    assert gateway.service("status")[0] == 0

    # When Debian replaces its Python by another version, it goes on, and is installed anew by the next make.
    minor = int(machine("/usr/bin/python3", "-c", "import sys; print(sys.version_info[1])").stdout)
    library = machine.path(f"{PREFIX}/lib")
    assert str((library / f"python3.{minor + 1}").readlink()) == f"python3.{minor}"
    machine("sh", "-c", f"cd {PREFIX}/lib && mv python3.{minor} before && ln -s before python3.{minor}")
    assert gateway.service("restart")[0] == 0
    # Where nothing can be fetched, what there is stays.
    offline = machine(
        *("env", "PIP_INDEX_URL=http://127.0.0.1:9/", "PIP_RETRIES=0", "make", "-C", "/usr/src/oemgateway"),
        *("PYTHON=/usr/bin/python3", "install"),
    )
    assert "connect to the network once, then make install again" in offline.stdout
    assert not machine.path(f"{PREFIX}.new").exists()
    assert gateway.service("restart")[0] == 0
    # Whoever has moved it to another disk keeps it there.
    machine("sh", "-c", f"mv {PREFIX} /srv && ln -s /srv/oemgateway {PREFIX}")
    assert "oemgateway: 0.1.0 is installed\n" in gateway.make("install")
    assert str(machine.path(PREFIX).readlink()) == "/srv/oemgateway"
    library = machine.path("/srv/oemgateway/lib")
    assert not (library / f"python3.{minor}").is_symlink()
    assert not machine.path("/srv/oemgateway/before").exists()
    assert gateway.service("status")[0] == 0
    assert machine("grep", "-rlI", "/oemgateway.new", "/srv/oemgateway").stdout == ""

    # Nobody but root removes it.
    refused = machine("runuser", "-u", "nobody", "--", "make", "-C", "/usr/src/oemgateway", "uninstall")
    assert (refused.returncode, "root is needed: sudo make uninstall" in refused.stdout) == (2, True)

    # Removed, it leaves settings and readings, whether or not its program is there ...
    running = gateway.pid()
    machine("rm", "-r", "/srv/oemgateway")
    said = gateway.make("uninstall")
    assert f"kept are {CONFIG}, {STATE}" in said
    assert not machine.path(f"/proc/{running}").exists()
    there = everything(machine)
    assert not [
        path for path in there if path.startswith((PREFIX, "/usr/local/bin/oem", "/etc/rc2.d/S01oem"))
    ]
    assert {CONFIG, f"{STATE}/queue.db", "/etc/default/oemgateway"} <= set(there)

    # ... and after a purge nothing, whatever its user has started by hand, and who else is in its group.
    assert machine("usermod", "-aG", "oemgateway", "root").returncode == 0
    machine("sh", "-c", "runuser -u oemgateway -- sleep 600 </dev/null >/dev/null 2>&1 &")
    wait_until(lambda: machine("pgrep", "-u", "oemgateway").stdout, what="what was started by hand")
    gateway.make("purge")
    assert unlike(before, everything(machine)) == set()
    assert machine("getent", "passwd", "oemgateway").stdout == ""
    assert machine("getent", "group", "oemgateway").stdout == ""


@pytest.fixture
def older(tmp_path):
    """The sources of the first commit with an installer, or of HEAD^ where the history is cut short."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")

    def git(*arguments):
        command = [need("git", "git"), "-c", "safe.directory=*", "-C", ROOT, *arguments]
        return subprocess.run(command, capture_output=True, check=False)

    added = git("log", "--diff-filter=A", "--format=%H", "HEAD^", "--", "install.sh")
    archive = git("archive", added.stdout.decode().strip().rpartition("\n")[2] or "HEAD^")
    if archive.returncode != 0:
        pytest.skip("no sources of an older commit: this is a shallow clone")
    folder = tmp_path / "older"
    folder.mkdir()
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive.stdout, check=True)
    return folder


@pytest.mark.needs_root
def test_an_upgrade_from_an_older_commit_keeps_all_that_waits(machine, program, older):
    # Given the gateway of then, with readings that wait
    gateway = FromSources(machine, program)
    machine("mv", "/usr/src/oemgateway", "/usr/src/newer")
    machine.copy(older, "/usr/src/oemgateway")
    set_version(gateway.folder, "0.0.1")
    gateway.make("install")
    gateway.edit(SETTINGS)
    assert gateway.service("start")[0] == 0
    waiting = gateway.wait_for_readings()
    assert gateway.version() == "0.0.1"
    then = gateway.pid()
    indices = machine.path(f"{STATE}/indices.json").read_text()

    # When today's is installed, it runs, and they wait still, in their order, at their indices.
    machine("sh", "-c", "rm -r /usr/src/oemgateway; mv /usr/src/newer /usr/src/oemgateway")
    gateway.make("install")
    assert gateway.version() == "0.1.0"
    assert gateway.service("status")[0] == 0
    assert gateway.pid() != then
    assert not machine.path(f"/proc/{then}").exists()
    assert machine.path(CONFIG).read_text() == SETTINGS
    assert gateway.waiting()[: len(waiting)] == waiting
    assert machine.path(f"{STATE}/indices.json").read_text() == indices
    wait_until(lambda: len(gateway.waiting()) > len(waiting), 20, "a new reading to wait behind them")


@pytest.mark.needs_root
def test_a_gateway_of_the_same_name_is_stopped_and_its_script_kept(machine, program):
    # Given oem_gateway, and its configuration where ours has its own
    gateway = FromSources(machine, program)
    ancestor = run_ancestor(machine)
    gateway.edit(SETTINGS)
    script = machine.path("/etc/init.d/oemgateway")

    # When it cannot be stopped, it stays what it is.
    script.write_text(ANCESTOR.replace("--stop", "--status"))
    status, said = gateway.attempt("install")
    assert status != 0
    assert f"the gateway that /etc/init.d/oemgateway starts still runs (process {ancestor}): stop it" in said
    assert "of before" in script.read_text()

    # When it can, ours runs in its place, with a log that goes on, and the key is for nobody else.
    script.write_text(ANCESTOR)
    machine("sh", "-c", f"chmod 0644 {CONFIG}; chown pi:pi {CONFIG}")
    said = gateway.make("install")
    assert (
        "oemgateway: /etc/init.d/oemgateway was another gateway's: "
        "that one is stopped, and the file is now /etc/oemgateway.init.old\n"
    ) in said
    assert not machine.path(f"/proc/{ancestor}").exists()
    assert machine.path("/etc/oemgateway.init.old").read_text() == ANCESTOR
    assert script.read_text() == (ROOT / "init.d" / "oemgateway").read_text()
    assert gateway.service("status")[0] == 0
    gateway.wait_for_readings()
    there = everything(machine)
    assert f"oemgateway: {CONFIG} {GUARDED}\n" in said
    assert there[CONFIG].startswith("f 640 root oemgateway ")
    # Nor is that of a file which was filled in where the sources are.
    assert there[f"{PREFIX}/source/etc/oemgateway.conf"].startswith("f 640 root root ")
    assert there["/var/log/oemgateway"].startswith("d 2750 oemgateway adm ")
    assert there["/var/log/oemgateway/oemgateway.log"].startswith("f 644 oemgateway adm ")
    assert "/etc/rc2.d/S01oemgateway" in there
    assert gateway.make("install") == "oemgateway: nothing to do: it is installed as it is here\n"

    # What was kept is its owner's, and a script that is not ours is not removed.
    assert gateway.service("stop")[0] == 0
    script.write_text(ANCESTOR)
    gateway.make("purge")
    assert script.read_text() == machine.path("/etc/oemgateway.init.old").read_text() == ANCESTOR


@pytest.mark.needs_root
def test_what_a_removed_package_has_left_neither_stops_nor_takes_the_installed_gateway(machine, program):
    # given a package that was removed: its script may not be run
    gateway = FromSources(machine, program)
    script = machine.path("/etc/init.d/oemgateway")
    script.write_bytes((ROOT / "init.d" / "oemgateway").read_bytes())
    script.chmod(0o644)
    gateway.edit(SETTINGS)
    # when it is installed from sources, then it runs
    gateway.make("install")
    assert gateway.service("start")[0] == 0
    waiting = gateway.wait_for_readings()
    # when the rest of the package is purged, then settings and readings stay
    done = machine("sh", "/usr/src/oemgateway/debian/oemgateway.postrm", "purge")
    assert "settings and readings stay" in done.stdout
    assert machine.path(CONFIG).read_text() == SETTINGS
    assert gateway.waiting()[: len(waiting)] == waiting


def put_on_a_disk_without_owners(machine):
    """Put the settings where root may set neither owner nor mode, as on a FAT."""
    machine.path("/srv/oemgateway.conf").write_text(SETTINGS)
    machine("ln", "-s", "/srv/oemgateway.conf", CONFIG)
    machine("chmod", "0755", "/srv/oemgateway.conf")
    assert machine("chattr", "+i", "/srv/oemgateway.conf").returncode == 0


@pytest.mark.needs_root
def test_a_file_that_cannot_be_guarded_does_not_stop_make_install(machine, program):
    # given settings that are linked to a disk that keeps no owners
    put_on_a_disk_without_owners(machine)
    gateway = FromSources(machine, program)
    # when it is installed, then it says so, and runs
    said = gateway.make("install")
    assert f"oemgateway: {CONFIG} {UNGUARDED}: better have the file itself in /etc\n" in said
    assert GUARDED not in said
    assert gateway.service("status")[0] == 0


@pytest.mark.needs_root
def test_setup_starts_the_service_wherever_the_file_is_that_it_reads(machine, program):
    # given settings that are linked to another place, and a service that does not run
    machine.path("/srv/oemgateway.conf").write_text(SETTINGS)
    machine("ln", "-s", "/srv/oemgateway.conf", CONFIG)
    gateway = FromSources(machine, program)
    gateway.make("install")
    gateway.service("stop")
    # when setup has nothing to add, then it starts it all the same
    done = machine("oemgateway", "setup", "--yes", "--to", "page")
    assert "No service is installed" not in done.stdout
    assert gateway.service("status")[0] == 0, done.stdout
    # when the defaults name that other place, then setup starts it by that name too
    gateway.service("stop")
    machine("rm", CONFIG)
    machine.path("/etc/default/oemgateway").write_text("CONFIG='/srv/oemgateway.conf' # moved\n")
    done = machine("oemgateway", "--config-file", "/srv/oemgateway.conf", "setup", "--yes", "--to", "page")
    assert "No service is installed" not in done.stdout
    assert gateway.service("status")[0] == 0, done.stdout


@pytest.mark.needs_root
def test_the_settings_that_the_defaults_name_decide_whether_make_install_starts_it(machine, program):
    # given settings elsewhere, and defaults that name them, as Windows ends its lines
    machine.path("/etc/my.conf").write_text(SETTINGS)
    machine.path("/etc/default/oemgateway").write_text('CONFIG="/etc/my.conf"\r\n')
    gateway = FromSources(machine, program)
    # when it is installed, then it runs
    gateway.make("install")
    assert gateway.service("status")[0] == 0
    running = gateway.pid()
    # when what is new comes with settings that are faulty, then they are named, and it runs on
    with (gateway.folder / "init.d" / "oemgateway").open("a") as script:
        script.write("# The next version.\n")
    machine.path("/etc/my.conf").write_text(FAULTY)
    said = gateway.make("install")
    assert "/etc/my.conf:10: interval: " in said
    assert said.endswith("oemgateway: correct /etc/my.conf, then: sudo service oemgateway restart\n")
    assert gateway.pid() == running
    # when they are those that are shipped, then the next step names them
    machine.copy(ROOT / "etc" / "oemgateway.conf", "/etc/my.conf")
    machine("rm", "/etc/init.d/oemgateway")
    said = gateway.make("install")
    assert "oemgateway: next: sudo oemgateway --config-file /etc/my.conf setup\n" in said


@pytest.mark.needs_root
def test_below_destdir_files_are_put_in_place_and_nothing_else_is_done(machine):
    gateway = FromSources(machine)
    before = everything(machine)
    said = gateway.make("install", "DESTDIR=/image")
    assert "installed below /image" in said
    assert unlike(before, everything(machine)) == set()
    listed = machine("sh", "-c", "cd /image && find . -type f -o -type l | grep -v ^./opt/ | sort")
    assert set(listed.stdout.splitlines()) >= {
        "./etc/default/oemgateway",
        "./etc/init.d/oemgateway",
        "./etc/logrotate.d/oemgateway",
        "./etc/oemgateway.conf",
        "./etc/systemd/system/oemgateway.service",
        "./etc/udev/rules.d/60-oemgateway.rules",
        "./usr/local/bin/oemgateway",
        "./usr/local/share/bash-completion/completions/oemgateway",
        "./usr/local/share/man/man1/oemgateway.1",
        "./usr/local/share/man/man5/oemgateway.conf.5",
    }
    # Where it is the root, it runs.
    machine(
        "sh", "-c", f"cp -a /image{PREFIX} {PREFIX} && cp -a /image/usr/local/bin/oemgateway /usr/local/bin"
    )
    machine("rm", "-r", f"/image{PREFIX}/bin")
    assert gateway.version() == "0.1.0"
    # A rule that nobody has edited does not stay: it would take the place of the one in a package.
    said = gateway.make("uninstall", "DESTDIR=/image")
    assert said.splitlines()[-2].endswith("in /etc: default/oemgateway logrotate.d/oemgateway")
    assert not machine.path("/image/etc/udev/rules.d/60-oemgateway.rules").exists()
    gateway.make("purge", "DESTDIR=/image")
    assert machine("find", "/image", "-type", "f", "-o", "-type", "l").stdout == ""


@pytest.mark.needs_root
def test_where_pid_1_is_systemd_its_unit_is_installed_and_enabled(machine):
    # Given a systemd of which there is just its command, and a unit of another gateway
    unit = "/etc/systemd/system/oemgateway.service"
    machine.path(unit).write_text("[Service]\nExecStart=/home/pi/oem_gateway/oemgateway\n")
    told = machine.path("/run/told")
    machine("mkdir", "/run/systemd", "/run/systemd/system")
    systemctl = machine.path("/usr/local/bin/systemctl")
    systemctl.write_text('#!/bin/sh\necho "$@" >>/run/told\n')
    systemctl.chmod(0o755)
    # ... and a program that is installed
    gateway = FromSources(machine)
    installed = machine.path(PREFIX)
    copy_sources(installed / "source", PROGRAM)
    (installed / "bin").mkdir()
    for program in ("python", "oemgateway"):
        file = installed / "bin" / program
        file.write_text("#!/bin/sh\necho oemgateway 0.1.0\n")
        file.chmod(0o755)
    machine("ln", "-s", f"{PREFIX}/bin/oemgateway", "/usr/local/bin")

    assert f"{unit} was another gateway's" in gateway.make("install")
    assert "/home/pi" in machine.path("/etc/oemgateway.service.old").read_text()
    assert machine.path(unit).read_text() == (ROOT / unit[1:]).read_text()
    said = told.read_text().splitlines()
    assert [line for line in said if not line.startswith("list-unit-files")] == [
        "stop oemgateway.service",
        "daemon-reload",
        "--quiet enable oemgateway",
        "restart oemgateway.service",
    ]
    assert not machine.path("/etc/init.d/oemgateway").exists()
    verified = machine(need("systemd-analyze", "systemd"), "verify", "--man=no", unit)
    assert (verified.returncode, verified.stdout) == (0, "")

    told.unlink()
    gateway.make("uninstall")
    assert told.read_text().splitlines()[-2:] == ["--quiet disable oemgateway", "daemon-reload"]
    assert not machine.path(unit).exists()


@pytest.mark.needs_root
def test_an_interpreter_that_only_root_may_run_is_refused_before_anything_is_done(machine):
    FromSources(machine)
    machine("sh", "-c", "mkdir -m 0700 /root/own && cp /usr/bin/python3 /root/own")
    before = everything(machine)
    done = machine("make", "-C", "/usr/src/oemgateway", "install", "PYTHON=/root/own/python3")
    assert done.returncode != 0
    assert "only root may run /root/own/python3: sudo make install PYTHON=/usr/bin/python3" in done.stdout
    assert unlike(before, everything(machine)) == set()


RULE = "/etc/udev/rules.d/60-oemgateway.rules"


def make_deb(place, **environment):
    """Run `make deb` there with the environment of Python that is here, whatever the folders are called."""
    (place / ".venv").symlink_to(ROOT / ".venv")
    return subprocess.run(
        [need("make", "make"), "-C", place, "deb"],
        capture_output=True,
        text=True,
        check=False,
        env=environment or None,
    )


@pytest.fixture
def package(tmp_path):
    """The Debian package, freshly built."""
    for program, there in (
        ("dpkg-buildpackage", "dpkg-dev"),
        ("dh", "debhelper"),
        ("dh_python3", "dh-python"),
    ):
        need(program, there)
    if not (ROOT / ".venv" / ".runtime").exists():
        missing(".venv is missing: make .venv/.runtime")
    place = tmp_path / "package"
    copy_sources(place)
    built = make_deb(place)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = (place / "dist").glob("oemgateway_*_all.deb")
    return file


@pytest.mark.parametrize(
    "line",
    [
        "apikey = 0123456789abcdef0123456789abcdef",
        "password=secret",
        "apikey = secret  # K\udcfcche",
    ],
)
def test_no_key_gets_into_a_package(tmp_path, line):
    # given sources whose configuration was filled in where they are
    place = tmp_path / "package"
    copy_sources(place)
    file = place / "etc" / "oemgateway.conf"
    text = re.sub("(?m)^    apikey = .*$", f"    {line}", file.read_text())
    file.write_text(text, errors="surrogateescape")
    # when a package is to be made of them
    made = make_deb(place, **{**os.environ, "LC_ALL": "C.UTF-8"})
    # then none is, and it is said why and what to do
    assert made.returncode != 0
    assert "etc/oemgateway.conf has a key or password" in made.stdout
    assert "git checkout etc/oemgateway.conf" in made.stdout
    assert not (place / "dist").exists()


@pytest.mark.parametrize(
    ("value", "is_key"),
    [('""', False), ("''  # none", False), ('"""secret"""', True), ('"" # =', False), ("a= #", True)],
)
def test_an_empty_key_is_none_that_a_package_could_show(tmp_path, value, is_key):
    # given sources whose configuration has this as its key, on a machine without what builds packages
    place = tmp_path / "package"
    copy_sources(place)
    file = place / "etc" / "oemgateway.conf"
    file.write_text(re.sub("(?m)^    apikey = .*$", f"    apikey = {value}", file.read_text()))
    # when a package is to be made of them
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "grep", "python3"):
        (tools / tool).symlink_to(need(tool, tool))
    made = make_deb(place, PATH=str(tools))
    # then it is the key that stops it, or what is missing for it
    said = ("has a key or password" in made.stdout, "apt install dpkg-dev" in made.stdout)
    assert said == (is_key, not is_key)


def next_version(package, version, folder):
    """Return the file of the same package, of another version and with a line more in the configuration."""
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder], check=True)
    control = folder / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    program = folder / "usr" / "share" / "oemgateway"
    set_version(program, version, program / "oemgateway.conf")
    file = package.with_name(f"oemgateway_{version}_all.deb")
    subprocess.run(["dpkg-deb", "--build", folder, file], check=True, stdout=subprocess.DEVNULL)
    return file


@pytest.mark.needs_root
def test_the_life_of_the_debian_package(machine, package, tmp_path):  # noqa: PLR0915  (as lives are)
    allowed = ["--fail-on", "error,warning", "--suppress-tags", "no-manual-page", "--allow-root"]
    checked = run(need("lintian", "lintian"), *allowed, package)
    assert (checked.returncode, checked.stdout) == (0, "")
    listed = run("dpkg-deb", "--contents", package)
    assert listed.returncode == 0
    # /lib is a link, of which Debian 13 wants nothing in a package
    assert not re.search(r" \./(lib|bin|sbin)/", listed.stdout)
    machine.copy(package, "/root/first.deb")
    needed = machine(
        "sh", "-c", "dpkg-deb --field /root/first.deb Depends | sed 's/([^)]*)//g; s/:any//g; s/,//g'"
    )
    for name in needed.stdout.split():
        if machine("dpkg-query", "--show", name).returncode != 0:
            missing(f"{name} is missing: apt install {name}")
    # that man-db looks through all pages after each step takes longer than the steps
    machine("rm", "-f", "/var/lib/man-db/auto-update")
    before = everything(machine)
    gateway = Installed(machine)

    def dpkg(*arguments):
        done = machine("dpkg", *arguments, DEBIAN_FRONTEND="noninteractive")
        assert done.returncode == 0, done.stdout
        return done.stdout

    # When it is installed, it is enabled, and says that its file has to be filled in.
    said = dpkg("--install", "/root/first.deb")
    assert "oemgateway: next: sudo oemgateway setup\n" in said
    there = everything(machine)
    assert there[CONFIG].startswith("f 640 root oemgateway ")
    assert there[STATE].startswith("d 750 oemgateway oemgateway ")
    assert "/etc/rc2.d/S01oemgateway" in there
    assert not [path for path in there if "dist-packages/gateway" in path]
    assert gateway.service("start")[0] == 6

    # When its file is right, it runs, and the package keeps that file through an upgrade, and all that waits.
    gateway.edit(SETTINGS)
    assert gateway.service("start")[0] == 0
    running = gateway.pid()
    assert listening(machine, running) == set()
    waiting = gateway.wait_for_readings()
    machine.copy(next_version(package, "0.1.1", tmp_path / "next"), "/root/second.deb")
    said = dpkg("--install", "/root/second.deb")
    assert machine.path(CONFIG).read_text() == SETTINGS
    assert f"oemgateway: {CONFIG} is kept; what is new is in {CONFIG}.ucf-dist\n" in said
    assert machine.path(f"{CONFIG}.ucf-dist").read_text().endswith("# 0.1.1 has one line more.\n")
    assert everything(machine)[CONFIG].startswith("f 640 root oemgateway ")
    assert gateway.version() == "0.1.1"
    assert gateway.pid() != running
    assert gateway.waiting()[: len(waiting)] == waiting

    # A faulty file does not take it down.
    gateway.edit(FAULTY)
    running = gateway.pid()
    said = dpkg("--install", "/root/second.deb")
    assert FAULT in said
    assert "ucf-dist" not in said
    assert gateway.pid() == running
    assert gateway.service("status")[0] == 0

    # A file that is missing is made again.
    machine("rm", CONFIG)
    assert "oemgateway: next: sudo oemgateway setup\n" in dpkg("--install", "/root/second.deb")
    assert everything(machine)[CONFIG].startswith("f 640 root oemgateway ")

    # A gateway that does not start is no failure of the package.
    gateway.edit(SETTINGS)
    assert gateway.service("stop")[0] == 0
    machine(
        "sh", "-c", "cp -p /etc/default/oemgateway /root && echo DAEMON_ARGS=--x >>/etc/default/oemgateway"
    )
    said = dpkg("--install", "/root/second.deb")
    assert "oemgateway: --x is not understood; `oemgateway --help` explains what is\n" in said
    assert "nothing was done; correct DAEMON_ARGS in /etc/default/oemgateway first" in said
    assert "it is installed, and could not be started: the lines above or its log say why\n" in said
    machine("cp", "-p", "/root/oemgateway", "/etc/default/oemgateway")
    assert gateway.service("start")[0] == 0
    running = gateway.pid()

    # The settings that the defaults name decide whether it is started.
    machine("sh", "-c", f"mv {CONFIG} /etc/my.conf && echo CONFIG=/etc/my.conf >>/etc/default/oemgateway")
    dpkg("--install", "/root/second.deb")
    assert gateway.pid() != running
    running = gateway.pid()
    machine.path("/etc/my.conf").write_text(FAULTY)
    said = dpkg("--install", "/root/second.deb")
    assert "oemgateway: correct /etc/my.conf, then: sudo service oemgateway restart\n" in said
    assert gateway.pid() == running
    machine("sh", "-c", "rm /etc/my.conf && cp -p /root/oemgateway /etc/default/oemgateway")

    # Removed, it leaves settings and readings, and after a purge nothing.
    dpkg("--remove", "oemgateway")
    assert not machine.path(f"/proc/{running}").exists()
    there = everything(machine)
    assert {CONFIG, f"{STATE}/queue.db", "/etc/default/oemgateway"} <= there.keys()
    assert "/usr/bin/oemgateway" not in there
    dpkg("--purge", "oemgateway")
    assert unlike(before, everything(machine)) == set()
    assert machine("getent", "passwd", "oemgateway").stdout == ""

    # A file that cannot be guarded, as on a FAT, does not stop the package half-way.
    put_on_a_disk_without_owners(machine)
    said = dpkg("--install", "/root/first.deb")
    assert f"oemgateway: {CONFIG} {UNGUARDED}: better have the file itself in /etc\n" in said
    assert GUARDED not in said
    assert gateway.service("status")[0] == 0
    dpkg("--purge", "oemgateway")
    machine("chattr", "-i", "/srv/oemgateway.conf")
    machine("rm", "/srv/oemgateway.conf")

    # A gateway of the same name is stopped, and its script kept.
    ancestor = run_ancestor(machine)
    gateway.edit(SETTINGS)
    machine("sh", "-c", f"mkdir -p $(dirname {RULE}) && echo '# of an earlier installation' >{RULE}")
    said = dpkg("--install", "/root/first.deb")
    assert f"oemgateway: {RULE} takes the place of the rule in the package: remove it" in said
    assert "/etc/init.d/oemgateway was another gateway's: that one is stopped" in said
    assert f"oemgateway: {CONFIG} {GUARDED}\n" in said
    assert not machine.path(f"/proc/{ancestor}").exists()
    assert machine.path("/etc/oemgateway.init.old").read_text() == ANCESTOR
    assert gateway.service("status")[0] == 0
    running = gateway.pid()
    assert machine("stat", "-c", "%U", f"/proc/{running}").stdout == "oemgateway\n"

    # Where nothing may stop it, as in a container without an init, a purge does. It takes the group, too.
    assert machine("usermod", "-aG", "oemgateway", "root").returncode == 0
    machine.path("/usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    dpkg("--purge", "oemgateway")
    assert not machine.path(f"/proc/{running}").exists()
    assert machine("getent", "passwd", "oemgateway").stdout == ""
    assert machine("getent", "group", "oemgateway").stdout == ""
