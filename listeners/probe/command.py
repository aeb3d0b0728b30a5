"""`oemgateway probe`: one port, watched by eye, and the local ports from which it cannot be reached."""

from __future__ import annotations

import argparse
import re
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gateway.process.port import host_and_port
from gateway.text.terminal import FAILED, OK
from gateway.text.words import runs
from listeners.probe.network import Attempt, Kind, Outcome, failed, probe_tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

_ROW = 16
_TIMEOUT = 5.0
_PORTS_ROW = 64
_AT_ONCE = 32
"""Local ports that are tried at a time: each that fails takes the whole time-out."""
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER that ends a connection at once, so that its port can be reused at once."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "probe",
        help="watch a TCP port, or find the local ports from which it cannot be reached",
        description="Connects to a TCP port again and again. It needs no configuration and no gateway.",
    )
    parser.add_argument(
        "place", metavar="HOST:PORT", type=_argument(host_and_port), help="what to connect to"
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--watch",
        action="store_true",
        help="print . for each connection and * for each failure, until Ctrl-C (default)",
    )
    way.add_argument(
        "--source-ports",
        metavar="A-B",
        type=_argument(port_range),
        help="connect from each of these local ports once: 1 where it works, 0 where it fails",
    )
    parser.add_argument(
        "--interval", metavar="SECONDS", type=_argument(_seconds), default=5.0, help="between two (default 5)"
    )
    parser.set_defaults(run=run)


def _argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser of an argument whose ValueError is shown to the user."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def port_range(text: str) -> range:
    """Return the ports of A-B; raises ValueError if it is no range of ports."""
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if not found or not 0 < int(found[1]) <= int(found[2]) < 65536:
        raise ValueError(f"two ports expected, such as 40000-40999, not {text}")
    return range(int(found[1]), int(found[2]) + 1)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0.1 <= float(text) <= 3600:
        raise ValueError(f"seconds from 0.1 to 3600 expected, not {text}")
    return float(text)


def run(options: argparse.Namespace) -> int:
    """Run the command; return 1 where a connection failed."""
    host, port = options.place
    if options.source_ports:
        return _try_ports(host, port, options.source_ports)
    return _watch(host, port, options.interval)


@dataclass
class Watch:
    """The results of the tries so far, and how they are printed: rows of sixteen, then failures / tries."""

    milliseconds: list[float] = field(default_factory=list)
    failures: int = 0
    tries: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> str:
        """Return what to print for one more try."""
        self.tries += 1
        if outcome.kind is Kind.ANSWERED and outcome.ms is not None:
            self.milliseconds.append(outcome.ms)
        else:
            self.failures += 1
            self.kinds[outcome.kind] = self.kinds.get(outcome.kind, 0) + 1
        mark = "." if outcome.kind is Kind.ANSWERED else "*"
        return mark if self.tries % _ROW else f"{mark} {self.failures} / {self.tries}\n"

    def summary(self) -> str:
        """Return loss and times in a line."""
        if not self.tries:
            return "no connection was tried"
        loss = f"{100 * self.failures / self.tries:.1f} % lost ({self.failures} / {self.tries}"
        loss += "".join(f", {count} {kind}" for kind, count in sorted(self.kinds.items())) + ")"
        if not self.milliseconds:
            return loss
        least, most = min(self.milliseconds), max(self.milliseconds)
        mean = sum(self.milliseconds) / len(self.milliseconds)
        return f"{loss}; least {least:.1f} ms, mean {mean:.1f} ms, greatest {most:.1f} ms"


def _watch(host: str, port: int, interval: float) -> int:
    watch = Watch()
    began = time.monotonic()
    try:
        while True:
            attempt = Attempt(min(_TIMEOUT, interval))
            try:
                outcome = probe_tcp(attempt, host, port)
            except OSError as error:
                outcome = failed(error)
            _print(watch.add(outcome))
            passed = time.monotonic() - began
            time.sleep(interval - passed % interval)
    except KeyboardInterrupt:
        _print(f"\n{watch.summary()}\n")
    return FAILED if watch.failures else OK


def _try_ports(host: str, port: int, ports: range) -> int:
    try:
        family, _, _, _, address = Attempt(_TIMEOUT).resolve(host, port, socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OSError(f"{host}: {error.strerror or error}") from None
    _print(f"from the local ports {ports[0]} to {ports[-1]}: 1 works, 0 fails, - is in use here\n")
    return _show_ports(ports, _tried(family, address, ports))


def _show_ports(ports: range, results: Iterator[str]) -> int:
    bad = []
    for place, (port, mark) in enumerate(zip(ports, results, strict=True)):
        start = f"{port:5} " if place % _PORTS_ROW == 0 else ""
        is_last = place % _PORTS_ROW == _PORTS_ROW - 1 or port == ports[-1]
        _print(f"{start}{mark}{chr(10) if is_last else ''}")
        if mark == "0":
            bad.append(port)
    _print(f"it fails from {runs(bad)}\n" if bad else "it works from each of them\n")
    return FAILED if bad else OK


def _tried(family: int, address: tuple[str, int], ports: Sequence[int]) -> Iterator[str]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (only this command needs it)

    def attempt(port: int) -> str:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(_TIMEOUT)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            try:
                sock.bind(("", port))
            except OSError:
                return "-"
            try:
                sock.connect(address)
            except OSError:
                return "0"
            return "1"

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(attempt, ports)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
