"""The completion of a command in bash: what may follow, options, and the names of files."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.manual.commands import Argument, Command

_NAMES = {"FILE": "-f", "DIR": "-d"}
"""What a value is called that is the name of a file or of a directory, and how compgen is asked for such."""

_SCRIPT = """\
# Completion of {program} in bash: its commands, their options, and the names of files.

_{program}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command={program} options=
    local -a expected=() operand=()
    local -i at

    # What stands before: which command it is, and what the last option expects. The = of --option=value is a
    # word of its own.
    for ((at = 1; at < COMP_CWORD; at++)); do
        if ((${{#expected[@]}})); then
            [[ ${{COMP_WORDS[at]}} == = ]] || expected=()
            continue
        fi
        case "$command ${{COMP_WORDS[at]}}" in
{before}
        esac
    done

    if ! ((${{#expected[@]}})); then
        case $command in
{here}
        esac
        if [[ $word == -* ]] || ! ((${{#operand[@]}})); then
            expected=(-W "$options")
        else
            expected=("${{operand[@]}}")
        fi
    fi

    [[ $word == = ]] && word=
    [[ ${{expected[0]}} == -W ]] || compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "${{expected[@]}}" -- "${{word#[\\"\\']}}")
}}

complete -F _{program} {program}
"""


def completion(program: Command) -> str:
    """Return the script for a program, to be sourced, or put where bash looks for one of its name."""
    before: list[str] = []
    here: list[str] = []
    for command in program.walk():
        before += (
            _case(f"{command.name} {spelling}", f"expected=({_wanted(argument)})")
            for argument in command.arguments
            for spelling in argument.spellings
            if argument.value
        )
        before += (_case(follower.name, f'command+=" {name}"') for name, follower in command.commands.items())
        here.append(_case(command.name, f"operand=({_operand(command)}) options={_options(command)}"))
    return _SCRIPT.format(
        program=program.name,
        before="\n".join(f"            {line}" for line in before),
        here="\n".join(f"            {line}" for line in here),
    )


def _case(pattern: str, action: str) -> str:
    return f"{shlex.quote(pattern)}) {action} ;;"


def _wanted(argument: Argument) -> str:
    return _NAMES.get(argument.value) or f"-W {_listed(argument.choices)}"


def _operand(command: Command) -> str:
    if command.commands:
        return f"-W {_listed(command.commands)}"
    operands = (argument for argument in command.arguments if not argument.spellings)
    return next((_wanted(operand) for operand in operands), "")


def _options(command: Command) -> str:
    return _listed(
        spelling for argument in command.arguments for spelling in argument.spellings if len(spelling) > 2
    )


def _listed(words: Iterable[str]) -> str:
    return shlex.quote(" ".join(words))
