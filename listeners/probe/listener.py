"""Listener `probe`: whether hosts and services answer, and in how many milliseconds."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gateway.plugin import SettingsFault, at_least, bad, between, good, setting
from gateway.process.port import host_and_port
from listeners.entries import EntrySampler, Troubled
from listeners.probe.icmp import NOT_ALLOWED
from listeners.probe.network import Attempt, Kind, NotAllowed, Outcome, failed
from listeners.probe.targets import Targets
from listeners.probe.web import Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.plugin import Clock, Finding, Machine
    from listeners.entries import Entry
    from listeners.probe.targets import Target

_RANGE = "/proc/sys/net/ipv4/ping_group_range"
_UNITS = "/etc/systemd/system/oemgateway.service.d"


_MARGIN = 0.1
"""The part of an interval, without the time-out, in which the last values are taken and none is probed."""


def _check_proxy(text: str) -> None:
    if "@" in text:
        raise ValueError("HOST:PORT alone expected: proxy_user and proxy_password are settings of their own")
    host_and_port(text)


def _check_user(name: str) -> None:
    if ":" in name:
        raise ValueError("a user name without a colon expected")


class _Prober(threading.Thread):
    """Probes one target, at its own time in each interval: none waits for another."""

    def __init__(self, probe: Probe, target: Target, offset: float) -> None:
        super().__init__(name=f"{probe.name}-probe", daemon=True)
        self._target, self._offset = target, offset
        self._interval, self._timeout, self._count = probe.interval, probe.timeout, probe.count
        self._way, self._clock, self.log = probe.way, probe.clock, probe.log
        self._end = threading.Event()
        self._attempt: Attempt | None = None
        self._outcome: Outcome | Exception | None = None

    def run(self) -> None:
        while not self._end.wait(until_next(self._interval, self._offset, self._clock)):
            attempt = self._attempt = Attempt(self._timeout)
            try:
                outcome: Outcome | Exception = self._target.probe(attempt, self._way, self._count)
            except NotAllowed as error:
                outcome = error
            except OSError as error:
                outcome = failed(error)
            except Exception as error:
                self.log.exception("a fault in the program; it is tried again all the same")
                outcome = error
            self._attempt = None
            if not attempt.is_abandoned:
                self._outcome = outcome

    def end(self) -> None:
        """Let it end; a name that is being resolved may delay that, but nothing waits for it."""
        self._end.set()
        self.take()

    def take(self) -> Outcome | Exception | None:
        """Return how the probe of this interval ended; None if there was none. A late one is abandoned."""
        outcome, self._outcome = self._outcome, None
        attempt = self._attempt
        return attempt.abandon() if attempt else outcome


def until_next(interval: float, offset: float, clock: Clock) -> float:
    """Return the seconds until the wall clock is at an offset in an interval again."""
    return interval - (clock.wall() - offset) % interval or interval


@dataclass(kw_only=True)
class Probe(EntrySampler):
    """Probes targets; targetN has five values, from index 5N - 4: ok, ms, loss, code and days."""

    KINDS: ClassVar = (("ok", ""), ("ms", "ms"), ("loss", "%"), ("code", ""), ("days", "d"))

    interval: float = setting(60.0, check=at_least(1))
    targets: Targets = field(default_factory=Targets)
    timeout: float = setting(5.0, check=between(0.1, 60))
    count: int = setting(3, check=between(1, 20))
    proxy: str | None = setting(None, check=_check_proxy)
    proxy_user: str | None = setting(None, check=_check_user)
    proxy_password: str | None = setting(None, secret=True)
    fresh: bool = setting(default=False)
    ca_file: Path | None = setting(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timeout >= self.interval:
            raise ValueError(f"a timeout below the interval expected, not {self.timeout:g}")
        for key, beside in (("proxy_password", "proxy_user"), ("proxy_user", "proxy")):
            if getattr(self, key) and not getattr(self, beside):
                raise SettingsFault([(key, f"a {beside} expected beside it")])
        login = f"{self.proxy_user}:{self.proxy_password or ''}" if self.proxy_user else ""
        proxy = host_and_port(self.proxy) if self.proxy else None
        self.way = Way(proxy, login, self.fresh, self.ca_file)
        self._probers: dict[int, _Prober] = {}

    @property
    def entries(self) -> Targets:
        """The targets."""
        return self.targets

    def open(self) -> None:
        """Start a thread for each target; their times are spread over the interval."""
        named = self.targets.named()
        room = self.interval - self.timeout
        for place, (number, entry) in enumerate(named.items()):
            offset = room * (_MARGIN + place * (1 - _MARGIN) / len(named))
            self._probers[number] = _Prober(self, entry.what, offset)
            self._probers[number].start()

    def close(self) -> None:
        """End the threads."""
        for prober in self._probers.values():
            prober.end()
        self._probers = {}

    def sample_entry(self, number: int, entry: Entry) -> Sequence[float | None]:  # noqa: ARG002  (its prober knows)
        """Return the values of a target; raises Troubled, with its values, where it did not answer."""
        outcome = self._probers[number].take()
        if outcome is None:  # none was due yet
            return ()
        if isinstance(outcome, Exception):
            raise OSError(str(outcome))
        if outcome.kind is not Kind.ANSWERED:
            raise Troubled(str(outcome), outcome.kind, outcome.values)
        return outcome.values

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say whether the user may send echo requests, if any target takes them."""
        if all(entry.what.kind != "icmp" for entry in self.targets.named().values()):
            return
        low, high = (*map(int, machine.text(_RANGE).split()), 1, 0)[:2]
        units = (machine.text(f"{_UNITS}/{name}") for name in machine.names(f"{_UNITS}/*.conf"))
        if any(low <= gid <= high for gid in machine.gids):
            yield good(f"{machine.user} may send echo requests, by net.ipv4.ping_group_range")
        elif machine.uid == 0 or any("CAP_NET_RAW" in unit for unit in units):
            yield good(f"{machine.user} may send echo requests, by CAP_NET_RAW")
        else:
            yield bad(
                NOT_ALLOWED.partition(":")[0].replace("this user", machine.user),
                "write net.ipv4.ping_group_range = 0 2147483647 into /etc/sysctl.d/60-ping.conf, and run "
                "sudo sysctl --system; or sudo systemctl edit oemgateway, with [Service], "
                "CapabilityBoundingSet=CAP_NET_RAW and AmbientCapabilities=CAP_NET_RAW, and restart it",
            )
