"""Questions to the person at the terminal, each of which an option may have answered beforehand."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.process.output import naming
from gateway.settings import convert
from gateway.text.plain import plain
from gateway.text.terminal import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_LONGEST = 1000
"""Characters of a secret in a file."""

ANSWERS = {
    "names": ("TEXT", "names of the sensors, in the order of the list, with commas between"),
    "radio": ("PORT", "the serial port to ask for a radio board, or none"),
    "trial": ("YES|NO", "read simulated sensors where nothing is found"),
    "to": ("WHERE", "where the readings go: emoncms, mqtt, page, network or none, with commas between"),
    "url": ("URL", "the address of Emoncms"),
    "broker": ("HOST", "the MQTT broker, as HOST or HOST:PORT"),
    "user": ("NAME", "the user at the broker"),
    "start": ("YES|NO", "start the service"),
}
"""The questions that an option answers: its metavar and its help."""

SECRETS = {
    "apikey": "the write key of Emoncms",
    "broker-password": "the password of the user at the broker",
    "page-password": "the password of the page",
}
"""Those that a file or the environment answers: any user of the machine can read an argument."""


class Refused(ValueError):
    """An answer that was given beforehand and is wrong."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add an option for each answer."""
    parser.add_argument("--yes", action="store_true", help="ask nothing: take every other default")
    answers = parser.add_argument_group("answers that are given beforehand")
    for name, (metavar, about) in ANSWERS.items():
        answers.add_argument(f"--{name}", metavar=metavar, help=about)
    for name, about in SECRETS.items():
        answers.add_argument(
            f"--{name}-file",
            metavar="FILE",
            help=f"the file with {about}, - for standard input (or {_variable(name)} in the environment)",
        )


def answered(options: argparse.Namespace) -> dict[str, str]:
    """Return the answers that were given beforehand; a variable that is empty gives none.

    Raises OSError if a file of one cannot be read, and Refused if an option or its file is empty, as that of
    a script whose own variable is not set: only without names does everything stay as it is.
    """
    given = {name: getattr(options, name) for name in ANSWERS}
    for name in SECRETS:
        file = getattr(options, f"{name.replace('-', '_')}_file")
        variable = os.environ.get(_variable(name), "").strip() or None
        given[name] = variable if file is None else file and _secret_in(file)
    given = {name: text.strip() for name, text in given.items() if text is not None}
    for name, text in given.items():
        if not text and name != "names":
            raise Refused(f"{option_of(name)}: a value expected, not nothing")
    return given


def option_of(name: str) -> str:
    """Return the option that gives an answer beforehand."""
    return f"--{name}-file" if name in SECRETS else f"--{name}"


def _variable(name: str) -> str:
    return f"OEMGATEWAY_{name.replace('-', '_').upper()}"


def _secret_in(file: str) -> str:
    if file == "-":
        return sys.stdin.readline(_LONGEST).strip()
    with naming(file), Path(file).open(encoding="utf-8", errors="replace") as opened:
        return opened.readline(_LONGEST).strip()


class Questions:
    """Asks one thing after another. `given` are answers by name; if `quiet`, the others are the defaults."""

    def __init__(self, given: Mapping[str, str], *, quiet: bool) -> None:
        self._given = dict(given)
        self.quiet = quiet
        self.typed: set[str] = set()
        """The secrets that were typed or given, which are never shown."""

    def ask(  # noqa: PLR0913  (a question, and what is special about it)
        self,
        name: str,
        question: str,
        default: str,
        read: Callable[[str], T],
        *,
        enter: str = "",
        secret: bool = False,
    ) -> T:
        """Return what `read` makes of the answer; where it raises ValueError, say so and ask again.

        `enter` is what stands for the default in the question, where that cannot be shown. Raises Refused
        where a wrong answer was given beforehand, and KeyboardInterrupt at the end of the input too.
        """
        if name in self._given or self.quiet:
            text = self._given.pop(name, default)
            try:
                return self._read(text, read, secret=secret)
            except ValueError as error:
                raise Refused(f"{option_of(name)}: {error}") from None
        while True:
            typed = _typed(plain(f"{question} [{enter or default}]: "), secret=secret).strip()
            try:
                return self._read(typed or default, read, secret=secret)
            except ValueError as error:
                say([f"  {error}"])

    def has(self, name: str) -> bool:
        """Tell whether the answer to a question was given beforehand."""
        return name in self._given

    def agrees(self, name: str, question: str, *, default: bool = True) -> bool:
        """Return the answer to a question of yes or no."""
        return self.ask(name, question, "yes" if default else "no", yes)

    def _read(self, text: str, read: Callable[[str], T], *, secret: bool) -> T:
        if secret and text:
            self.typed.add(text)
        return read(text)


def yes(text: str) -> bool:
    """Tell whether a text says yes. Raises ValueError if it says neither that nor no."""
    short = {"y": "yes", "n": "no"}.get(text.lower(), text)
    is_yes: bool = convert(bool, short)
    return is_yes


def _typed(prompt: str, *, secret: bool) -> str:
    try:
        return getpass.getpass(prompt) if secret else input(prompt)
    except EOFError:
        raise KeyboardInterrupt from None
    except UnicodeDecodeError:
        return ""
