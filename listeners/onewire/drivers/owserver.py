"""An owserver as a tree of files, through pyownet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pyownet import protocol

from listeners.onewire.tree import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PORT = 4304
TIMEOUT = 10.0
"""Seconds that one request may take while owserver reports that it is working; a silent one gets 2."""


@dataclass(frozen=True)
class Address:
    """Where an owserver listens: host, host:port or [IPv6]:port."""

    host: str
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address of a text, or raise ValueError."""
        parts = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", text)
        port = int(parts[3] or PORT) if parts else 0
        if not parts or not 0 < port < 1 << 16:
            raise ValueError(f"host or host:port expected, as localhost:{PORT}, not {text}")
        return cls(parts[1] or parts[2], port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Server:
    """The tree of an owserver; each request has its own connection, so it may restart in between."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._proxy: protocol._Proxy

    def __str__(self) -> str:
        return f"owserver at {self._address}"

    def open(self) -> None:
        """Make sure that owserver answers."""
        try:
            self._proxy = self._ask(lambda: protocol.proxy(self._address.host, self._address.port))
        except Unavailable as refusal:
            raise OSError(f"{self}: owserver refuses to be asked ({refusal})") from refusal

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        entries = self._ask(lambda: self._proxy.dir(f"/{path}", slash=False, bus=True, timeout=TIMEOUT))
        return [entry.rpartition("/")[2] for entry in entries]

    def read(self, path: str) -> bytes:
        """Return a property's value."""
        return bytes(self._ask(lambda: self._proxy.read(f"/{path}", timeout=TIMEOUT)))

    def write(self, path: str, data: bytes) -> None:
        """Set a property."""
        self._ask(lambda: self._proxy.write(f"/{path}", data, timeout=TIMEOUT))

    def _ask(self, request: Callable[[], T]) -> T:
        """Return the answer; Unavailable where owserver reports an error, OSError where it does not answer.

        pyownet asserts what it expects of a server, and only some of its own errors are OSErrors. The number
        of owserver's error says nothing: it is 1 for a missing sensor as for anything else.
        """
        try:
            return request()
        except protocol.OwnetError as error:
            raise Unavailable(f"{error.filename}: {error.errno} {error.strerror}") from error
        except (protocol.Error, AssertionError, UnicodeError) as error:
            words = getattr(error, "strerror", None) or str(error) or "not what an owserver answers"
            raise OSError(f"{self}: {words}; is it running there (systemctl status owserver)?") from error
