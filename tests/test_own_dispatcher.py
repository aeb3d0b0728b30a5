"""docs/develop.rst, "A dispatcher in five steps": what is written there runs."""

from __future__ import annotations

import re
import runpy
import textwrap
from pathlib import Path

import pytest

from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.ports import connect, free_port
from tests.waiting import wait_until

STEPS = (
    (Path(__file__).parents[1] / "docs/develop.rst").read_text(encoding="utf-8").split("five steps\n---")[1]
)
FILES = {
    name: textwrap.dedent(text) for name, text in re.findall(r"``([\w.]+)``::\n\n((?: {7}.*\n|\n)+)", STEPS)
}


@pytest.fixture
def installed(tmp_path):
    """Write what `pip install` would, and return the folder."""
    site = tmp_path / "site"
    about = site / "oemgateway_csv-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: oemgateway-csv\nVersion: 1.0\n")
    (point,) = re.findall(r'``(csv = ".*")``', STEPS)
    (about / "entry_points.txt").write_text(f"[oemgateway.dispatchers]\n{point.replace(chr(34), '')}\n")
    for name in ("oemgateway_csv.py", "test_csv.py"):
        (site / name).write_text(FILES[name])
    return site


def test_its_own_test_passes(installed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    runpy.run_path(str(installed / "test_csv.py"))["test_each_value_is_a_line"](tmp_path)


def test_what_a_listener_reads_is_in_its_file(installed, tmp_path):
    port, file, lines = free_port(), tmp_path / "oemgateway.conf", tmp_path / "readings.csv"
    section = FILES["oemgateway.conf"].replace("/var/lib/oemgateway/readings.csv", str(lines))
    file.write_text(f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n{section}")
    with GatewayProcess(file, PYTHONPATH=f"{ENVIRONMENT['PYTHONPATH']}:{installed}"), connect(port) as client:
        client.sendall(b"15 1 2.5\n")
        wait_until(lambda: lines.exists() and lines.read_text().count("\n") == 2)
    assert [line.split(",", 1)[1] for line in lines.read_text().splitlines()] == ["15,1,1", "15,2,2.5"]
