"""Start, reload, stop: the main thread starts the workers and then waits for a signal or an edit."""

from __future__ import annotations

import gc
import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway import paths
from gateway.clock import Clock
from gateway.conf import config, indices
from gateway.conf.changes import changes, is_same
from gateway.conf.indices import Memory, claimed_by_others
from gateway.flag import Flag, wait_readable
from gateway.plugin import Dispatcher
from gateway.present.collecting import StatusCollector
from gateway.present.hourly import HOUR, Hourly
from gateway.present.queue_answers import QueueAnswers
from gateway.present.state import State
from gateway.process import control, logs, state_files, syslog
from gateway.process.notify import Supervisor
from gateway.process.threaded_server import SCARCE
from gateway.spool.opening import open_queue
from gateway.text.words import failure
from gateway.times.dating import Dating, TimeNote, passed, was_doubted
from gateway.times.timekeeper import Timekeeper
from gateway.version import VERSION
from gateway.workers.delivery import DispatcherWorker
from gateway.workers.renamed import find_new_names
from gateway.workers.worker import ListenerWorker

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.conf.config import Configuration
    from gateway.plugin import Plugin
    from gateway.workers.worker import Worker

log = logging.getLogger("oemgateway")

_GRACE = 1.5
"""Seconds that the workers have to finish: SIGTERM ends the daemon within two, whatever hangs."""
_LOOK = 2.0
"""Seconds between two looks at the configuration file; an edit has settled when two looks agree."""
_FIRST_TRY = 5.0
"""Seconds that the plugins have to open; after that the daemon is ready without them."""


