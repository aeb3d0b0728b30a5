"""A class's fields as its settings: declared once, read from text, checked without any I/O."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Raw = str | list[str]
"""A value as ConfigObj reads it: text, or a list if it has commas."""

LogLevel = Literal["DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"]
"""How much is logged."""

UNKNOWN = "no such setting"
"""The fault of a key that is neither a setting of its section nor similar to one."""

T = TypeVar("T")

_EMPTY = "a value expected, not nothing"
_MOST = 1_000_000_000
"""31 years in seconds: three times that still fits an expiry of MQTT, and a time-out of the system."""
_TYPOGRAPHIC = re.compile(r"[\u2018-\u201f\xab\xbb].*[\u2018-\u201f\xab\xbb]", re.DOTALL)
"""A value in the quotes of printed text, as it is copied from a web page or a word processor."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0[xX][0-9a-fA-F]{1,16}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
ANSWERS = dict.fromkeys(("yes", "true", "on", "1"), True) | dict.fromkeys(("no", "false", "off", "0"), False)
"""What stands for yes and for no, in small letters."""


def setting(  # noqa: PLR0913  (each is a property of its own)
    default: Any = dataclasses.MISSING,  # noqa: ANN401  (the field's annotation says what it is)
    *,
    was: tuple[str, ...] = (),
    check: Callable[[Any], object] | None = None,
    secret: bool = False,
    compare: bool = True,
    at_start: bool = False,
    hint: str = "",
) -> Any:  # noqa: ANN401  (as dataclasses.field)
    """Declare a field that is a setting; without a default it is required.

    `was` are older names it is also read by, `check` raises ValueError for a value that is not allowed, and a
    `secret` is shown neither in repr nor in --show-settings. If `compare` is false, an edit of it alone
    does not reopen the plugin; if `at_start` is true, an edit takes effect at the next start of the
    gateway. `hint` says what it is, or where to find it, to a user who has left it empty.
    """
    return dataclasses.field(
        default=default,
        repr=not secret,
        compare=compare,
        metadata={
            "was": was,
            "check": check,
            "secret": secret,
            "at_start": at_start,
            "hint": f": {hint}" if hint else "",
        },
    )


def at_least(low: float) -> Callable[[float], None]:
    """Return a check for numbers from `low` up, to what timers and protocols can hold."""

    def check(value: float) -> None:
        if value < low:
            raise ValueError(f"{low:g} or more expected, not {value:g}")
        between(low, _MOST)(value)

    return check


def between(low: float, high: float) -> Callable[[float], None]:
    """Return a check for numbers from `low` to `high`."""

    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:.10g} expected, not {value:g}")

    return check


def alternatives(words: Iterable[object]) -> str:
    """Return "a, b or c"."""
    *first, last = map(str, words)
    return f"{', '.join(first)} or {last}" if first else last


