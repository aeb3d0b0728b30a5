"""How a command reaches the queue: through the running gateway or, if none runs, in the file."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.conf import config
from gateway.paths import DEFAULT_FILE
from gateway.present.asking import RunningGateway
from gateway.present.queue_answers import QueueAnswers
from gateway.process.holders import of_file
from gateway.process.output import check_writable_system
from gateway.spool import Spool, SpoolUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.conf.config import Configuration

    Ask = Callable[..., Any]
    """Asks the queue for one thing, by name and arguments; OSError if there is no answer."""

_START = 5.0
"""Seconds that a gateway which has the file may take until it answers."""

_PATIENCE = 30.0
"""Seconds that one answer may take: an SD card can be slow."""


@contextmanager
def reach(config_file: Path) -> Iterator[Ask]:
    """Yield a function that asks the queue of this configuration.

    Raises ConfigFaults, OSError, and SpoolUnusable if a gateway has the file and does not answer.
    """
    gateway = RunningGateway.of(config_file)
    if spool := _open_unless_it_runs(gateway, config_file):
        answers = QueueAnswers(spool).by_name()
        try:
            yield lambda what, **arguments: _answer(answers[what], arguments)
        finally:
            spool.close()
    else:
        yield partial(gateway.ask, patience=_PATIENCE)


def _open_unless_it_runs(gateway: RunningGateway, config_file: Path) -> Spool | None:
    """Open the file of the queue; None if a gateway answers, which may still be starting."""
    until = time.monotonic() + _START
    while True:
        try:
            status = gateway.status()
        except ConnectionError:
            configuration = config.read(config_file)
        else:
            if config_file != DEFAULT_FILE and not gateway.runs_with(config_file, status):
                raise OSError(
                    f"the gateway at {gateway.socket} runs with {status.file}: name that as --config-file, "
                    f"or give {config_file} a socket of its own ([gateway] socket)"
                )
            return None
        file = configuration.gateway.find_state_dir() / "queue.db"
        try:
            return _open(file, configuration)
        except SpoolUnusable:
            if time.monotonic() >= until or not of_file(file):
                raise
        time.sleep(0.2)


def _answer(answer: Ask, arguments: dict[str, Any]) -> Any:  # noqa: ANN401  (JSON)
    try:
        return answer(**arguments)
    except ValueError as error:
        raise OSError(str(error)) from error


def _open(file: Path, configuration: Configuration) -> Spool:
    """Open the file as the gateway would, but neither create it nor fall back to memory."""
    if not file.parent.is_dir() or (os.access(file.parent, os.X_OK) and not file.exists()):
        raise OSError(f"{file}: there is none; the gateway makes it when it first runs")
    for path, use in ((file, os.R_OK | os.W_OK), (file.parent, os.W_OK | os.X_OK)):
        if not os.access(path, use):
            check_writable_system(file)
            raise OSError(f"{path}: this user may not write there, as is needed while no gateway runs: sudo")
    spool = Spool(file, limits=configuration.gateway.limits, in_memory=False)
    spool.set_consumers(configuration.dispatchers)
    return spool
