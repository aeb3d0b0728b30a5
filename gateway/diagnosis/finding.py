"""What is found when the gateway and what it stands on are examined: a verdict in words, and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.text.plain import plain


class Verdict(Enum):
    """How something is, in the word that its line begins with."""

    GOOD = "ok"
    BAD = "FAULT"
    UNKNOWN = "?"


@dataclass(frozen=True)
class Finding:
    """What was found, and the cure; `subject`, whose it is, is filled in by the one who asked for it."""

    verdict: Verdict
    found: str
    cure: str = ""
    subject: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether something has to be put right."""
        return self.verdict is Verdict.BAD

    def __str__(self) -> str:
        parts = (f"{self.verdict.value:<5} {self.subject}", self.found, self.cure)
        return plain(": ".join(filter(None, parts)))


def good(found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(Verdict.GOOD, found)


def bad(found: str, cure: str = "") -> Finding:
    """Return that something is wrong, with what to do about it."""
    return Finding(Verdict.BAD, found, cure)


def unknown(found: str, cure: str = "") -> Finding:
    """Return that something cannot be told, or is wrong only if the user meant it otherwise."""
    return Finding(Verdict.UNKNOWN, found, cure)
