"""The manual page oemgateway(1)."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from gateway import command as program
from gateway.manual import roff
from gateway.paths import DEFAULT_FILE, SOCKET, STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.manual.commands import Argument, Command

_HELP = "--help"
_WORD = re.compile(r"(--?\w[\w-]*)|(\w+)")

_DESCRIPTION = (
    "What is read and where the readings go stands in the configuration file, and an edit of it takes effect "
    "within a few seconds. What cannot be delivered waits on disk, also through a restart."
)
_AROUND: dict[str, dict[str, str]] = {
    "EXIT STATUS": {
        str(program.OK): "It did what it was asked for.",
        str(program.FAILED): "It could not, and said why. Some commands tell something by it: see there.",
        str(program.USAGE): "It was called in a way that it does not know.",
        str(program.CONFIGURATION): "The configuration file has a fault, or there is none.",
    },
    "SIGNALS": {
        "SIGTERM, SIGINT": "The gateway ends: it takes no more readings, and those that wait are on disk.",
        "SIGHUP": "It reads its configuration again, which it otherwise does within a few seconds of an "
        "edit. A file with a fault changes nothing: the faults are in the log.",
    },
    "FILES": {
        str(DEFAULT_FILE): "The settings; see `oemgateway.conf`(5).",
        f"{STATE}/queue.db": "The readings that wait to be delivered. Where the daemon may not write there, "
        "it is ~/.local/state/oemgateway/queue.db.",
        str(SOCKET): "Where the commands ask the running gateway.",
    },
    "ENVIRONMENT": {
        "EMONCMS, APIKEY": "For `oemgateway demo`: the address of an Emoncms, and the write key of an "
        "account on it.",
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM": "From systemd: where it wants to be "
        "told that the gateway is ready and alive, and that the log goes to the journal.",
        "XDG_STATE_HOME": "For a user who may not write to /var/lib: what to use instead of ~/.local/state.",
    },
}
"""What no parser knows, by section: terms and their meanings."""

EXAMPLES: dict[str, str] = {
    "Run the gateway on simulated sensors for half a minute": "oemgateway demo --seconds 30",
    "Find the ids of the sensors, and a line to paste for each": "oemgateway sensors",
    "Check a new configuration before it takes the place of the old one": "oemgateway check new.conf",
    "See how the gateway is": "oemgateway status",
    "Look for what is wrong with machine, buses and server": "oemgateway doctor",
    "Put what was refused into a spreadsheet": "oemgateway queue export --refused --csv refused.csv",
    "Send it once more, after its cause has been mended": "oemgateway queue retry",
}


def page(command: Command, date: str, version: str) -> str:
    """Return the page of the command and of all that may follow it."""
    return roff.page(_lines(command, date, version))


def _lines(command: Command, date: str, version: str) -> Iterator[str]:
    yield f'.TH {command.name.upper()} 1 {date} "{command.name} {version}" "User Commands"'
    yield roff.heading("SH", "NAME")
    yield rf"{command.name} \- {roff.words(_within_a_line(command.description))}"
    yield roff.heading("SH", "SYNOPSIS")
    yield from _synopsis(command)
    yield roff.heading("SH", "DESCRIPTION")
    yield from roff.paragraph(command.description)
    yield from roff.paragraph(command.epilog)
    yield from roff.paragraph(_DESCRIPTION)
    yield roff.heading("SH", "OPTIONS")
    yield from roff.paragraph("These stand before the command; `--help` behind one explains that command.")
    yield from _arguments(command.arguments)
    yield roff.heading("SH", "COMMANDS")
    for follower in islice(command.walk(), 1, None):
        yield roff.heading("SS", follower.name.removeprefix(f"{command.name} "))
        yield from _synopsis(follower)
        yield from roff.paragraph(_sentence(follower.description))
        yield from _arguments(argument for argument in follower.arguments if _HELP not in argument.spellings)
        yield from roff.paragraph(follower.epilog)
    for title, terms in _AROUND.items():
        yield roff.heading("SH", title)
        for term, meaning in terms.items():
            yield from roff.tagged([roff.bold(term)], meaning)
    yield roff.heading("SH", "EXAMPLES")
    for meaning, example in EXAMPLES.items():
        yield from roff.paragraph(f"{meaning}:")
        yield from roff.example([example])
    yield roff.heading("SH", "SEE ALSO")
    yield ".BR oemgateway.conf (5)"


def _synopsis(command: Command) -> list[str]:
    """Return the usage, whose pieces are not broken; --help is in every one, and said once."""
    pieces = [_usage_words(piece) for piece in command.usage if piece != "[-h]"]
    return [f'.SY "{roff.literal(command.name)}"', *pieces, ".YS"]


def _usage_words(piece: str) -> str:
    """Return a piece of a usage: what is typed as it stands in bold, what stands for something in italics."""
    marked = _WORD.sub(lambda found: roff.bold(found[1]) if found[1] else roff.italic(found[2]), piece)
    return marked.replace(" ", r"\ ")


def _arguments(arguments: Iterable[Argument]) -> Iterator[str]:
    """Yield what there is to say of each, operands first."""
    for argument in sorted(arguments, key=lambda argument: bool(argument.spellings)):
        yield from roff.tagged([_tag(argument)], _sentence(argument.words))


def _tag(argument: Argument) -> str:
    value = roff.italic(argument.value) if argument.value else ""
    spellings = [f"{roff.bold(spelling)} {value}".rstrip() for spelling in argument.spellings]
    return ", ".join(spellings) or value


def _sentence(text: str) -> str:
    """Return the few words of a help as a sentence."""
    whole = f"{text[:1].upper()}{text[1:]}"
    return whole if whole.endswith(".") or not whole else f"{whole}."


def _within_a_line(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:]}".removesuffix(".")
