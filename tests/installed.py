"""The gateway as it is installed on a machine that is thrown away."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.peers import missing, need
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
PROGRAM = ("LICENSE", "README.rst", "docs", "etc", "gateway", "listeners", "pyproject.toml", "setup.cfg")
SOURCES = (*PROGRAM, "CHANGELOG.rst", "Makefile", "debian", "init.d", "install.sh")
PREFIX = re.search(r"(?m)^PREFIX=(.+)$", (ROOT / "install.sh").read_text())[1]
CONFIG = "/etc/oemgateway.conf"


def copy_sources(place, names=SOURCES):
    """Put what packages are made of into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, place / name)


class Installed:
    """The gateway on a machine, as its owner deals with it."""

    def __init__(self, machine):
        self.machine = machine

    def service(self, action):
        """Run `service oemgateway ACTION` and return its exit status and what it said."""
        done = self.machine("service", "oemgateway", action)
        return done.returncode, done.stdout

    def edit(self, text):
        self.machine.path(CONFIG).write_text(text)

    def pid(self):
        return int(self.machine.path("/run/oemgateway.pid").read_text())

    def log(self):
        return self.machine.path("/var/log/oemgateway/oemgateway.log").read_text()

    def version(self):
        return self.machine("oemgateway", "--version").stdout.split()[-1]

    def waiting(self):
        """Return the readings that wait, each as a line of JSON."""
        lines = self.machine("oemgateway", "queue", "export").stdout.splitlines()
        return [line for line in lines if line.startswith("{")]

    def wait_for_readings(self):
        """Return the readings that wait, once there are some."""
        return wait_until(self.waiting, 20, "a reading to wait")


class FromSources(Installed):
    """... by `make install`, `make uninstall` and `make purge`; `program` is in place already."""

    def __init__(self, machine, program=None):
        super().__init__(machine)
        need("make", "make")
        self.folder = machine.path("/usr/src/oemgateway")
        copy_sources(self.folder)
        if program:
            subprocess.run(["tar", "-xf", program, "-C", machine.path("/")], check=True)

    def attempt(self, *what):
        """Run make as root and return its exit status and what it said."""
        done = self.machine(
            "make", "--no-print-directory", "-C", "/usr/src/oemgateway", "PYTHON=/usr/bin/python3", *what
        )
        if "could not be fetched" in done.stdout:
            missing(f"make install fetches packages, and could not: {done.stdout}")
        if "python3-venv" in done.stdout or "Python 3.11 or newer" in done.stdout:
            missing(done.stdout)
        return done.returncode, done.stdout

    def make(self, *what):
        """Run make as root and return what it said, once it has done it."""
        status, said = self.attempt(*what)
        assert status == 0, said
        return said
