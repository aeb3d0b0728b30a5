"""What the boards print, and what it means: `rfm12pi.json` describes its own fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_FILE = json.loads(Path(__file__).with_name("rfm12pi.json").read_text(encoding="utf-8"))


def lines(*profiles: str) -> list[Any]:
    """Return the lines of these profiles as test parameters, named by their ids."""
    return [pytest.param(line, id=line["id"]) for line in _FILE["lines"] if line["profile"] in profiles]


def streams() -> list[Any]:
    """Return the byte streams as test parameters, named by their ids."""
    return [pytest.param(stream, id=stream["id"]) for stream in _FILE["streams"]]
