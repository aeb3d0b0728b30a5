"""One action for many items, several at a time, in threads that do not keep the process alive."""

from __future__ import annotations

from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


def at_once(action: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    """Return what the action returns for each item, in up to that many threads; raise what it raises.

    The threads are daemons. Those of an executor are joined when the interpreter exits: one that hangs in a
    read would keep the process from ending.
    """
    todo: SimpleQueue[tuple[T, Future[R]] | None] = SimpleQueue()
    results: list[Future[R]] = [Future() for _ in items]

    def work() -> None:
        for item, result in iter(todo.get, None):
            try:
                result.set_result(action(item))
            except BaseException as error:  # noqa: BLE001  (it is raised where the result is taken)
                result.set_exception(error)

    for pair in (*zip(items, results, strict=True), *[None] * threads):
        todo.put(pair)
    for _ in range(min(threads, len(items))):
        Thread(target=work, name="at once", daemon=True).start()
    return [result.result() for result in results]