class Daemon:
    """The running gateway. `stop` ends it, `hangup` has it read its file again."""

    def __init__(self, configuration: Configuration, supervisor: Supervisor | None = None) -> None:
        self.stop = Flag()
        self.hangup = Flag()
        self._configuration = configuration
        self._started = configuration.gateway
        self._file = configuration.path
        self._signature = _signature(self._file)
        self._supervisor = supervisor or Supervisor({})
        self._listeners: dict[str, ListenerWorker] = {}
        self._dispatchers: dict[str, DispatcherWorker] = {}
        self._present = State()
        self._stuck: set[Worker[Any]] = set()
        self._retired: list[Worker[Any]] = []
        self._remarked: set[tuple[str, str]] = set()
        self._control: control.Control | None = None
        self._has_no_socket = False

    def run(self) -> None:
        """Run until `stop` is raised. Raises ConfigFaults, SpoolUnusable or OSError if it cannot start."""
        gateway, directory = self._started, self._state_dir()
        log.info("oemgateway %s, %s; state in %s", VERSION, self._file, directory)
        self._directory = directory
        self._memory = Memory(directory)
        self._configuration = config.read(self._file, self._memory.recall())
        spool = open_queue(directory / "queue.db", gateway.limits, gateway.commit_interval, self.stop)
        if spool is None:
            return
        self._spool = spool
        # Before a frame is set aside for one of them.
        self._spool.set_consumers(self._configuration.dispatchers)
        clock, note = Clock(), TimeNote(directory)
        past = passed(self._spool, note, clock.now().boot)
        doubted = was_doubted(self._spool, clock.now(), past)
        keeper = Timekeeper(clock, past=past, doubted=doubted, mode=gateway.unsynced)
        self._dating = Dating(self._spool, keeper, clock, note)
        self._queue = QueueAnswers(self._spool, taking_out=self._try_refused)
        self._status = StatusCollector(
            self._file, lambda: self._listeners, lambda: self._dispatchers, self._queue, keeper
        )
        self._present.report_with(self._status.status)
        try:
            self._apply(self._configuration)
            self._open_control()
            self._await_first_tries()
            self._status.ready = True
            self._supervisor.ready()
            self._wait()
        finally:
            if self._control:
                self._control.close()
            self._supervisor.stopping()
            self._shut_down()
            self._spool.close()

    def _state_dir(self) -> Path:
        named = self._started.state_dir
        try:
            directory = paths.make_state_dir(named)
        except OSError as error:
            log.error("%s", error)
            return paths.find_state_dir(named)
        if directory not in (named, paths.STATE):
            log.warning("%s cannot be written: the state is kept in %s", paths.STATE, directory)
        if kind := state_files.is_volatile(directory):
            log.warning(
                "%s is on %s, in memory perhaps: what waits there may not survive a restart of the machine; "
                "name a state_dir on the card or a disk",
                directory,
                kind,
            )
        return directory

    def _open_control(self) -> None:
        """Open the socket for commands, unless it is open: it may have been removed, or its disk be back."""
        if self._control and not self._control.is_gone:
            return
        if self._control:
            self._control.close()
            self._control = None
        path = paths.make_socket_path(self._started.socket, self._directory)
        try:
            if not self._status.ready:  # later the directory may be away for a while, and come back
                path.parent.mkdir(parents=True, exist_ok=True)
            answers = {**self._status.by_name(), **self._queue.by_name(), **self._present.by_name()}
            self._control, self._has_no_socket = control.Control(path, answers), False
        except OSError as error:
            if not self._has_no_socket:
                log.warning("%s: no socket there (%s): commands cannot ask this daemon", path, failure(error))
            self._has_no_socket = True

    def _await_first_tries(self) -> None:
        deadline = time.monotonic() + _FIRST_TRY
        for worker in self._workers():
            self._rest(deadline - time.monotonic(), self.stop, worker.tried)

    def _wait(self) -> None:
        seen = settled = self._signature
        hourly, summary_due = Hourly(), time.monotonic() + HOUR
        look = min(_LOOK, (self._supervisor.patience or math.inf) / 2)
        while not self.stop.is_set():
            ready = self._rest(look, self.stop, self.hangup)
            self._dating.look()
            self._watch()
            self._open_control()
            now = _signature(self._file)
            if self.hangup.fileno() in ready or (now != settled and now == seen):
                self.hangup.clear()
                settled = now if self._reload() else None
            else:
                self._start_missing()
            seen = now
            if time.monotonic() >= summary_due:
                summary_due += HOUR
                self._summarise(hourly)

    def _summarise(self, hourly: Hourly) -> None:
        try:
            log.info("%s", hourly.line(self._status.status()))
        except OSError as error:
            log.warning("the line of this hour cannot be made: %s", failure(error))

    def _workers(self) -> list[Worker[Any]]:
        return [*self._listeners.values(), *self._dispatchers.values()]

    def _watch(self) -> None:
        """Tell the supervisor that this daemon is alive, unless a worker hangs."""
        for worker in self._workers():
            worker.settle()
        stuck = {worker: worker.stuck for worker in self._workers() if worker.stuck}
        for worker in stuck.keys() - self._stuck:
            log.error("%s: %s; only a restart of the gateway can help", worker.name, stuck[worker])
        self._stuck = set(stuck)
        if not stuck:
            self._supervisor.alive()

    def _rest(self, seconds: float, *flags: Flag) -> set[int]:
        """Wait for a flag, for at most so many seconds, and let the queue do what is due meanwhile."""
        until, unsynced = time.monotonic() + seconds, self._spool.syncing.unsynced
        ready: set[int] = set()
        while not ready and (left := until - time.monotonic()) > 0:
            ready = wait_readable([*flags, unsynced], min(left, self._spool.due()))
            ready.discard(unsynced.fileno())
            unsynced.clear()
            self._spool.tend()
        return ready

    def _reload(self) -> bool:
        """Apply the edited file as a whole, or not at all; tell whether it could be read."""
        self._supervisor.reloading()
        is_read = True
        try:
            configuration = config.read(self._file, self._memory.recall())
        except config.ConfigFaults as faults:
            is_read = getattr(faults.__cause__, "errno", None) not in SCARCE
            if is_read or not self._status.faulty_edit:
                for line in faults.lines():
                    log.error("%s", line)
                again = "" if is_read else ", and it is tried again"
                log.error("%s has faults: the previous settings stay active%s", self._file, again)
            self._status.faulty_edit = True
        else:
            self._status.faulty_edit = False
            log.info("%s: %s", self._file, changes(self._configuration, configuration, self._started))
            self._apply(configuration)
        self._supervisor.ready()
        return is_read

    def _apply(self, configuration: Configuration) -> None:
        for remark in configuration.remarks:
            if (remark.where, remark.message) not in self._remarked:  # most edits move its line
                log.warning("%s", remark)
        self._remarked = {(remark.where, remark.message) for remark in configuration.remarks}
        self._note_indices(configuration)
        log.setLevel(configuration.gateway.loglevel)
        plugins = {**configuration.listeners, **configuration.dispatchers}
        logs.set_levels({name: plugin.loglevel for name, plugin in plugins.items()})
        syslog.log_to_syslog(configuration.gateway.syslog)
        self._configuration = configuration
        # A worker that is stopped here sends nothing that comes later.
        retired = _retire(self._listeners, configuration.listeners)
        retired += _retire(self._dispatchers, configuration.dispatchers)
        late = [*(worker for worker in self._retired if worker.is_alive()), *retired]
        wanted = configuration.dispatchers
        begun = [new for name, new in wanted.items() if name not in self._dispatchers]
        new_names = find_new_names(late, begun)
        renamed = {new_names[old]: old.name for old in retired if old in new_names}
        with self._spool.lock:
            gone = self._spool.set_consumers(wanted, renamed)
            for old in late:  # readings on their way are that one's, too, or nobody's
                old.is_replaced = old not in new_names and (old.is_replaced or old.name in renamed)
                old.name = new_names.get(old, old.name)
        if renamed:
            self._spool.syncing.sync()  # after a power cut each would go on at the place of another
        if gone:
            log.warning("readings for a removed destination alone, which go unless it is back soon: %s", gone)
        have_clock = [name for name, each in wanted.items() if each.has_clock]
        self._dating.set_consumers(have_clock)
        self._present.configure(configuration.listeners, configuration.nodes)
        self._retired = late
        gc.collect()  # earlier ones have descriptors, and are in cycles, which may otherwise stay for days
        claimed = claimed_by_others(configuration.listeners)
        for name, listener in configuration.listeners.items():
            running = self._listeners.get(name)
            plugin = running.plugin if running else listener
            plugin.claimed, plugin.nodes = claimed[name], configuration.nodes
        self._start_missing()

    def _start_missing(self) -> None:
        """Start the sections that do not run; if something is missing for that, it is tried again."""
        wanted, lacks, name = self._configuration, "", ""
        try:
            for name, dispatcher in wanted.dispatchers.items():
                if name not in self._dispatchers:
                    dispatcher.present = self._present
                    dispatcher.state = self._directory
                    self._dispatchers[name] = DispatcherWorker(
                        dispatcher, self._spool, self._dating, after=self._before(dispatcher)
                    )
                self._dispatchers[name].start()
            for name, listener in wanted.listeners.items():
                if name not in self._listeners:
                    listener.state = self._directory
                    latest = self._present.begin(name)
                    listener.notes = partial(self._spool.notes.below, f"{name}/")
                    self._listeners[name] = ListenerWorker(
                        listener, self._dating, latest, self._spool.syncing, after=self._before(listener)
                    )
                self._listeners[name].start()
        except (OSError, RuntimeError, MemoryError) as error:
            lacks = f"{name} and what comes after it cannot be started: {failure(error)}; tried again"
            if not self._status.lacks:
                log.error("%s", lacks)
        self._status.lacks = lacks
        # In the order of the file. Threads that ask for the status see the old order or the new one.
        self._listeners = {
            name: self._listeners[name] for name in wanted.listeners if name in self._listeners
        }
        self._dispatchers = {
            name: self._dispatchers[name] for name in wanted.dispatchers if name in self._dispatchers
        }

    def _before(self, plugin: Plugin) -> list[Worker[Any]]:
        """Return the workers that have to end before this plugin can be opened."""
        retired, name = self._retired, plugin.name
        return [old for old in retired if old.name == name or self._is_before(old.plugin, plugin)]

    def _is_before(self, old: Plugin, new: Plugin) -> bool:
        """Tell whether these may share what they work on, such as a port, or readings on their way.

        A dispatcher whose name and settings change in one edit gets its readings as a new one.
        """
        is_renamed = type(old) is type(new) and old.name not in self._configuration.dispatchers
        return old.name == new.name or is_same(old, new) or (isinstance(new, Dispatcher) and is_renamed)

    def _note_indices(self, configuration: Configuration) -> None:
        now = indices.identities(listener.catalogue() for listener in configuration.listeners.values())
        for words in indices.replacements(self._memory.recall(), now):
            log.warning("%s", words)
        try:
            self._memory.note(now)
        except OSError as error:
            log.warning("sensors' indices cannot be noted: %s", state_files.refusal(error, self._directory))

    def _shut_down(self) -> None:
        workers = self._workers()
        for worker in workers:
            worker.stop.set()
        deadline = time.monotonic() + _GRACE
        for worker in workers:
            if worker.is_alive():
                worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                log.warning(
                    "%s does not answer, and is not waited for: what is stored stays on disk", worker.name
                )

    def _try_refused(self, dispatcher: str) -> None:
        if worker := self._dispatchers.get(dispatcher):
            worker.refused_nodes.try_now()


def _retire(running: dict[str, Any], wanted: dict[str, Any]) -> list[Worker[Any]]:
    """Stop the workers whose section has gone or changed and return them."""
    retired = [name for name, worker in running.items() if not is_same(worker.plugin, wanted.get(name))]
    for name in retired:
        running[name].stop.set()
    return [running.pop(name) for name in retired]


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what tells whether a file has changed, or who may read it."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode, about.st_uid, about.st_gid
