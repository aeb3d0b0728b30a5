"""The id of this gateway: random, as many hosts have the same name, and kept as long as its state is."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.process.state_files import read_file, write_file

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "gateway.id"
_ID = re.compile(r"[0-9a-f]{12}")

_unkept: list[str] = []


def gateway_id(state: Path | None) -> str:
    """Return the id kept in the state directory, made at the first time.

    If it cannot be kept it lasts as long as this process.
    """
    if state:
        with suppress(OSError, UnicodeDecodeError):
            if _ID.fullmatch(kept := read_file(state / _FILE).strip()):
                return kept
    if not _unkept:
        _unkept.append(secrets.token_hex(6))
    if state:
        with suppress(OSError):
            write_file(state / _FILE, f"{_unkept[0]}\n", synced=True)
    return _unkept[0]
