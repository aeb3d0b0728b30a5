"""What a listener keeps over a restart: an object of JSON in the state directory."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.process.state_files import read_file, refusal, write_file
from gateway.text.numeral import load_json

if TYPE_CHECKING:
    from gateway.plugin import Listener

_LARGEST = 1 << 22
"""Bytes of a file that are read."""


class StateFile:
    """The file of a listener; it keeps nothing if there is no state directory.

    It is due at intervals, since a card should be written rarely.
    """

    def __init__(self, listener: Listener, kind: str, every: float) -> None:
        directory = listener.state
        self._file = directory and directory / f"{kind}-{quote(listener.name, safe='')}.json"
        self._listener = listener
        self._every = every
        self._written = listener.clock.monotonic()

    @property
    def is_there(self) -> bool:
        """Whether there is such a file, readable or not."""
        return bool(self._file and os.path.lexists(self._file))

    def read(self) -> dict[str, Any]:
        """Return what was kept; nothing if it is damaged, which the log says.

        Raises OSError if it is there but cannot be read: it would be replaced by what begins anew.
        """
        if not self._file:
            return {}
        try:
            found = load_json(read_file(self._file, _LARGEST))
            if isinstance(found, dict):
                return found
            why = "no object of JSON"
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OSError(refusal(error, self._file.parent)) from error
        except ValueError:
            why = "it is damaged"
        self._listener.log.warning("%s cannot be read (%s): what was kept in it begins anew", self._file, why)
        return {}

    def is_due(self) -> bool:
        """Tell whether that many seconds have passed since it was written."""
        return self._listener.clock.monotonic() >= self._written + self._every

    def write(self, found: dict[str, Any]) -> None:
        """Keep this. If the disk does not take it, only this is lost, not a reading."""
        self._written = self._listener.clock.monotonic()
        if self._file:
            try:
                write_file(self._file, json.dumps(found))
            except OSError as error:
                self._listener.log.debug("%s is not written: %s", self._file, error)
