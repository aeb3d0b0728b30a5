"""What a command says to the person who typed it, and its exit statuses."""

from __future__ import annotations

import json
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

OK, FAILED, USAGE, CONFIGURATION = 0, 1, 2, 78
"""What a command returns; the last is EX_CONFIG of sysexits.h."""


UNBROKEN = "\u00a0"
"""A space at which no line ends."""


def wrapped(words: str, width: int, begin: str) -> list[str]:
    """Return words in lines of at most so many characters, the first after `begin`, the others indented."""
    lines = textwrap.wrap(
        words,
        width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace(UNBROKEN, " ") for line in lines]


def say(lines: Iterable[str]) -> None:
    """Print lines, each escaped."""
    sys.stdout.writelines(f"{plain(line)}\n" for line in lines)


def say_json(answer: object) -> None:
    """Print JSON, for a program."""
    sys.stdout.write(f"{json.dumps(answer)}\n")


def say_aside(words: str) -> None:
    """Say on standard error what is wrong, in one line."""
    warn([f"oemgateway: {plain(words)}"])


def warn(lines: Iterable[str]) -> None:
    """Print lines on standard error; if that fails, only the exit status is left."""
    with suppress(OSError):
        sys.stderr.writelines(f"{line}\n" for line in lines)
