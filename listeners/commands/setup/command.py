"""`oemgateway setup`: shows what it finds, asks a few questions, and writes what the user agrees to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import config, document
from gateway.conf.config import ConfigFaults
from gateway.conf.edit import Draft, Unwritable
from gateway.conf.indices import Memory
from gateway.conf.misplaced import check_emonhub
from gateway.conf.section import plugins
from gateway.diagnosis.machine import Machine
from gateway.paths import file_of_service
from gateway.plugin import Listener
from gateway.present.asking import RunningGateway
from gateway.present.status import from_json
from gateway.present.values import Value
from gateway.process.output import check_writable_system
from gateway.process.port import is_loopback
from gateway.settings import shown
from gateway.text.terminal import FAILED, OK, USAGE, say, say_aside
from listeners.commands.setup import given, questions
from listeners.commands.setup.hardware import Attached
from listeners.commands.setup.questions import Questions, Refused
from listeners.commands.setup.reading import Reading
from listeners.commands.setup.sending import EMONCMS, PAGE, Sending, run_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.conf.config import Configuration

_UNITS = tuple(f"{place}/systemd/system/oemgateway.service" for place in ("/etc", "/lib", "/usr/lib"))
_PATIENCE = 75.0
"""Seconds that the first value may take: a radio hears most nodes once a minute."""
_LOOK = 0.5


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "setup",
        help="find what is attached, ask where it goes, and start",
        description="Looks for sensors and a radio board, asks for names and where the readings go, and "
        "writes what is agreed to into the configuration. It can be run again, and changes only what is "
        "answered differently. What a running gateway uses is left alone.",
    )
    questions.add(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; return 0, 1 where something failed, or 2 where an answer of an option is wrong."""
    if not options.yes and not sys.stdin.isatty():
        say_aside("setup asks questions, and this is no terminal: --yes takes the defaults (see --help)")
        return USAGE
    for number in (signal.SIGTERM, signal.SIGHUP):  # the terminal is gone: as Ctrl-C
        signal.signal(number, signal.default_int_handler)
    file: Path = options.config_file
    draft = Draft(file)
    before = draft.data
    check_emonhub(draft.text)
    plugins(draft.text, "listeners")  # a sensor whose entry has a fault would be added again
    if draft.text.faults:
        raise ConfigFaults(draft.text.faults)
    if not os.access(draft.path, os.W_OK) or not os.access(draft.path.parent, os.W_OK):
        check_writable_system(draft.path)
        by = "by this user: sudo oemgateway setup" if os.geteuid() else f"even by root: lsattr {draft.path}"
        say_aside(f"{file} may not be changed {by}")
        return FAILED
    try:
        answers = questions.answered(options)
        given.check(answers)
        return _Setup(file, Questions(answers, quiet=options.yes)).take()
    except (Refused, Unwritable) as error:
        say_aside(str(error))
        return USAGE
    except KeyboardInterrupt:
        kept = draft.path.read_bytes() == before
        what = "is as it was" if kept else "has what you agreed to, and nothing of what was still being asked"
        sys.stderr.write("\n")
        say_aside(f"ended: {file} {what}")
        return FAILED


