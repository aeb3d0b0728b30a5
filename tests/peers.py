"""Real programs to test against: skipped by name where they are missing, required in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import NoReturn

import pytest

PIP = (
    [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("pip")
    else [sys._base_executable, "-m", "pip", "--python", sys.executable]
)
"""The pip of this environment, or that of the Python it was made with."""


LARGE = {
    "chromium",
    "fping",
    "influxd",
    "ip",
    "npm",
    "prometheus",
    "prometheus-blackbox-exporter",
    "promtool",
    "victoria-metrics",
    "zstd",
}
"""Programs that `make peers` installs; other runs do without them, and test against simulators alone."""


def need(program: str, package: str) -> str:
    """Return the program's path; without it skip the test, or fail it where REQUIRE_PEERS demands it."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        missing(f"{program} is missing: apt install {package}", large=program in LARGE)
    return path


def missing(what: str, *, large: bool = False) -> NoReturn:
    """Skip this test for want of something, or fail it where REQUIRE_PEERS is "1" ("all": large ones too)."""
    if os.environ.get("REQUIRE_PEERS") in (("all",) if large else ("1", "all")):
        pytest.fail(what)
    pytest.skip(what)
