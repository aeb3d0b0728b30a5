"""CONTRIBUTING.rst, "A listener of your own in five steps": each step as it stands there."""

from __future__ import annotations

import re
import runpy
import shutil
import textwrap
from pathlib import Path

import pytest

from tests.gateway_process import ENVIRONMENT, GatewayProcess, command, run, state
from tests.once import made_once
from tests.peers import PIP
from tests.simulators.emoncms import FakeEmoncms
from tests.waiting import wait_until

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.rst").read_text(encoding="utf-8")
STEPS = TEXT.partition("in five steps\n")[2]
FILES = {
    name: textwrap.dedent(text) for name, text in re.findall(r"``([\w.]+)``::\n\n((?: {7}.*\n|\n)+)", STEPS)
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Write the files of the package."""
    package = tmp_path_factory.mktemp("oemgateway-example")
    for name in ("oemgateway_example.py", "test_example.py", "pyproject.toml"):
        (package / name).write_text(FILES[name], encoding="utf-8")
    return package


@pytest.fixture(scope="module")
def installed(package, tmp_path_factory):
    """Install the package, and return where that is."""

    def install(site):
        offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        done = run(*PIP, "install", *offline, "--target", site, package)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "own_listener", install)


def path(*sites):
    """Return the environment in which these packages can be imported."""
    return {"PYTHONPATH": ":".join([*map(str, sites), ENVIRONMENT["PYTHONPATH"]])}


@pytest.fixture
def configured(tmp_path):
    """Write the section, its interval changed, and return the file."""

    def configured(interval, dispatchers="[dispatchers]\n[[log]]\ntype = log\n"):
        file = tmp_path / "oemgateway.conf"
        section = FILES["oemgateway.conf"].replace("interval = 10", f"interval = {interval}")
        assert section != FILES["oemgateway.conf"]
        file.touch(0o600)
        file.write_text(state(tmp_path) + section + dispatchers)
        return file

    return configured


def line_of(file, text):
    return 1 + next(n for n, line in enumerate(file.read_text().splitlines()) if text in line)


def test_it_imports_the_contract_from_one_module():
    modules = re.findall(r"^from (gateway\S*) import", FILES["oemgateway_example.py"], re.MULTILINE)
    assert modules == ["gateway.plugin"]


def test_its_own_test_passes(package, installed, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    named = runpy.run_path(str(package / "test_example.py"))
    (test,) = (thing for name, thing in named.items() if name.startswith("test_"))
    test()


SMBUS2 = """\
class SMBus:
    def __init__(self, bus):
        self.fd = None

    def read_byte(self, address):
        return 0

    def read_i2c_block_data(self, address, register, length):
        return [0x14, 0x80]

    def close(self):
        pass
"""


def test_its_frames_arrive_at_emoncms(installed, configured, tmp_path):
    simulated = tmp_path / "simulated"
    simulated.mkdir()
    (simulated / "smbus2.py").write_text(SMBUS2)
    with FakeEmoncms() as server:
        home = f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
        with GatewayProcess(configured(1, f"{home}interval = 0\n"), **path(simulated, installed)) as gateway:
            wait_until(lambda: server.values("30") == {"1": 20.5})
            assert gateway.stop() == 0


def test_a_fault_in_its_section_is_shown_with_its_line(installed, configured):
    file = configured(0)
    done = command("check", file, **path(installed))
    fault = f"{file}:{line_of(file, 'interval')}: interval: 1 or more expected, not 0"
    assert (done.returncode, done.stdout) == (78, f"{fault}\n")
    assert "/etc/oemgateway.conf:28: " + fault.partition(": ")[2] in STEPS


def test_without_the_package_its_type_is_none(configured):
    file = configured(1)
    done = command("check", file)
    assert done.returncode == 78
    assert f"{file}:{line_of(file, 'type')}: type: tmp102 is not a type of listener" in done.stdout


def test_a_name_taken_twice_is_a_fault(installed, configured, tmp_path):
    other = tmp_path / "other"
    (named,) = installed.glob("*.dist-info")
    shutil.copytree(named, other / "oemgateway_other-1.0.dist-info")
    metadata = other / "oemgateway_other-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("oemgateway-example", "oemgateway-other"))
    file = configured(1)
    done = command("check", file, **path(installed, other))
    claimed = "tmp102 is claimed by oemgateway-example and oemgateway-other: uninstall one of them"
    assert (done.returncode, done.stdout) == (78, f"{file}:{line_of(file, 'type')}: type: {claimed}\n")
