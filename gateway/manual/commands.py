"""An argparse parser as what a person can type: its commands, and the options and operands of each."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_PIECE = re.compile(r"(?:\[.*?\]+|\(.*?\)|\S+)(?: \.\.\.)?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What Python 3.14 puts into a usage for a terminal."""


@dataclass(frozen=True)
class Argument:
    """An option by its spellings or, without any, an operand; `value` is what it takes ("": nothing)."""

    spellings: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Command:
    """A command, by all its words: `oemgateway queue list`.

    `usage` are the pieces of its synopsis that stay together, `commands` what may follow it.
    """

    name: str
    usage: list[str]
    description: str
    epilog: str
    arguments: list[Argument]
    commands: Mapping[str, Command] = field(default_factory=dict)

    def walk(self) -> Iterator[Command]:
        """Yield it, and all that may follow, in the order of the help."""
        yield self
        for command in self.commands.values():
            yield from command.walk()


def read(parser: argparse.ArgumentParser, words: str = "") -> Command:
    """Return the command of a parser; `words` are for one that says nothing of itself.

    The parser itself tells these things to nothing but its own help.
    """
    usage = _usage(parser)
    commands: dict[str, Command] = {}
    arguments = []
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            said = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            commands = {name: read(action.choices[name], about) for name, about in said.items()}
            if not action.required:  # which argparse forgets
                usage[-1] = f"[{usage[-1]}]"
        elif action.help != argparse.SUPPRESS:
            arguments.append(_argument(parser, action))
    return Command(parser.prog, usage, parser.description or words, parser.epilog or "", arguments, commands)


def _usage(parser: argparse.ArgumentParser) -> list[str]:
    usage = " ".join(_COLOUR.sub("", parser.format_usage()).split()).removeprefix("usage: ")
    return _PIECE.findall(usage.removeprefix(parser.prog))


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    choices = tuple(map(str, action.choices or ()))
    named = action.dest.upper() if action.option_strings else action.dest
    value = action.metavar or (f"{{{','.join(choices)}}}" if choices else named)
    if action.nargs == 0:
        value = ""
    elif isinstance(value, tuple):
        value = " ".join(value)
    help_of = {**vars(action), "prog": parser.prog}
    return Argument(tuple(action.option_strings), value, choices, (action.help or "") % help_of)