_ADDRESS = ("url", "server", "host", "domain", "address", "broker", "hostname", "ip")
"""Words for where a far end is; each type has one of them."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word nearest to this one, or "" if none is near."""
    import difflib  # noqa: PLC0415  (140 kB that no correct file needs)

    by_lower = {name.lower(): name for name in sorted(known)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" for the known word nearest to this one, or ""."""
    meant = nearest(word, known)
    return f" (did you mean {meant}?)" if meant else ""


class SettingsFault(ValueError):
    """Settings that are wrong: `faults` are pairs of key (None: the section itself) and message.

    `missing` are the settings without a default that are not given, each with its message.
    """

    def __init__(
        self, faults: list[tuple[str | None, str]], missing: Mapping[str, str] | None = None
    ) -> None:
        self.faults = faults
        self.missing = missing or {}
        messages = [f"{key}: {message}" if key else message for key, message in faults]
        super().__init__("; ".join([*messages, *self.missing.values()]))


def declared(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a dataclass that are settings (those its constructor takes), by name."""
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def number_of(key: str, family: Any) -> int | None:  # noqa: ANN401  (any type with a PREFIX)
    """Return the number of a key that is the PREFIX of a type and a number, None if it is another key."""
    found = re.fullmatch(f"{family.PREFIX}([1-9][0-9]*)", key)
    return int(found[1][:9]) if found else None


def taker(cls: type) -> Callable[[str], bool]:
    """Return a function that tells whether a class has a setting of a name, older names included."""
    return _Reader(cls).knows


def build(cls: type[T], entries: Mapping[str, Raw]) -> T:
    """Make a `cls` of the entries of its section.

    A field whose type has a `PREFIX`, such as "sensor", takes every key of that and a number (`sensorN`): the
    type is called with what its `parse_entry(number, value)` gives, by number, and its `shown()` gives the
    entries back.

    Raises SettingsFault with every fault at once.
    """
    reader = _Reader(cls)
    faults: list[tuple[str | None, str]] = []
    for key, raw in entries.items():
        try:
            reader.take(key, raw)
        except ValueError as error:
            faults.append((key, str(error)))
    meant = "".join(message for _, message in faults)
    missing = {key: said for key, said in reader.missing().items() if f"(did you mean {key}?)" not in meant}
    if not faults and not missing:
        try:
            return cls(**reader.values())
        except SettingsFault:
            raise
        except ValueError as error:
            faults.append((None, str(error)))
    raise SettingsFault(faults, missing)


_hints = functools.cache(typing.get_type_hints)
"""They are compiled anew at each call."""


class _Reader:
    """Turns the entries of a section into the fields of a class."""

    def __init__(self, cls: type) -> None:
        self._fields = declared(cls)
        self._hints = _hints(cls)
        self._families = {
            name: self._hints[name] for name in self._fields if hasattr(self._hints[name], "PREFIX")
        }
        self._names = {
            spelling: name
            for name, field in self._fields.items()
            if name not in self._families
            for spelling in (name, *field.metadata.get("was", ()))
        }
        self._members: dict[str, dict[Any, Any]] = {name: {} for name in self._families}
        self._values: dict[str, Any] = {}

    def knows(self, key: str) -> bool:
        return key in self._names or any(number_of(key, family) for family in self._families.values())

    def take(self, key: str, raw: Raw) -> None:
        for name, family in self._families.items():
            if number := number_of(key, family):
                self._members[name][number] = family.parse_entry(number, raw)
                return
        if key not in self._names:
            raise ValueError(f"{UNKNOWN}{self._nearest(key)}")
        name = self._names[key]
        if name in self._values:
            raise ValueError(f"the same setting as {name}, which is given too")
        self._values[name] = None  # given, if wrongly: it is not missing as well
        if not raw and (hint := self._fields[name].metadata.get("hint")):
            raise ValueError(f"{_EMPTY}{hint}")
        self._values[name] = convert(self._hints[name], raw)
        check = self._fields[name].metadata.get("check")
        if check is not None and self._values[name] is not None:
            check(self._values[name])

    def _nearest(self, key: str) -> str:
        """Return " (did you mean X?)" for a misspelt setting, such as sensor2 for Sensor02."""
        plain = re.sub(r"(?<=[a-z])s?[\W_]*0*(?=[0-9])", "", key.strip().lower())
        members = [plain for family in self._families.values() if number_of(plain, family)]
        number = re.search(r"[1-9][0-9]*$", plain)
        examples = [f"{family.PREFIX}{number[0] if number else 1}" for family in self._families.values()]
        address = next((word for word in _ADDRESS if word in self._names), "")
        if address and plain in _ADDRESS:
            return f" (did you mean {address}?)"
        return did_you_mean(key, members or [*self._names, *examples])

    def missing(self) -> dict[str, str]:
        """Return the settings that are required and not given, each with its message."""
        return {
            name: f"{name} is missing{field.metadata.get('hint', '')}"
            for name, field in self._fields.items()
            if field.default is field.default_factory is dataclasses.MISSING
            and name not in {**self._families, **self._values}
        }

    def values(self) -> dict[str, Any]:
        return self._values | {name: family(self._members[name]) for name, family in self._families.items()}


def convert(kind: Any, raw: Raw) -> Any:  # noqa: ANN401  (a type in, one of its values out)
    """Return the text as a value of the type, or raise ValueError with what was expected and found."""
    origin = typing.get_origin(kind)
    if _TYPOGRAPHIC.fullmatch(raw if isinstance(raw, str) else ",".join(raw)):
        raise ValueError('straight quotes (") expected, or none, not typographic ones')
    if origin in (types.UnionType, typing.Union):
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
        return convert(kind, raw) if raw else None
    if origin is tuple:
        return tuple(raw) if isinstance(raw, list) else (raw,) if raw else ()
    if isinstance(raw, list) and len(raw) == 1:
        raise ValueError("one value expected, without a comma behind it")
    if isinstance(raw, list) and kind is float and _NUMBER.fullmatch(number := ".".join(raw)):
        raise ValueError(f"a number with a point expected, not with a comma (did you mean {number}?)")
    if isinstance(raw, list):
        # The value itself is not repeated: it may be a secret.
        raise ValueError(
            f"one value expected, not {len(raw)} with commas between (text with a comma needs quotes)"
        )
    if not raw:
        raise ValueError(_EMPTY)
    if origin is typing.Literal:
        choices = {str(choice).lower(): choice for choice in typing.get_args(kind)}
        if raw.lower() not in choices:
            words = [str(choice) for choice in choices.values()]
            raise ValueError(f"{alternatives(words)} expected, not {raw}{did_you_mean(raw, words)}")
        return choices[raw.lower()]
    return _scalar(kind, raw)


def _scalar(kind: Any, text: str) -> Any:  # noqa: ANN401  (as convert)
    if kind is bool:
        if text.lower() not in ANSWERS:
            raise ValueError(f"yes or no expected, not {text}")
        return ANSWERS[text.lower()]
    if kind is int:
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"a whole number expected, not {text}")
        return int(text, 16 if text.lower().startswith("0x") else 10)
    if kind is float:
        if not _NUMBER.fullmatch(text) or math.isinf(float(text)):
            raise ValueError(f"a number expected, not {text}")
        return float(text)
    if kind is Path:
        if not text.startswith("/"):
            raise ValueError(f"an absolute path expected, such as /{text.lstrip('~./')}, not {text}")
        return Path(text)
    if kind is str:
        return text
    return kind.parse(text)


def shown(settings: Any) -> dict[str, str]:  # noqa: ANN401  (any dataclass of settings)
    """Return the settings in force as a file would give them, key by key, with secrets masked."""
    lines: dict[str, str] = {}
    for name, field in declared(type(settings)).items():
        value = getattr(settings, name)
        if hasattr(value, "PREFIX"):
            lines |= value.shown()
        elif field.metadata.get("secret"):
            lines[name] = "********" if value else ""
        elif isinstance(value, bool):
            lines[name] = "yes" if value else "no"
        elif isinstance(value, float):
            lines[name] = in_full(value)
        elif isinstance(value, tuple):
            lines[name] = ", ".join(quoted(text) or '""' for text in value) + "," * (len(value) == 1)
        elif value != "":  # text that a file cannot hold
            lines[name] = "" if value is None else quoted(str(value))
    return lines


def secrets(settings: Any) -> list[str]:  # noqa: ANN401  (any dataclass of settings)
    """Return the names of the secrets that are set."""
    fields = declared(type(settings)).items()
    return [name for name, field in fields if field.metadata.get("secret") and getattr(settings, name)]


def in_full(number: float) -> str:
    """Return a number with as many digits as it needs to be read back as it is."""
    return repr(number).removesuffix(".0")


def quoted(text: str) -> str:
    """Return text in quotes if it needs them in a file."""
    if "," in text or "#" in text or text != text.strip("\"' \t"):
        return f"'{text}'" if '"' in text else f'"{text}"'
    return text
