"""What a check of the gateway, or of what it depends on, has found, and the cure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gateway.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(Enum):
    """The result of a check, as the first word of its line."""

    GOOD = "ok"
    BAD = "FAULT"
    UNKNOWN = "?"


@dataclass(frozen=True)
class Finding:
    """What was found, and the cure. The caller fills in `subject`, the section that was checked."""

    verdict: Verdict
    found: str
    cure: str = ""
    subject: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether there is something to correct."""
        return self.verdict is Verdict.BAD

    def __str__(self) -> str:
        parts = (f"{self.verdict.value:<5} {self.subject}", self.found, self.cure)
        return plain(": ".join(filter(None, parts)))


def good(found: str) -> Finding:
    """Return the finding that something is right."""
    return Finding(Verdict.GOOD, found)


def bad(found: str, cure: str = "") -> Finding:
    """Return the finding that something is wrong, with what to do about it."""
    return Finding(Verdict.BAD, found, cure)


def unknown(found: str, cure: str = "") -> Finding:
    """Return the finding that something is not known, or is wrong only if the user did not intend it."""
    return Finding(Verdict.UNKNOWN, found, cure)


def show(findings: Iterable[Finding]) -> bool:
    """Print each finding as soon as it is made; tell whether there is something to correct."""
    is_bad = False
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
        is_bad |= finding.is_bad
    return is_bad
