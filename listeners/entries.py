"""What is read at numbered entries: `nameN = SOMETHING | Dummy`, with a label after a comma.

N fixes the indices of the entry, as with `sensorN`: each entry has as many as its listener has kinds of
values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.plugin import Health, Sampler, Series
from gateway.process.log_limit import LogLimit
from gateway.settings import Raw, quoted
from gateway.text.plain import without_secrets
from gateway.text.words import failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HIGHEST = 199
"""The highest N: a frame has a value or a gap at every index up to its highest."""


@dataclass(frozen=True)
class Entry:
    """What an entry names, None for a Dummy, and its label; `text` is how the file has it.

    `title` is the label, or a name made of the text where there is none.
    """

    what: Any
    text: str
    title: str
    label: str = ""


@dataclass(frozen=True)
class Entries:
    """Entries by number, in numerical order; each subclass says what a text names."""

    PREFIX: ClassVar[str]

    by_number: Mapping[int, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_number", dict(sorted(self.by_number.items())))

    @classmethod
    def parse(cls, text: str) -> Any:  # noqa: ANN401  (what it is, the subclass knows)
        """Return what a text names; raises ValueError with what was expected and found."""
        raise NotImplementedError

    @classmethod
    def name(cls, number: int, text: str) -> str:  # noqa: ARG003  (for a subclass)
        """Return what an entry without a label is called: it goes wherever its values go."""
        return text

    @classmethod
    def parse_entry(cls, number: int, raw: Raw) -> Entry:
        """Return the entry of a setting, or raise ValueError."""
        text, *labels = [raw] if isinstance(raw, str) else raw
        if len(labels) > 1:
            raise ValueError(
                f"one value and one label expected, not {', '.join(labels)} (a comma needs quotes)"
            )
        if number > HIGHEST:
            raise ValueError(f"a number from 1 to {HIGHEST} expected, not {number}")
        is_dummy = text.lower() == "dummy"
        label = "".join(labels)
        return Entry(None if is_dummy else cls.parse(text), text, label or cls.name(number, text), label)

    def shown(self) -> dict[str, str]:
        """Return the entries again."""
        return {
            f"{self.PREFIX}{number}": ", ".join(map(quoted, filter(None, (entry.text, entry.label))))
            for number, entry in self.by_number.items()
        }

    def named(self) -> dict[int, Entry]:
        """Return the entries that are not a Dummy."""
        return {number: entry for number, entry in self.by_number.items() if entry.what is not None}


class Troubled(OSError):
    """An entry is in trouble, and has values that say so; `fault` is what is counted."""

    def __init__(self, words: str, fault: str, values: Sequence[float | None]) -> None:
        super().__init__(words)
        self.fault = fault
        self.values = values


@dataclass(kw_only=True)
class EntrySampler(Sampler):
    """Reads what its entries name; the values of entry N are at the N-th run of indices."""

    KINDS: ClassVar[Sequence[tuple[str, str]]]
    """Kind and unit of each value of an entry."""

    def __post_init__(self) -> None:
        self._faults: Counter[str] = Counter()
        self._troubles: dict[int, str] = {}
        self._logged: set[int] = set()
        self._limit = LogLimit()

    @property
    def entries(self) -> Entries:
        """What is read."""
        raise NotImplementedError

    def sample_entry(self, number: int, entry: Entry) -> Sequence[float | None]:
        """Return the values of an entry; raises OSError if it has none."""
        raise NotImplementedError

    def sample(self) -> Sequence[float | None]:
        """Return the values of all entries; one that fails leaves gaps."""
        each = len(self.KINDS)
        values: list[float | None] = [None] * (each * max(self.entries.by_number, default=0))
        for number, entry in self.entries.named().items():
            try:
                found = self.sample_entry(number, entry)
                if found:  # otherwise nothing is known yet
                    self._troubles.pop(number, None)
            except Troubled as trouble:
                self._troubles[number] = str(trouble)
                self._faults[trouble.fault] += 1
                found = trouble.values
            except OSError as error:
                self._troubles[number] = failure(error)
                self._faults[error.strerror or str(error)] += 1
                found = ()
            values[each * (number - 1) : each * (number - 1) + len(found)] = found
        self._log_changes()
        return values

    def catalogue(self) -> Iterable[Series]:
        """Return every index of each entry."""
        for number, entry in self.entries.by_number.items():
            is_named = entry.what is not None
            for index, (kind, unit) in enumerate(self.KINDS, len(self.KINDS) * (number - 1) + 1):
                yield Series(
                    node=self.node,
                    index=index,
                    label=f"{entry.title} {kind}" if is_named else entry.label,
                    unit=unit,
                    kind=kind if is_named else "",
                    identity=without_secrets(entry.text) if is_named else "",
                    interval=self.interval,
                    setting=f"{self.entries.PREFIX}{number}",
                    claimed=is_named,
                )

    def health(self) -> Health:
        """Return which entries have no value now, and why."""
        return Health(dict(self._faults), [*self._said(dict(self._troubles))])

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return that nothing is named, if so."""
        if not self.entries.named():
            yield f"{self.entries.PREFIX}1", "nothing is named: there is nothing to read"

    def _log_changes(self) -> None:
        """Log which entries have begun to be in trouble, at most once an hour each, and which work again."""
        begun = {
            number: words
            for number, words in self._troubles.items()
            if number not in self._logged and self._limit.allows(str(number), self.clock.monotonic())
        }
        for line in self._said(begun):
            self.log.warning("%s", line)
        well = self._logged - self._troubles.keys()
        for line in self._said(dict.fromkeys(sorted(well), "works again")):
            self.log.info("%s", line)
        self._logged = (self._logged - well) | begun.keys()

    def _said(self, words: Mapping[int, str]) -> Iterator[str]:
        """Yield a line for each entry; those with the same words share one."""
        together: dict[str, list[int]] = {}
        for number, said in words.items():
            together.setdefault(said, []).append(number)
        for said, numbers in together.items():
            yield f"{', '.join(self._named(number, said) for number in numbers)}: {said}"

    def _named(self, number: int, said: str) -> str:
        key, title = f"{self.entries.PREFIX}{number}", self.entries.by_number[number].title
        return key if title in said else f"{key} ({title})"
