"""`oemgateway doctor`: checks everything that the gateway depends on, a line each, with what to do."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import config
from gateway.diagnosis.finding import Finding, bad, good, show, unknown
from gateway.diagnosis.machine import WRITE_SEARCH, Machine
from gateway.paths import DEFAULT_FILE, STATE, own_state
from gateway.present.asking import RunningGateway
from gateway.process import control
from gateway.process.holders import of_file, of_process
from gateway.process.output import is_read_only
from gateway.process.syslog import syslog_trouble
from gateway.registry import UnknownType, find, known
from gateway.settings import build
from gateway.text.terminal import FAILED, OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.conf.config import Gateway
    from gateway.plugin import Plugin
    from gateway.present.status import SectionStatus, Status


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="check what the gateway depends on, and name the cures",
        description="Checks everything that the gateway depends on: a line per check, which is ok, ? (not "
        "known) or FAULT, with what to do about it; the exit status is then 1. Nothing is changed. A running "
        "gateway is asked, and its bus is left alone.",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="check the system below DIR, which is not running (default /)",
    )


def run(options: argparse.Namespace) -> int:
    """Print each finding as soon as it is made."""
    machine = Machine.below(options.root)
    file = machine.path(DEFAULT_FILE) if options.config_file == DEFAULT_FILE else options.config_file
    return FAILED if show(examine(file, machine)) else OK


def examine(file: Path, machine: Machine) -> Iterator[Finding]:
    """Yield the findings on a configuration and on the machine; nothing is changed."""
    plugins: dict[str, Plugin]
    hidden = False
    try:
        configuration = config.read(file)
    except config.ConfigFaults as faults:
        yield from (replace(bad(""), subject=str(fault)) for fault in faults.faults)
        (gateway, hidden), plugins = _readable(file), _usual()
    else:
        yield replace(good(f"{file} has no faults"), subject="configuration")
        gateway, plugins = configuration.gateway, {**configuration.listeners, **configuration.dispatchers}
        if file == machine.path(DEFAULT_FILE):
            # root reads it in any case, and the service does not
            yield from (replace(each, subject="configuration") for each in machine.unreadable(DEFAULT_FILE))
    running: Mapping[str, SectionStatus] = {}
    in_queue = ""
    if machine.live:
        finding, status, pid = _ask(gateway, file)
        yield replace(finding, subject="gateway")
        in_queue = status.queue_trouble if status else ""
        for trouble in status.troubles if status else []:
            if trouble != in_queue:
                yield replace(bad(trouble), subject="gateway")
        running = status.sections if status else {}
        # A gateway that hangs still holds its buses and ports.
        machine = replace(machine, running=frozenset(running if status or not pid else plugins), gateway=pid)
    lost = unknown("where it is kept is not known: the faults of the file hide it") if hidden else None
    state = bad(in_queue) if in_queue else lost or _examine_state(gateway, machine)
    yield replace(state, subject="state")
    if machine.live and gateway.syslog:
        yield replace(_examine_syslog(gateway.syslog), subject="syslog")
    for name, plugin in plugins.items():
        for finding in _examine_plugin(plugin, machine):
            yield replace(finding, subject=name)
        if name in running:
            yield from (replace(finding, subject=name) for finding in _experience(running[name]))
            if remark := running[name].remark:
                yield replace(unknown(remark), subject=name)


def _readable(file: Path) -> tuple[Gateway, bool]:
    """Return what can be read of [gateway] in a file with faults, and whether they hide state_dir."""
    try:
        gateway, hidden = config.read_gateway(file)
    except config.ConfigFaults as faults:
        return config.defaults(file), not isinstance(faults.__cause__, FileNotFoundError)
    return gateway, "state_dir" in hidden


def _examine_syslog(words: tuple[str, ...]) -> Finding:
    place = ", ".join(words)
    if trouble := syslog_trouble(words):
        cure = "start it, or correct syslog in [gateway]; the log itself goes on"
        return bad(f"{place} is not reached ({trouble})", cure)
    return good(f"{place} can be reached")


def _usual() -> dict[str, Plugin]:
    """Return the listeners that are examined where the configuration cannot be read."""
    plugins: dict[str, Plugin] = {}
    for name in known("listeners"):
        with suppress(UnknownType):  # a library of its own is missing
            cls = find("listeners", name)
            if cls.usual is not None:
                plugin = build(cls, cls.usual)
                plugin.name = name
                plugins[f"{name}, if you have one"] = plugin
    return plugins


def _ask(gateway: Gateway, file: Path) -> tuple[Finding, Status | None, int]:
    """Ask the running gateway for its status, and return its process (0: it does not run with this file)."""
    try:
        running = RunningGateway.of(file)
    except config.ConfigFaults:
        running = RunningGateway(file, gateway.find_socket())
    try:
        status = running.status()
    except TimeoutError as error:
        pid = control.process_at(running.socket)
        cure = f"look at the disk and the log, then {of_process(pid).restart}"
        return bad(str(error), cure), None, pid
    except (OSError, config.ConfigFaults) as error:
        holder = of_file(gateway.find_state_dir() / "queue.db")
        if holder and holder.pid and not holder.is_command:
            found = f"process {holder.pid} has the queue, and does not answer at {running.socket}"
            return unknown(found, f"wait, if it has just started; or {holder.restart}"), None, holder.pid
        return unknown(str(error)), None, 0
    if not running.runs_with(file, status):
        return unknown(f"the one that runs, pid {status.pid}, has another file: {status.file}"), None, 0
    return good(f"it is running, pid {status.pid}"), status, status.pid


def _examine_state(gateway: Gateway, machine: Machine) -> Finding:
    directory = gateway.find_state_dir()
    if machine.running:
        return good(f"the running gateway keeps it in {directory}")
    if directory == STATE and machine.path(STATE).is_symlink() and machine.exists("/run/systemd/system"):
        cure = "name the directory that it leads to as state_dir, and below [Service] as ReadWritePaths=-"
        return bad(f"{STATE} is a link, which systemd refuses", f"{cure} (sudo systemctl edit oemgateway)")
    there = next(path for path in (directory, *directory.parents) if machine.exists(path))
    inside = there if there == directory else there / directory.name
    if closed := machine.unreachable(inside, "name another directory as state_dir"):
        return closed
    locked = machine.live and is_read_only(there)
    if not locked and machine.path(there).is_dir() and machine.allows(there, WRITE_SEARCH):
        return good(f"{machine.user} may write to {directory}")
    refused = f"{machine.user} may not write to {directory}{', as its file system is read-only' * locked}"
    if gateway.state_dir or machine.uid == 0:
        cure = f"sudo install -d -o {machine.user} {directory}, once its disk is mounted"
        return bad(refused, f"{'make that writable' if locked else cure}, or name another as state_dir")
    return unknown(refused, f"started by {machine.user} the gateway keeps it in {own_state()}")


def _examine_plugin(plugin: Plugin, machine: Machine) -> Iterable[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(plugin.examine(machine))
    except Exception as error:  # noqa: BLE001  (a plugin of a third party must not hide the rest)
        findings.append(unknown(f"it could not be examined, a bug in it: {error!r}"))
    return findings


def _experience(section: SectionStatus) -> Iterator[Finding]:
    """Yield how a section fares in the running gateway."""
    for trouble in section.troubles:
        yield bad(f"the running gateway is in trouble with it: {trouble}")
    if section.age is not None:
        frames = f"{section.frames} frame{'s' * (section.frames > 1)}"
        yield good(f"{frames} since the gateway started, the last {section.age:.0f} s ago")
    elif not section.troubles:
        yield unknown("the running gateway has had no frame through it yet")
