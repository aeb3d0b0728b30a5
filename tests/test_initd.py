"""The scripts in init.d: sound as shell, and `owfs` started and stopped with Debian's programs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.gateway_process import run
from tests.peers import missing, need
from tests.ports import free_port
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import OWFS
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "init.d").iterdir())
SENSOR = "28.33F749050000"


def ids(script):
    return script.name


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_shellcheck_has_nothing_to_say(script):
    # Two of its findings are on files of the machine, which it cannot read.
    done = run(need("shellcheck", "shellcheck"), "--exclude=SC1090,SC1091", script)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_it_can_be_run_and_says_what_insserv_wants_to_know(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)
    header = dict(re.findall(r"^# ([A-Z][A-Za-z-]+): +(.+)$", script.read_text(), re.MULTILINE))
    assert header["Provides"] == script.name
    assert header["Default-Start"] == "2 3 4 5"
    assert header["Default-Stop"] == "0 1 6"
    assert "\nPATH=$PATH:/usr/sbin:/sbin\n" in script.read_text()  # start-stop-daemon is there
    assert {"$remote_fs", "$syslog"} <= set(header["Required-Start"].split())
    assert {"Required-Stop", "Short-Description", "Description"} <= header.keys()


class Service:
    """init.d/owfs with Debian's programs, on files of its own."""

    def __init__(self, folder, environment=os.environ, **settings):
        self.folder = folder
        self.mount_point = folder / "made" / "1wire"
        self.config = folder / "owfs.conf"
        shipped = (ROOT / "etc" / "owfs.conf").read_text()
        assert shipped.count("4304") == 3
        self.config.write_text(
            shipped.replace("4304", str(free_port())).replace("/mnt/1wire", str(self.mount_point))
        )
        settings = {
            "CONFIG": self.config,
            "PIDFILE": folder / "owfs.pid",
            "OWSERVER_PIDFILE": folder / "owserver.pid",
            **settings,
        }
        defaults = folder / "defaults"
        defaults.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.environment = {**environment, "OWFS_DEFAULTS": str(defaults)}

    def __call__(self, action):
        return run("sh", ROOT / "init.d" / "owfs", action, **self.environment)

    def pid(self, program):
        return int((self.folder / f"{program}.pid").read_text())

    def processes(self):
        """Return the ids of all that was started with our configuration, without the dead that lie about."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.fsencode(self.config) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def is_mounted(self):
        return f" {self.mount_point} fuse" in Path("/proc/mounts").read_text()


@pytest.fixture
def made_up(tmp_path):
    need("start-stop-daemon", "dpkg")
    if " " in str(tmp_path):
        pytest.skip("the functions of LSB take no file with a space in its name")
    return Service(tmp_path, DAEMON="/bin/true")


@pytest.mark.parametrize("action", ["", "reload", "nonsense"])
def test_it_prints_its_usage_with_its_own_name(made_up, action):
    done = made_up(action)
    assert done.returncode == 2
    assert done.stderr == f"Usage: {ROOT}/init.d/owfs {{start|stop|restart|force-reload|status}}\n"


def test_the_line_ends_of_windows_belong_to_no_setting(tmp_path):
    # given the program, as Windows ends its line
    service = Service(tmp_path, DAEMON="/bin/true\r")
    # then it is found, and what is wrong is another thing
    service.config.unlink()
    assert service("start").returncode == 6


def test_without_the_program_it_is_not_installed(tmp_path):
    assert Service(tmp_path, DAEMON="/nowhere/owfs")("start").returncode == 5


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
@pytest.mark.parametrize("there", [True, False])
def test_without_a_mount_point_it_is_not_configured(made_up, action, there):
    if there:
        made_up.config.write_text("# owfs: mountpoint = /mnt/1wire\n")
    else:
        made_up.config.unlink()
    done = made_up(action)
    assert done.returncode == 6
    assert "owfs.conf is missing, or names no mountpoint" in done.stdout + done.stderr


def test_nothing_runs_at_first(made_up):
    assert made_up("status").returncode == 3
    assert made_up("stop").returncode == 0


@pytest.fixture
def service(tmp_path):
    need("fusermount", "fuse")
    need("start-stop-daemon", "dpkg")
    if not Path(OWFS).exists():
        missing(f"{OWFS} is missing: apt install owfs-fuse")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        missing("mounting needs root and /dev/fuse")
    with i2c_server(Ds2482(Clock(), [Ds18b20(SENSOR, 21.5)])) as environment:
        service = Service(tmp_path, environment, OWSERVER=need("owserver", "owserver"))
        try:
            yield service
        finally:
            for pid in service.processes():
                os.kill(pid, signal.SIGKILL)
            if service.is_mounted():
                subprocess.run(["umount", "-l", service.mount_point], check=True)


@pytest.mark.needs_root
def test_the_life_of_owfs_with_the_configuration_that_is_shipped(service):
    # when it is started, the bus is there
    assert service("start").returncode == 0
    sensor = service.mount_point / "uncached" / SENSOR
    assert float((sensor / "temperature9").read_text()) == 21.5
    assert service("status").returncode == 0

    # when it is started once more, nothing happens
    first = service.pid("owfs")
    assert service("start").returncode == 0
    assert service.pid("owfs") == first
    assert len(service.processes()) == 2

    # when it is restarted, it is another process on the same mount point
    assert service("restart").returncode == 0
    assert service.pid("owfs") != first
    assert (sensor / "temperature9").exists()

    # when owfs is killed, the dead mount is cleared away at the next start
    os.kill(service.pid("owfs"), signal.SIGKILL)
    wait_until(lambda: service("status").returncode == 1, what="owfs to be dead")
    assert service.is_mounted()
    assert service("start").returncode == 0
    assert (sensor / "temperature9").exists()

    # when it is stopped, twice, nothing is left
    for _ in range(2):
        assert service("stop").returncode == 0
        assert not service.is_mounted()
        assert not list(service.folder.glob("*.pid"))
        wait_until(lambda: not service.processes())
    assert service("status").returncode == 3


@pytest.mark.needs_root
def test_without_a_bus_the_start_fails_and_leaves_nothing(service):
    text = service.config.read_text()
    service.config.write_text(text.replace("server: i2c = /dev/i2c-1:0", "server: i2c = /dev/i2c-1:7"))
    done = service("start")
    assert done.returncode == 1
    assert f"nothing is mounted at {service.mount_point}: does the bus that" in done.stdout + done.stderr
    assert not service.is_mounted()
    wait_until(lambda: not service.processes())


def test_the_unit_of_systemd_is_sound(tmp_path):
    # given the unit, of a command that is there
    unit = tmp_path / "owfs.service"
    text = (ROOT / "etc/systemd/system/owfs.service").read_text()
    assert f"ExecStart={OWFS} " in text
    unit.write_text(text.replace(OWFS, "/bin/true"))
    done = run(need("systemd-analyze", "systemd"), "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
