"""What is on the 1-Wire buses, from the running gateway or by reading them in this process.

Either gives a `Survey`, and then samples of the temperatures as often as they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING

from gateway.conf.edit import entries_of
from gateway.conf.misplaced import SECTIONS
from gateway.conf.section import is_off, nodes_in
from gateway.present.status import from_json
from gateway.registry import find
from gateway.settings import build, number_of
from gateway.text.words import failure
from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.drivers.ds2482 import Ds2482
from listeners.onewire.drivers.owfs import Owfs
from listeners.onewire.report import Report
from listeners.onewire.rom import Rom
from listeners.onewire.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.clock import Clock
    from gateway.conf.document import Document
    from gateway.present.asking import RunningGateway

_PERIOD_S = 1.0
"""Seconds between two samples in this process; more where a sweep takes longer."""

_POLL_S = 0.5


@dataclass
class Survey:
    """What each listener knows, by the name of its section, and `who` has read the buses, in words.

    `troubles` says why the report of a listener is missing or incomplete. `types` has the types of those
    listeners that have no section in the configuration. `nodes` are those that a new section may not have.
    `remembered` are the highest indices that ever had a sensor, by node; `unremembered` says why they are not
    known. `off` are sensors that sections name which are off, each with the name of its section.
    """

    who: str
    reports: dict[str, Report] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    nodes: frozenset[str] = frozenset()
    remembered: dict[str, int] = field(default_factory=dict)
    unremembered: str = ""
    off: Mapping[Rom, str] = field(default_factory=dict)

    def consider(self, text: Document) -> None:
        """Consider what the file has besides the listeners that were looked at."""
        self.nodes |= nodes_in(text)
        self.off = dict(_off(text))


class GatewaySensors:
    """The buses as the running gateway reads them. Raises OSError if none answers."""

    samples_new = False
    """Whether `sample` has sensors that the configuration does not name."""

    def __init__(self, gateway: RunningGateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._seen: dict[str, int] = {}
        self._reports = self._ask_for_reports()

    @property
    def has_sensors(self) -> bool:
        """Whether it has a 1-Wire listener at all."""
        return bool(self._reports)

    def look(self) -> Survey:
        """Return what the gateway knows."""
        status = self._gateway.status()
        sections = {name: about for name, about in status.listeners.items() if name in self._reports}
        return Survey(
            f"the running gateway (pid {status.pid})",
            self._reports,
            {name: about.trouble for name, about in sections.items() if about.trouble},
            nodes=frozenset(node for about in status.listeners.values() for node in about.nodes),
        )

    @property
    def period(self) -> float:
        """The gateway's own interval: the longest where there are several."""
        return max((report.interval for report in self._reports.values()), default=_PERIOD_S)

    def sample(self) -> Mapping[str, float]:
        """Wait until the gateway has read sensors again, and return those."""
        while True:
            reports = self._ask_for_reports()
            fresh = [name for name, report in reports.items() if report.sweeps != self._seen.get(name)]
            self._seen = {name: report.sweeps for name, report in reports.items()}
            celsius = {
                sensor.id: sensor.temperature
                for name in fresh
                for sensor in reports[name].sensors
                if sensor.indices and sensor.temperature is not None
            }
            if celsius:
                return celsius
            self._clock.sleep(_POLL_S)

    def close(self) -> None:
        """Nothing has to be closed."""

    def _ask_for_reports(self) -> dict[str, Report]:
        answer = self._gateway.ask("details")
        try:
            reports = {name: each.get("onewire") for name, each in answer.items()}
            return {name: from_json(Report, report) for name, report in reports.items() if report}
        except (AttributeError, KeyError, TypeError) as error:
            raise OSError("the running gateway is of another version: restart it") from error


