"""The built wheel in an empty folder: it holds every file, and does the main job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.once import made_once
from tests.simulators.emoncms import FakeEmoncms
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "listeners")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
IMPORT_EVERYTHING = """
import pkgutil, sys
import gateway, listeners
from gateway.registry import BUILT_IN, find
for package in (gateway, listeners):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
for kind, types in BUILT_IN.items():
    for name in types:
        find(kind, name)
print(gateway.__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with the contents of the wheel, built from a copy of the sources."""
    sources, wheels = (tmp_path_factory.mktemp(name) for name in ("sources", "wheels"))

    def build(site):
        for name in PACKAGES:
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE"):
            shutil.copy(ROOT / name, sources)
        subprocess.run(
            [sys.executable, "-c", BUILD, wheels], cwd=sources, check=True, capture_output=True, timeout=120
        )
        (wheel,) = wheels.glob("oemgateway-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)

    return made_once(tmp_path_factory, "wheel", build)


@pytest.fixture
def run(site, tmp_path):
    """Return a function that starts Python on the wheel, in an empty folder."""

    def run(*arguments):
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTHON"))
        }
        return subprocess.Popen(
            [sys.executable, "-P", *arguments],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(site)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def test_the_wheel_holds_the_files_of_the_tree(site):
    def files(folder):
        found = (path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts}

    assert files(site) == files(ROOT)


def test_every_module_and_type_is_imported_from_it(run, site):
    with run("-c", IMPORT_EVERYTHING) as process:
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, f"{site}/gateway/__init__.py\n")


def test_it_prints_its_help(run):
    with run("-m", "gateway", "--help") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "usage: oemgateway" in said
    assert "doctor" in said


def test_it_reads_the_simulated_bus_and_delivers(run, tmp_path, written):
    with FakeEmoncms() as server:
        file = written(
            f"[gateway]\nstate_dir = {tmp_path}/state\nsocket = {tmp_path}/control\nsimulate = yes\n"
            "[listeners]\n[[bridge]]\ntype = ds2482\nbus = simulated\nnode = 9\ninterval = 1\n"
            "sensor1 = 28.33F749050000\nsensor2 = Dummy\n"
            f"[dispatchers]\n[[emoncms]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
        )
        with run("-m", "gateway", "--config-file", str(file)) as process:
            wait_until(lambda: server.stored or process.poll() is not None, what="a reading at the server")
            process.terminate()
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert {(each.node, each.key) for each in server.stored} == {("9", "1")}
