"""What is probed: `targetN = icmp HOST | tcp HOST:PORT | http(s)://... | dns NAME [@SERVER] [A|AAAA]`."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from gateway.process.port import check_host, host_and_port
from gateway.settings import did_you_mean
from listeners.entries import Entries
from listeners.probe.dns import TYPES, probe_dns, question
from listeners.probe.icmp import probe_icmp
from listeners.probe.network import probe_tcp
from listeners.probe.web import Url, probe_web

if TYPE_CHECKING:
    from listeners.probe.network import Attempt, Outcome
    from listeners.probe.web import Way

EXPECTED = "icmp HOST, tcp HOST:PORT, http://..., https://... or dns NAME [@SERVER] [A or AAAA] expected"


@dataclass(frozen=True)
class Target:
    """A way to probe, and what it takes: a host, its port, a question and a server, an address of the web."""

    kind: str
    what: tuple[Any, ...]

    def probe(self, attempt: Attempt, way: Way, count: int) -> Outcome:
        """Return the outcome; raises OSError, which says by its type what it was."""
        match self.kind:
            case "icmp":
                return probe_icmp(attempt, count, *self.what)
            case "tcp":
                return probe_tcp(attempt, *self.what)
            case "dns":
                return probe_dns(attempt, *self.what)
        return probe_web(attempt, way, *self.what)


@dataclass(frozen=True)
class Targets(Entries):
    """The targets: `targetN = ... | Dummy`, with a label after a comma."""

    PREFIX: ClassVar = "target"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target, or raise ValueError."""
        kind, _, rest = text.partition(" ")
        rest = rest.strip()
        match kind.lower():
            case "icmp":
                return Target("icmp", (check_host(rest),))
            case "tcp":
                return Target("tcp", host_and_port(rest))
            case "dns":
                return Target("dns", _question(rest))
        if re.match("https?://", text, re.IGNORECASE):
            return Target("web", (parse_url(text),))
        raise ValueError(f"{EXPECTED}, not {text or 'nothing'}{did_you_mean(kind, ['icmp', 'tcp', 'dns'])}")

    @classmethod
    def name(cls, number: int, text: str) -> str:
        """Return the target; an address without its query, which may hold a key, with the number instead."""
        address, mark, _ = text.partition("?")
        return f"{address} {number}" if mark else text


def parse_url(text: str) -> Url:
    """Return an address of the web; raises ValueError if it is not one, or has a password in it."""
    found = urlsplit(text)
    if "@" in found.netloc:
        raise ValueError("an address without user name and password expected")
    is_https = found.scheme == "https"
    host, port = host_and_port(found.netloc, 443 if is_https else 80)
    with suppress(UnicodeError):  # otherwise it is no name that anything resolves, which its outcome says
        host = host.encode("idna").decode()  # as web servers know themselves
    path = f"{found.path or '/'}{'?' if found.query else ''}{found.query}"
    return Url(is_https, host, port, quote(path, safe="/%:@!$&'()*+,;=~-._?"))


def _question(text: str) -> tuple[str, str, int, str]:
    name, *rest = text.split() or [""]
    server, port, kind = "", 53, "A"
    for word in rest:
        if word.startswith("@"):
            server, port = host_and_port(word[1:], 53)
        elif word.upper() in TYPES:
            kind = word.upper()
        else:
            raise ValueError(f"@SERVER, A or AAAA expected after the name, not {word}")
    question(name, kind)
    return name, server, port, kind