class OwnListeners:
    """The buses as this process reads them: by the listeners of a configuration, and by others as a try.

    `nodes` are those that a running gateway hears.
    """

    samples_new = True

    def __init__(
        self,
        configured: Mapping[str, OneWire],
        others: Iterable[OneWire],
        clock: Clock,
        nodes: frozenset[str] = frozenset(),
    ) -> None:
        self._configured = dict(configured)
        self._others = list(others)
        self._nodes = nodes
        self._clock = clock
        self._open: dict[str, OneWire] = {}
        self._due = 0.0

    @property
    def listeners(self) -> Mapping[str, OneWire]:
        """The listeners that are open, by the names that the survey has."""
        return self._open

    def look(self) -> Survey:
        """Open each listener, search its bus and read all that is there."""
        survey = Survey("this command", nodes=self._nodes)
        for name, listener in self._configured.items():
            self._look(name, listener, survey)
        known = {listener.place for listener in self._configured.values()}
        for listener in self._others:
            if listener.place not in known and not self._is_driven(listener):
                names = chain([listener.name], (f"{listener.name}-{number}" for number in count(2)))
                name = next(each for each in names if each not in {**self._configured, **survey.types})
                survey.types[name] = listener.name
                self._look(name, listener, survey)
        return survey

    @property
    def period(self) -> float:
        """Seconds from one sample to the next."""
        return _PERIOD_S

    def sample(self) -> Mapping[str, float]:
        """Read all sensors that were found, one second after the last time."""
        self._clock.sleep(max(0.0, self._due - self._clock.monotonic()))
        self._due = self._clock.monotonic() + _PERIOD_S
        for listener in self._open.values():
            with suppress(BusFault):  # which leaves its sensors without a temperature
                listener.measure([rom for rom, note in listener.record.notes.items() if note.heard])
        return {
            str(rom): note.reading
            for listener in self._open.values()
            for rom, note in listener.record.notes.items()
            if isinstance(note.reading, float)
        }

    def close(self) -> None:
        """Close all listeners."""
        for listener in self._open.values():
            with suppress(OSError):
                listener.close()
        self._open.clear()

    def _look(self, name: str, listener: OneWire, survey: Survey) -> None:
        listener.clock = self._clock
        try:
            listener.open()
        except (OSError, ImportError) as error:
            survey.troubles[name] = failure(error)
            listener.close()
            return
        self._open[name] = listener
        try:
            listener.look(listener.sensors.roms())
        except (OSError, BusFault) as error:
            survey.troubles[name] = failure(error)
        if name in survey.types and _is_bare(listener):
            survey.troubles.setdefault(name, f"{listener.place}: nothing is mounted there")
        else:
            survey.reports[name] = from_json(Report, listener.health().details["onewire"])

    def _is_driven(self, listener: OneWire) -> bool:
        """Tell whether OWFS drives the bus where a DS2482 would be looked for.

        It has no lock, and two masters of one chip garble each other's readings.
        """
        trees = [other for other in self._open.values() if isinstance(other, Owfs)]
        return isinstance(listener, Ds2482) and any(
            "DS2482" in name for tree in trees for name in tree.bus_masters
        )


Source = GatewaySensors | OwnListeners
"""Who can be asked for a survey, and after it for a sample of every sensor each `period` seconds."""


def usual_listeners() -> list[OneWire]:
    """Return listeners for the usual buses of a machine, those of OWFS first; each is named by its type."""
    listeners = []
    for kind in ("owserver", "owfs", "w1", "ds2482"):
        listener = build(find("listeners", kind), {"node": "1"})
        assert isinstance(listener, OneWire)  # noqa: S101  (it is of this package)
        listener.name = kind
        listeners.append(listener)
    return listeners


def _off(text: Document) -> Iterator[tuple[Rom, str]]:
    """Yield each sensor that a section names which is off, and its section; no simulated one."""
    tops = [top for top in text.root.sections.values() if SECTIONS.get(top.name) == "listeners"]
    for section in (each for top in tops for each in top.sections.values()):
        entries = entries_of(section)
        if not is_off(entries) or ("bus" in entries and entries["bus"].value == "simulated"):
            continue
        for key, entry in entries.items():
            if index := number_of(key, Slots):
                with suppress(ValueError):
                    if rom := Slots.parse_entry(index, entry.value).rom:
                        yield rom, section.name


def _is_bare(listener: OneWire) -> bool:
    """Tell whether it is a directory where OWFS could be mounted but is not."""
    return isinstance(listener, Owfs) and not listener.bus_masters and not listener.record.notes
