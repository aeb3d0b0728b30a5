"""`oemgateway status`: the state of the running gateway, in a few lines."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from gateway.commands.queue_listing import REFUSED_DROPPED, share
from gateway.conf.document import ConfigFaults
from gateway.present.asking import RunningGateway
from gateway.text.plain import plain
from gateway.text.terminal import UNBROKEN, say, say_aside, say_json, wrapped
from gateway.text.words import rate, span

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.present.status import ClockStatus, DispatcherStatus, ListenerStatus, SectionStatus, Status

HEALTHY, DEGRADED, NOT_RUNNING, UNKNOWN = 0, 1, 3, 4
"""The exit statuses; the last two are LSB's for a service that does not run or cannot be asked."""

_WIDTH = 100
"""Characters of a line, at most; a terminal may have less."""

_NUMBERS = re.compile(r"(?<=\d) (?=\w)")
"""The space after a number, as before its unit: lines do not break there."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "status",
        help="ask the running gateway how it is",
        description="Asks the running gateway how it is, each section, the queue and the clock. The exit "
        "status is 0 if all is well, 1 if there is trouble (shown after a !), 3 if no gateway runs, 4 if "
        "that is not known, as this user may not ask or the file is gone.",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON, for a program")


def run(options: argparse.Namespace) -> int:
    """Print the status, and return whether it is healthy."""
    gateway = RunningGateway.of(options.config_file)
    try:
        status = gateway.status()
    except (PermissionError, ConfigFaults) as error:
        say_aside(str(error))
        return UNKNOWN
    except ConnectionRefusedError as error:
        if gateway.unread and not gateway.is_secret:  # the gateway of a file that is gone may still run
            elsewhere = f"none answers at {gateway.socket}, and the file may have named another socket"
            say_aside(f"{gateway.unread}; {elsewhere} (sudo service oemgateway status says whether one runs)")
            return UNKNOWN
        say_aside(str(error))
        return UNKNOWN if gateway.is_secret else NOT_RUNNING
    if options.json:
        say_json(asdict(status))
    else:
        say(lines(status, min(_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _WIDTH))
    return HEALTHY if status.healthy else DEGRADED


def lines(status: Status, columns: int = _WIDTH) -> Iterator[str]:
    """Yield a line for the gateway, one for each section and one for the clock; ! marks trouble."""
    how = "healthy" if status.healthy else "in trouble"
    yield f"oemgateway {status.version} is {how}, up {span(status.uptime)}, pid {status.pid}, {status.file}"
    words = {name: _listener(about) for name, about in status.listeners.items()}
    words |= {name: _dispatcher(about) for name, about in status.dispatchers.items()}
    words["clock"] = _clock(status.clock)
    width = max(map(len, words))
    for name, said in words.items():
        yield from _wrapped(f"  {name:<{width}}  ", "; ".join(said), columns)
        for trouble in status.sections[name].troubles if name in status.sections else ():
            yield from _wrapped(" " * (width + 4) + "! ", trouble, columns)
    for trouble in status.troubles:
        yield from _wrapped("  ! ", trouble, columns)
    if status.dropped:
        yield f"  {status.dropped} frames were dropped, ever, for want of room or for their age"
    if status.refused_dropped:
        yield from _wrapped("  ", f"{status.refused_dropped} {REFUSED_DROPPED}", columns)


def _wrapped(begin: str, words: str, width: int) -> list[str]:
    return wrapped(_NUMBERS.sub(UNBROKEN, plain(words)), width, begin)


def _listener(about: ListenerStatus) -> Iterator[str]:
    yield _frames(about, "in") + (f", {rate(about.rate)}" if about.rate and about.frames else "")
    if about.nodes:
        yield ", ".join(
            f"node {node} {span(heard.age)} ago{' (silent)' * heard.silent}"
            for node, heard in about.nodes.items()
        )
    if about.faults:
        yield "so far " + ", ".join(f"{count} x {fault}" for fault, count in about.faults.items())
    if about.remark:
        yield about.remark
    yield from _last_trouble(about)


def _dispatcher(about: DispatcherStatus) -> Iterator[str]:
    yield _frames(about, "out") + ("" if about.age is None else f", the last {span(about.age)} ago")
    yield from share(about.queue)
    if about.doubled:
        yield f"{about.doubled} may have arrived twice"
    if about.remark:
        yield about.remark
    yield from _last_trouble(about)


def _frames(about: SectionStatus, way: str) -> str:
    count = about.frames
    return f"{count or 'no'} frame{'s' * (count > 1)} {way}{'' if count else ' yet'}"


def _last_trouble(about: SectionStatus) -> Iterator[str]:
    if about.next_try is not None:
        yield f"next try in {span(about.next_try)}"
    elif about.last_trouble and not about.trouble:
        yield f"{span(about.last_trouble.age)} ago: {about.last_trouble.text}"
    if about.failures > 1:
        yield f"failed {about.failures} times since it was started"


def _clock(clock: ClockStatus) -> Iterator[str]:
    yield "in doubt" if clock.doubt else "right"
    if clock.steps:
        times = "once" if clock.steps == 1 else f"{clock.steps} times"
        yield f"set {times} since the start, last by {clock.last_step:+.0f} s"
