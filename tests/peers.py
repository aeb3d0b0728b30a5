"""Real programs to test against: skipped by name where they are missing, required in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

import pytest

PIP = (
    [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("pip")
    else [sys._base_executable, "-m", "pip", "--python", sys.executable]
)
"""The pip of this environment, or that of the Python it was made with."""


def need(program: str, package: str) -> str:
    """Return the program's path; without it skip the test, or fail it where REQUIRE_PEERS is set."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        missing(f"{program} is missing: apt install {package}")
        raise AssertionError  # missing() never returns
    return path


def missing(what: str) -> None:
    """Skip this test for want of something, or fail it where REQUIRE_PEERS is set."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(what)
    pytest.skip(what)
