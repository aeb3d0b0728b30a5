"""The id of this gateway: random, as many hosts have the same name, and kept as long as its state is."""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.process.state_files import read_file, refusal, write_file

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("oemgateway")

_FILE = "gateway.id"
_OTHERS = "mqtt-*.json"
"""Files that a gateway with an id has beside it, once it was connected to a broker."""
_ID = re.compile(r"[0-9a-f]{12}")

_known: dict[Path | None, str] = {}


def gateway_id(state: Path | None) -> str:
    """Return the id kept in the state directory, made at the first time.

    Once a process knows its id, it no longer depends on the file. Raises OSError if the file is there but
    cannot be read: with a new id this would be another gateway to all who know it.
    """
    kept, fault = "", "is damaged"
    if state:
        try:
            kept = read_file(state / _FILE).strip()
        except FileNotFoundError:
            fault = "is gone" if any(state.glob(_OTHERS)) else ""
        except ValueError:
            pass
        except OSError as error:
            if state in _known:
                return _known[state]
            raise OSError(refusal(error, state)) from error
        if _ID.fullmatch(kept):
            _known[state] = kept
            return kept
        if fault and state not in _known:
            log.warning("%s/%s %s: this is a new gateway to brokers and Home Assistant", state, _FILE, fault)
    known = _known.setdefault(state, secrets.token_hex(6))
    if state:
        with suppress(OSError):
            write_file(state / _FILE, f"{known}\n", synced=True)
    return known