class _Setup:
    """The steps, one after the other."""

    def __init__(self, file: Path, asking: Questions) -> None:
        self._file = file
        self._asking = asking
        self._machine = Machine.below(Path("/"))
        self._gateway, _ = config.read_gateway(file)
        self._running = RunningGateway(file, self._gateway.find_socket())

    def take(self) -> int:
        """Take them all, and return the exit status."""
        say(["Enter takes what stands in [brackets], and Ctrl-C ends this at any moment. Nothing is written"])
        say([f"to {self._file} before you agree to it.", ""])
        self._read()
        say([""])
        self._send()
        say(["", "$ oemgateway check"])
        if run_command(self._file, "check"):
            say([f"Correct {self._file} there, then run setup again."])
            return FAILED
        say([""])
        return self._start()

    def _read(self) -> None:
        draft = Draft(self._file)
        attached = Attached.find(self._running, document.read(self._file), self._machine)
        remembered = Memory(self._gateway.find_state_dir()).recall()
        with closing(attached.own):
            Reading(self._asking, draft, attached, self._machine, remembered).take()
        self._agree(draft)

    def _send(self) -> None:
        draft = Draft(self._file)
        listeners = plugins(document.read(self._file), "listeners").values()
        simulated = any(isinstance(each, Listener) and each.simulated for each in listeners)
        Sending(self._asking, draft, self._machine).take(trial=simulated and not self._gateway.simulate)
        self._agree(draft)

    def _agree(self, draft: Draft) -> None:
        """Show what would be written, and write it if that is wanted."""
        lines = [f"{number:>5}  {line}" for number, line in draft.changes() if line.strip()]
        if not lines:
            say([f"Nothing changes in {self._file}."])
            return
        for secret in self._asking.typed:
            lines = [line.replace(secret, "********") for line in lines]
        say([f"These lines go into {self._file}:", *lines])
        if self._asking.agrees("", "Write them?"):
            try:
                draft.write()
            except ValueError as error:
                raise OSError(str(error)) from error
        else:
            say(["They are not written."])

    def _start(self) -> int:
        """Start the service, and show the first values."""
        if not self._is_running():
            start = _service(self._file)
            if not start:
                say([f"No service is installed that reads {self._file}. To run it here, until Ctrl-C:"])
                say([f"  oemgateway --config-file {self._file}"])
                return OK
            if not self._asking.agrees("start", "Start the gateway now?"):
                say([f"It starts with the machine, and by: sudo {' '.join(start)}"])
                return OK
            sys.stdout.flush()
            if subprocess.run(start, check=False).returncode:  # noqa: S603  (of this system)
                say(["It has not started: the lines above say why, or the log: journalctl -u oemgateway"])
                return FAILED
        say(["Waiting for the first values ..."])
        configuration = config.read(self._file)
        has_values = self._await_values({*configuration.listeners, *configuration.dispatchers})
        say(["", "$ oemgateway values"])
        run_command(self._file, "values")
        if not has_values:
            say(["No value has come yet: `oemgateway status` says how it is."])
        say(["", *_next(configuration)])
        return OK if has_values else FAILED

    def _is_running(self) -> bool:
        try:
            return self._running.runs_with(self._file, self._running.status())
        except ConnectionRefusedError:
            return False

    def _await_values(self, sections: set[str]) -> bool:
        """Wait until the gateway runs these sections and has a value; tell whether it did in time."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            with suppress(OSError):
                values = [from_json(Value, value) for value in self._running.ask("values")["values"]]
                runs = {*self._running.status().sections} == sections
                if runs and any(value.value is not None for value in values):
                    return True
            time.sleep(_LOOK)
        return False


def _service(file: Path) -> list[str]:
    """Return the command that starts the service that reads this file; none where there is none."""
    if file.resolve() != file_of_service().resolve():
        return []
    has_systemd = Path("/run/systemd/system").exists()
    places = _UNITS if has_systemd else ["/etc/init.d/oemgateway"]
    return ["service", "oemgateway", "start"] if any(Path(place).exists() for place in places) else []


def _next(configuration: Configuration) -> Iterator[str]:
    """Yield where the values can be seen, and what is left to do."""
    for name, type_ in configuration.types["dispatchers"].items():
        settings = shown(configuration.dispatchers[name])
        if type_ == PAGE:
            port, host = settings["port"], settings["host"]
            if is_loopback(host):
                yield f"The page: http://127.0.0.1:{port}/ on this machine"
                tunnel = f"ssh -L {port}:127.0.0.1:{port} USER@{_address()}"
                yield f"  from another: {tunnel}, and then the same address there"
            else:
                yield f"The page: http://{_address()}:{port}/ with any user name, and its password"
        if type_ == EMONCMS:
            yield "Feeds for the inputs in Emoncms: sudo oemgateway emoncms --provision"


def _address() -> str:
    """Return the address of this machine in its network; its name where it has none."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("192.0.2.1", 9))  # sends nothing
        return str(udp.getsockname()[0])
    return socket.gethostname()
