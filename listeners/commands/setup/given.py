"""Answers that were given beforehand are checked at once: the question of a wrong one may never be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listeners.commands.setup.changes import check_name
from listeners.commands.setup.questions import Refused, option_of, yes
from listeners.commands.setup.sending import EMONCMS, MQTT, NO_KEY, PAGE, checked, read_broker, read_ways

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_READERS: Mapping[str, Callable[[str], object]] = {
    "names": lambda text: [check_name(name) for name in text.split(",")],
    "trial": yes,
    "to": read_ways,
    "url": lambda text: checked(EMONCMS, {"url": text, "apikey": NO_KEY}),
    "broker": read_broker,
    "user": lambda text: checked(MQTT, {"user": text}),
    "start": yes,
    "apikey": lambda text: checked(EMONCMS, {"apikey": text}),
    "broker-password": lambda text: checked(MQTT, {"user": "any", "password": text}),
    "page-password": lambda text: checked(PAGE, {"password": text}),
}
"""What can be said of an answer without the others; the radio's port is always asked."""


def check(given: Mapping[str, str]) -> None:
    """Raise Refused where an answer that was given beforehand is wrong by itself."""
    for name, text in given.items():
        try:
            _READERS.get(name, str)(text)
        except ValueError as error:
            raise Refused(f"{option_of(name)}: {error}") from None
