"""What the numbers of a node mean: the bytes of a packet, or values, with their scale and their names.

The letters of `datacodes` are those of emonhub and of Python's struct: b B h H i I l L q Q f d, least
significant byte first. 0 leaves a value as it came; in a packet each byte is then a value.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, repeat, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import check_node
from gateway.settings import alternatives, convert, setting
from gateway.text.numeral import bounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NO_READING = frozenset({300, 302, 304, -127})
"""What stands for a sensor that is absent, out of range or faulty, in °C.

The first three are those of emonTx and emonPi, the last that of the library DallasTemperature for Arduino.
"""

_SIZES = {code: struct.calcsize(f"<{code}") for code in "bBhHiIlLqQfd"}
_THROUGH = "0"
_MOST_HINTED = 50
"""Letters of datacodes without commas that are repeated with them."""
_WHITENED = bytes(byte ^ 0x55 for byte in range(256))
_CELSIUS = ("c", "°c")
_TEMPERATURE = re.compile(r"t[0-9]+|(.*[^a-z])?temp(erature|ex)?([^a-z].*)?", re.IGNORECASE)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")


class Decoded(NamedTuple):
    """Values by position, None for a gap, and the names of those that have one."""

    values: tuple[float | None, ...]
    names: tuple[str, ...] = ()


def check_id(node: str) -> None:
    """Raise ValueError for text that is neither the number of a node nor a short name."""
    if not node.isdecimal():
        check_node(node)
    elif not _NUMBER.fullmatch(node) or int(node) > 255:
        raise ValueError(f"the number of a node, 0 to 255, or a short name expected, not {node}")


def _check_code(code: str, hint: str = "") -> None:
    if code not in (*_SIZES, _THROUGH):
        raise ValueError(f"{alternatives((*_SIZES, _THROUGH))} expected, not {code}{hint}")


def _check_codes(codes: Iterable[str]) -> None:
    for code in codes:
        letters = re.sub(r"[\s;]", "", code)
        is_list = 1 < len(letters) < _MOST_HINTED and {*letters} <= {*_SIZES}
        _check_code(code, f" (did you mean {', '.join(letters)}?)" * is_list)
    if _THROUGH in codes and codes != (_THROUGH,):
        raise ValueError("a letter for every value expected, or 0 alone")


def _check_scale(text: str, hint: str = "") -> None:
    if not 1e-9 <= abs(convert(float, text)) <= 1e9:
        raise ValueError(f"a number from 1e-9 to 1e9, or that below zero, expected, not {text}{hint}")


def _check_scales(texts: Iterable[str]) -> None:
    for text in texts:
        _check_scale(text, " (a decimal has a point, not a comma)" * (text == "0"))


class _Meaning(NamedTuple):
    """How one value is scaled: by `top / bottom`, in lowest terms.

    If `is_scaled` is false, it is not known whether a temperature is in degrees or in tenths of a degree.
    """

    top: int
    bottom: int
    is_temperature: bool
    is_scaled: bool

    @classmethod
    def of(cls, name: str, scale: str | None, unit: str) -> _Meaning:
        from fractions import Fraction  # noqa: PLC0415  (200 kB, needed only with [nodes])

        is_temperature = unit.lower() in _CELSIUS if unit else bool(_TEMPERATURE.fullmatch(name))
        return cls(*Fraction(scale or 1).as_integer_ratio(), is_temperature, bool(unit or scale))


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What [nodes] says of a node: its name, and what its values are.

    With `datacodes`, a letter for each value, a payload is exactly as long as these; with `datacode`, one
    letter for all, it has as many values as come. `scales` that are not given are 1; `scale` is one for all.
    A temperature in degrees that is one of NO_READING is None. Temperatures are the values in C or °C and, of
    those without a unit, the ones that are called T1 or temp; these are in degrees where a scale is given for
    them, or where they come with a decimal point, or as a float. `whitening` undoes what the emonTx CM may do
    to its payload: each byte comes XORed with 0x55.
    """

    name: str | None = setting(None, was=("nodename",))
    names: tuple[str, ...] = setting(())
    datacodes: tuple[str, ...] = setting((), check=_check_codes)
    datacode: str = setting("h", check=_check_code)
    scales: tuple[str, ...] = setting((), check=_check_scales)
    scale: str | None = setting(None, check=_check_scale)
    units: tuple[str, ...] = setting(())
    whitening: bool = setting(default=False)

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """The letter of each value, where the section says how many there are."""
        return () if _THROUGH in self.datacodes else self.datacodes

    @property
    def letter(self) -> str:
        """The letter of every value, where the section does not say how many there are."""
        return _THROUGH if self.datacodes else self.datacode

    @property
    def size(self) -> int:
        """The length of a payload, or 0 if any number of values may come."""
        return sum(_SIZES[code] for code in self.codes)

    def decode(self, data: bytes) -> Decoded | str:
        """Return the values of a payload, or the reason why it has none."""
        code = "B" if self.letter == _THROUGH else self.letter
        layout = f"<{''.join(self.codes) or f'{len(data) // _SIZES[code]}{code}'}"
        if len(data) != struct.calcsize(layout):
            return "length-mismatch"
        return self._decoded(struct.unpack(layout, data.translate(_WHITENED) if self.whitening else data))

    def interpret(self, values: Sequence[float | None]) -> Decoded | str:
        """Return values that came as numbers, scaled and named, or the reason why they are refused."""
        if self.codes and len(values) != len(self.codes):
            return "length-mismatch"
        return self._decoded(values)

    def interpret_named(
        self, names: Iterable[str], values: Iterable[float | None]
    ) -> tuple[float | None, ...]:
        """Return values that came with names, by what the section says of these names."""
        return tuple(
            _scaled(value, self._by_name.get(name) or _Meaning.of(name, self._default_scale, ""))
            for name, value in zip(names, values, strict=True)
        )

    def described(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield name, letter, scale and unit of each value that the section describes."""
        for name, code, scale, unit in islice(self._given(), len(self.codes) or None):
            yield name, code, scale or "1", unit

    def _decoded(self, values: Sequence[float | None]) -> Decoded:
        meanings = chain(self._meanings, repeat(self._default_meaning))
        return Decoded(tuple(map(_scaled, values, meanings)), self.names[: len(self.codes) or None])

    def _given(self) -> Iterator[tuple[str, str, str | None, str]]:
        """Yield name, letter, scale (None: not given) and unit of each value that the section describes."""
        for name, code, scale, unit in zip_longest(self.names, self.codes, self.scales, self.units):
            yield name or "", code or self.letter, scale or self._default_scale, unit or ""

    @property
    def _default_scale(self) -> str | None:
        """The scale of the values without one of their own."""
        return None if self.scales else self.scale

    @cached_property
    def _meanings(self) -> list[_Meaning]:
        return [_Meaning.of(name, scale, unit) for name, _, scale, unit in self._given()]

    @cached_property
    def _default_meaning(self) -> _Meaning:
        return _Meaning.of("", self._default_scale, "")

    @cached_property
    def _by_name(self) -> dict[str, _Meaning]:
        return dict(zip(self.names, self._meanings, strict=False))


def _scaled(value: float | None, meaning: _Meaning) -> float | None:
    """Return the double nearest to the exact product of value and scale; at scale 1 the value as it is."""
    if value is None or not math.isfinite(value):
        return None
    top, bottom, is_temperature, is_scaled = meaning
    in_degrees = is_temperature and (is_scaled or isinstance(value, float))
    if top != bottom:
        numerator, denominator = value.as_integer_ratio()
        try:
            value = numerator * top / (denominator * bottom)
        except OverflowError:
            return None
    return None if in_degrees and value in NO_READING else bounded(value)


_UNKNOWN = Decoder()


@dataclass(frozen=True)
class Nodes:
    """The section [nodes]: the decoders of the nodes that it knows.

    Packets of any other node are pairs of bytes, as signed numbers of 16 bits.
    """

    decoders: Mapping[str, Decoder] = field(default_factory=dict)

    def decode(self, node: str, data: bytes) -> Decoded | str:
        """Return the values of a packet of a node, or the reason why it has none."""
        if not data:
            return "no-payload"
        if decoder := self.decoders.get(node):
            return decoder.decode(data)
        if len(data) % 2:
            return "odd-length"
        return Decoded(struct.unpack(f"<{len(data) // 2}h", data))

    def interpret(self, node: str, values: Sequence[float | None]) -> Decoded | str:
        """Return the values that a node sent as numbers, or the reason why they are refused."""
        decoder = self.decoders.get(node)
        return decoder.interpret(values) if decoder else Decoded(tuple(values))

    def interpret_named(
        self, node: str, names: Iterable[str], values: Iterable[float | None]
    ) -> tuple[float | None, ...]:
        """Return the values that a node sent with names."""
        return self.decoders.get(node, _UNKNOWN).interpret_named(names, values)
