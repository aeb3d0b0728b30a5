"""Which sensor has which index: `sensorN` is always index N."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from gateway.frame import HIGHEST
from gateway.settings import Raw, convert, did_you_mean, in_full, quoted
from listeners.onewire.families import unread
from listeners.onewire.rom import Rom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from listeners.onewire.ds18b20 import Reading

_UNPARTED = re.compile(r"((?:[0-9A-Fa-f]{2}[.-]|dummy\b)[^\s;]*)[\s;]+(\S.*)", re.IGNORECASE)
"""An id or Dummy, and a label after it without a comma in between."""

_INSIDE = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{2}[.-][0-9A-Fa-f]{12}(?![0-9A-Fa-f.-])")
"""An id in a longer text, such as the path of its file."""


@dataclass(frozen=True)
class Slot:
    """A sensor at an index, None for a Dummy, and its label. `str` gives it as the file has it."""

    rom: Rom | None
    label: str = ""

    def __str__(self) -> str:
        name = str(self.rom or "Dummy")
        return f"{name}, {quoted(self.label)}" if self.label else name


@dataclass(frozen=True)
class Slots:
    """The slots of a node by index, in numerical order; an index that is not there is a Dummy.

    As settings: `sensorN = ID | Dummy`, with a label after a comma.
    """

    PREFIX: ClassVar = "sensor"

    by_index: Mapping[int, Slot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_index", dict(sorted(self.by_index.items())))

    @staticmethod
    def parse_entry(index: int, raw: Raw) -> Slot:
        """Return the slot of an entry, or raise ValueError."""
        name, *labels = [raw] if isinstance(raw, str) else raw or [""]  # a comma alone
        if not name:
            raise ValueError("an id or Dummy expected, not nothing (`oemgateway sensors` shows the ids)")
        if len(labels) > 1:
            raise ValueError(f"an id and one label expected, not {', '.join(labels)} (a comma needs quotes)")
        label = "".join(labels)
        try:
            _check_index(index)
            return Slot(_parse_rom(name), label)
        except ValueError:
            if is_id(label):
                raise ValueError(f"the id stands before the label: {label}, {quoted(name)}") from None
            raise

    def shown(self) -> dict[str, str]:
        """Return the entries again."""
        return {f"sensor{index}": str(slot) for index, slot in self.by_index.items()}

    def roms(self) -> list[Rom]:
        """Return every sensor once, in the order of their first indices."""
        return list(dict.fromkeys(slot.rom for slot in self.by_index.values() if slot.rom))

    def indices(self, rom: Rom | None = None) -> list[int]:
        """Return the indices of a sensor, or of all sensors."""
        return [i for i, slot in self.by_index.items() if slot.rom and rom in (None, slot.rom)]

    def numbered(self) -> list[tuple[int, Slot]]:
        """Return every index up to the highest, with its slot."""
        highest = max(self.by_index, default=0)
        return [(index, self.by_index.get(index, Slot(None))) for index in range(1, highest + 1)]

    def gaps(self) -> list[int]:
        """Return the indices below the highest that no entry names."""
        return [index for index, _ in self.numbered() if index not in self.by_index]

    def frame_values(self, readings: Mapping[Rom, Reading]) -> tuple[float | None, ...]:
        """Return the temperatures by position, None if there is none."""
        return tuple(_temperature(readings, slot.rom) for _, slot in self.numbered())

    def remarks(self) -> Iterator[tuple[str, str]]:
        """Yield key and message of what is allowed but worth a remark."""
        if not self.indices():
            yield "sensor1", "no sensor is named: there is nothing to read"
        after = {gap: min(n for n in self.by_index if n > gap) for gap in self.gaps()}
        for index, run in groupby(after, key=after.__getitem__):
            first, *rest = run
            which = f"indices {first} to {rest[-1]} have" if rest else f"index {first} has"
            yield f"sensor{index}", f"{which} no sensor: treated as Dummy"
        for index, slot in self.by_index.items():
            if is_id(slot.label):
                yield f"sensor{index}", f"its label is an id: name {slot.label} on a line of its own"
        for rom in self.roms():
            first, *others = self.indices(rom)
            if words := unread(rom):
                yield f"sensor{first}", f"{rom}: {words}"
            for index in others:
                yield f"sensor{index}", f"{rom} is sensor{first} too: its value is sent at both indices"


@dataclass(frozen=True)
class Offsets:
    """Kelvin to add to the values at some indices: `offsetN = -0.3`."""

    PREFIX: ClassVar = "offset"

    by_index: Mapping[int, float] = field(default_factory=dict)

    @staticmethod
    def parse_entry(index: int, raw: Raw) -> float:
        """Return the kelvin of an entry, or raise ValueError."""
        kelvin: float = convert(float, raw)
        _check_index(index)
        return kelvin

    def shown(self) -> dict[str, str]:
        """Return the entries again."""
        return {f"offset{index}": in_full(kelvin) for index, kelvin in sorted(self.by_index.items())}

    def applied(self, values: Sequence[float | None]) -> tuple[float | None, ...]:
        """Return the values with their offsets added, to four decimals, the precision of a sensor."""
        return tuple(
            value if value is None or index not in self.by_index else round(value + self.by_index[index], 4)
            for index, value in enumerate(values, 1)
        )


def _check_index(index: int) -> None:
    if index > HIGHEST:
        raise ValueError(f"an index from 1 to {HIGHEST} expected, not {index}")


def is_id(text: str) -> bool:
    """Tell whether a text is the id of a device."""
    try:
        Rom.parse(text)
    except ValueError:
        return False
    return True


def _parse_rom(text: str) -> Rom | None:
    if text.lower() == "dummy":
        return None
    if unparted := _UNPARTED.fullmatch(text):
        _parse_rom(unparted[1])  # a fault in the id itself is reported first
        if is_id(unparted[2]):
            raise ValueError(f"one id expected, not two: name {unparted[2]} on a line of its own")
        raise ValueError(f"a comma expected before the label: {unparted[1]}, {quoted(unparted[2])}")
    try:
        return Rom.parse(text)
    except ValueError as error:
        if (inside := _INSIDE.search(text)) and is_id(inside[0]):
            quotes = ", and the label outside of its quotes" * ("," in text)
            raise ValueError(f"the id alone expected, {inside[0]}{quotes}, not {text}") from None
        raise ValueError(f"{error}{did_you_mean(text, ['dummy'])}") from None


def _temperature(readings: Mapping[Rom, Reading], rom: Rom | None) -> float | None:
    reading = readings.get(rom) if rom else None
    return reading if isinstance(reading, float) else None
