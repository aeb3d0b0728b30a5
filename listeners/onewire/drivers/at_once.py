"""One action for many items, several at a time, in threads that do not keep the process alive."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

T = TypeVar("T", bound="Hashable")
R = TypeVar("R")

PATIENCE_S = 10.0
"""If nothing has ended for this many seconds, whatever is still running hangs."""


class AtOnce:
    """Actions for items, in up to that many threads. An item that hangs is left alone until it does no more.

    The threads are daemons. Those of an executor are joined when the interpreter exits: one that hangs in a
    read would keep the process from ending.
    """

    def __init__(self, threads: int, patience: float = PATIENCE_S) -> None:
        self._threads = threads
        self._patience = patience
        self._hanging: dict[Hashable, Future[Any]] = {}

    def __call__(self, action: Callable[[T], R], items: Iterable[T]) -> dict[T, R]:
        """Return what the action returns for each item that does not hang; raise what it raises."""
        self._hanging = {item: result for item, result in self._hanging.items() if not result.done()}
        results: dict[T, Future[R]] = {item: Future() for item in items if item not in self._hanging}
        todo: SimpleQueue[tuple[T, Future[R]] | None] = SimpleQueue()

        def work() -> None:
            for item, result in iter(todo.get, None):
                if result.set_running_or_notify_cancel():
                    try:
                        result.set_result(action(item))
                    except BaseException as error:  # noqa: BLE001  (it is raised where the result is taken)
                        result.set_exception(error)

        for pair in (*results.items(), *[None] * self._threads):
            todo.put(pair)
        for _ in range(min(self._threads, len(results))):
            Thread(target=work, name="at once", daemon=True).start()
        waiting = set(results.values())
        while waiting:
            ended, waiting = wait(waiting, self._patience, FIRST_COMPLETED)
            if not ended:
                break
        in_work = {item: result for item, result in results.items() if not result.cancel()}
        self._hanging |= {item: result for item, result in in_work.items() if not result.done()}
        return {item: in_work[item].result() for item in in_work.keys() - self._hanging.keys()}
