"""`oemgateway sensors --identify`: watch all sensors, and name the one that is warmed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

from gateway.text.plain import plain
from listeners.onewire.commands.warmed import QUIET, RECENT, Warmed, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping


class Source(Protocol):
    """Who gives a sample of every sensor each `period` seconds."""

    @property
    def period(self) -> float:
        """Seconds from one sample to the next."""

    def sample(self) -> Mapping[str, float]:
        """Wait for the next sample and return it: degrees Celsius by id."""


def identify(source: Source, labels: Mapping[str, str], out: TextIO) -> Warmed:
    """Sample until one sensor, and it alone, has left its noise; return it.

    `labels` are the labels of the sensors by id. Progress goes to `out`. Raises OSError if the source is
    gone.
    """
    progress = _Progress(out)
    seconds = (QUIET + RECENT) * source.period
    progress.say(
        f"Reading every {source.period:g} s. Leave all sensors alone for {seconds:.0f} s; then take one into "
        f"your hand for {2 * RECENT * source.period:.0f} s or until it is named. Ctrl-C ends this."
    )
    watch = Watch()
    asked = False
    while True:
        celsius = source.sample()
        warmed = watch.add(celsius)
        if warmed:
            progress.say(_words(warmed, labels))
            return warmed
        moves = watch.moves()
        if not asked and celsius.keys() <= moves.keys():
            asked = True
            progress.say(f"Now warm one of them in your hand; {len(moves)} are watched.")
        if asked:
            most = max(moves, key=lambda sensor: abs(moves[sensor]))
            progress.show(f"{_named(most, labels)} has moved most: {moves[most]:+.2f} K")


class _Progress:
    """Lines for a person, and on a terminal one more that is written over and over."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = 0

    def say(self, line: str) -> None:
        self.show("")
        print(plain(line), file=self._out, flush=True)

    def show(self, text: str) -> None:
        text = plain(text)
        if self._out.isatty() and (text or self._shown):
            print(f"\r{text:<{self._shown}}\r{text}", end="", file=self._out, flush=True)
            self._shown = len(text)


def _words(warmed: Warmed, labels: Mapping[str, str]) -> str:
    changed = f"{abs(warmed.kelvin):.2f} K {'warmer' if warmed.kelvin > 0 else 'colder'}"
    others = f"no other has moved by more than {warmed.others:.2f} K"
    return f"{_named(warmed.sensor, labels)} is the one: {changed}, and {others}."


def _named(sensor: str, labels: Mapping[str, str]) -> str:
    label = labels.get(sensor)
    return f"{sensor} ({label})" if label else sensor
