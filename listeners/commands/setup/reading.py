"""The first step: what is read. Shows what was found, and asks for names and for the port of a board."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.conf.edit import Draft
from gateway.conf.indices import Place
from gateway.diagnosis.machine import Machine
from gateway.text.terminal import say
from listeners.commands.setup import changes, hardware
from listeners.commands.setup.hardware import Attached
from listeners.commands.setup.questions import Questions
from listeners.onewire.commands.identify import identify
from listeners.onewire.commands.listing import about
from listeners.onewire.commands.relabel import has_sensor, set_label
from listeners.onewire.commands.roster import roster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from listeners.onewire.commands.roster import Row
    from listeners.onewire.commands.survey import Survey
    from listeners.onewire.rom import Rom

_BEHIND = (
    "  The file has another sensor there than the running gateway. Run setup again once that has taken the",
    "  last edit: oemgateway status says whether it has.",
)
_WARM = "warm"
_NONE = ("", "no", "none")


@dataclass
class Reading:
    """The step, on a draft of the file; `remembered` is which sensor was at which place before."""

    questions: Questions
    draft: Draft
    attached: Attached
    machine: Machine
    remembered: Mapping[Place, str]

    def take(self) -> None:
        """Look, show, ask, and change the draft as it is answered."""
        say(["Looking for 1-Wire sensors ..."])
        survey = self.attached.look()
        survey.consider(self.draft.text)
        known = {*survey.types, *self.draft.sections("listeners")}  # a gateway may not have taken an edit
        survey.reports = {name: report for name, report in survey.reports.items() if name in known}
        rows = [row for row in roster(survey) if row.is_thermometer and (row.places or _is_real(survey, row))]
        off = [row.rom for row in rows if not row.places and row.rom in survey.off]
        rows = [row for row in rows if row.rom not in off]
        say(self._of_the_gateway(survey))
        say(
            f"  {rom}: not added, as [[{survey.off[rom]}]] names it, which is off: active = no" for rom in off
        )
        if rows:
            self._name(survey, rows)
        elif not off:
            say(["None is found:", *(f"  {name}: {why}" for name, why in survey.troubles.items())])
        self._find_board()
        if not changes.reads_something(self.draft):
            self._offer_trial()
        elif any(_is_real(survey, row) for row in rows):
            changes.switch_off_unused(self.draft)

    def _of_the_gateway(self, survey: Survey) -> Iterator[str]:
        """Yield how old it is what the running gateway says of its buses."""
        own = self.attached.own.listeners
        if asked := {name: report for name, report in survey.reports.items() if name not in own}:
            yield from (f"  {name}: {', '.join(about(report))}" for name, report in asked.items())
            yield "A sensor that was just plugged in is listed once the gateway has searched again."

    def _name(self, survey: Survey, rows: Sequence[Row]) -> None:
        listeners = self.attached.own.listeners
        new = changes.add_sensors(self.draft, survey, rows, self.remembered, listeners)
        places = {
            row.rom: [(place.section, f"sensor{place.index}") for place in row.places] or [new[row.rom]]
            for row in rows
            if row.places or row.rom in new
        }
        if len(places) < len(rows):
            say(["An id in the file is that of no sensor: `oemgateway sensors` says which is meant."])
        rows = [row for row in rows if row.rom in places]
        say(_listed(survey, rows))
        labels = {row.rom: row.known.label for row in rows}
        can_warm = any(row.known.temperature is not None for row in rows) and not self.questions.quiet
        how = f"; {_WARM} finds out which is which" if can_warm else ""
        wanted = self.questions.ask(
            "names",
            f"Their names, in this order, with commas between{how}",
            "",
            lambda text: None if can_warm and text == _WARM else changes.read_names(text, labels),
            enter="as they are" if any(labels.values()) else "none",
        )
        for rom, label in (self._warmed(labels) if wanted is None else wanted).items():
            if label != labels[rom]:
                for section, key in places[rom]:
                    if has_sensor(self.draft, section, int(key.removeprefix("sensor")), rom):
                        set_label(self.draft, section, key, label)
                    else:
                        say([f"{rom} ({section}, {key}) gets no name:", *_BEHIND])

    def _warmed(self, labels: Mapping[Rom, str]) -> dict[Rom, str]:
        """Name one sensor after the other as it is warmed by hand."""
        named = dict(labels)
        while True:
            warmed = identify(self.attached, {str(rom): label for rom, label in named.items()}, sys.stdout)
            rom = next((each for each in named if str(each) == warmed.sensor), None)
            if rom:
                enter = named[rom] or "none"
                named[rom] = self.questions.ask("", "Its name", named[rom], changes.check_name, enter=enter)
            if not self.questions.agrees("", "Warm another one?", default=not all(named.values())):
                return named

    def _find_board(self) -> None:
        """Ask for a port, and then the port for a board."""
        ports = hardware.ports(self.machine)
        why_not = {port: self._reader(port) or trouble for port, trouble in ports.items()}
        say(["Serial ports:"] * bool(ports))
        say(f"  {number}  {port}  {why}".rstrip() for number, (port, why) in enumerate(why_not.items(), 1))
        if not self.questions.has("radio") and all(why_not.values()):
            return
        found = self.questions.ask(
            "radio",
            "Serial port of a radio board, to be asked by a `v` that is written to it",
            "none",
            lambda text: self._board(text, list(ports)),
        )
        if found:
            port, rate = found
            say([f"  a radio board answers at {port}, at {rate} baud"])
            changes.add_board(self.draft, port, rate)

    def _board(self, text: str, ports: Sequence[str]) -> tuple[str, int] | None:
        """Return the port and the bits a second of the board that was named, or None for none."""
        if text.lower() in _NONE:
            return None
        is_number = text.isdecimal() and 0 < int(text) <= len(ports)
        port = ports[int(text) - 1] if is_number else text
        if not port.startswith("/") or not self.machine.exists(port):
            raise ValueError(f"a number in the list, another port as /dev/..., or none expected, not {text}")
        if reader := self._reader(port):
            raise ValueError(f"{port}: {reader}")
        say([f"  asking {port}, which may take half a minute ..."])
        try:
            return port, hardware.ask_board(port)
        except OSError as error:
            raise ValueError(str(error)) from error

    def _reader(self, port: str) -> str:
        """Return, in words, which section has a port, or will have it; it is then left alone."""
        name = self.attached.holder(port)
        return f"[[{name}]] reads it" if name else ""

    def _offer_trial(self) -> None:
        say(["Nothing to read is found. `oemgateway doctor` says what to look at."])
        if not self.questions.agrees("trial", "Read simulated sensors, to try it?", default=False):
            return
        bus = hardware.simulated()
        with closing(bus):
            rows = roster(bus.look())
            changes.add_trial(self.draft, [row.rom for row in rows], *bus.listeners.values())


def _is_real(survey: Survey, row: Row) -> bool:
    return not all(survey.reports[name].simulated for name in row.seen_by)


def _listed(survey: Survey, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each sensor."""
    for number, row in enumerate(rows, 1):
        known = row.known
        celsius = "-" if known.temperature is None else f"{known.temperature:.2f} °C"
        where = ", ".join(survey.reports[name].place for name in row.seen_by) or known.fault
        yield f"  {number:>2}  {row.rom}  {celsius:>10}  {known.label or '-':<16}  {where}".rstrip()
