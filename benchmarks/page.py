"""What the page costs: its answers, its history on the card, and the gateway beside which it runs.

It prints a table, writes results/page.json and ends with status 1 where a target is missed.
"""

from __future__ import annotations

import http.client
import math
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import page_beside
from benchmarks.report import Row, conclude_rows
from gateway.dispatchers.page.history.blocks import DAY
from gateway.dispatchers.page.history.history import History, Reading
from gateway.dispatchers.page.history.rings import DAYS, HOURS
from tests.pages import Present, get, house, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.dispatchers.page.dispatcher import Page

SERIES = 40
"""Series of the history."""


def milliseconds(work: Callable[[], object], times: int = 15) -> float:
    """Return the median of some runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def answers(folder: Path) -> Iterator[Row]:
    with serving(Present(house(60)), folder) as page:
        body = get(page, "/")[2]
        yield Row("page of 60 indices", len(body) / 1000, "kB", "its HTML, not compressed", most=150)

        def whole() -> None:
            page._turn = -1  # noqa: SLF001  (each curve is drawn)
            page._overview()  # noqa: SLF001

        yield Row("page of 60 indices", milliseconds(whole), "ms", "made whole", most=50)
        now_json = milliseconds(lambda: get(page, "/api/now"))
        yield Row("/api/now", now_json, "ms", "over HTTP, a connection each", most=5)
        for span in ("24h", "7d", "30d", "2y"):
            taken = milliseconds(partial(get, page, f"/chart?node=9&index=1&span={span}"))
            yield Row(f"chart of {span}", taken, "ms", "over HTTP", most=100)
        yield Row("/api/now", per_second(page), "/s", "one client, one connection", least=1000)


def per_second(page: Page) -> float:
    client = http.client.HTTPConnection(*page.address)
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + 3:
        client.request("GET", "/api/now")
        client.getresponse().read()
        count += 1
    client.close()
    return count / 3


def written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def card(folder: Path, now: float) -> Iterator[Row]:
    history = History(folder / "history-page.db")
    history.open()
    for number in reversed(range(DAYS - 1)):  # an hour of each day, and each hour of the last 30
        hours = 24 if number < HOURS // 24 else 1
        at = now - (number + 1) * DAY
        for_day = [
            Reading(at + hour * 3600, "9", str(series), 20.0)
            for hour in range(hours)
            for series in range(1, SERIES + 1)
        ]
        history.add(for_day, {}, now)
    before = written()
    for five in range(288):
        at = now - DAY + five * 300
        history.add(
            [
                Reading(at + minute * 60, "9", str(number), 20 + math.sin(five / 40 + number))
                for minute in range(5)
                for number in range(1, SERIES + 1)
            ],
            {"": five + 1},
            now,
        )
    day = (written() - before) / 1e6
    yield Row("written in a day", day, "MB", f"{SERIES} series, each 5 minutes, on {folder}", most=50)
    size = sum(file.stat().st_size for file in folder.glob("history-page.db")) / 1e6
    yield Row("whole history", size, "MB", f"{SERIES} series, every slot taken", most=25)


def measure() -> Iterator[Row]:
    now = time.time()
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        yield from card(Path(folder), now)
        yield from answers(Path(folder))
    yield from page_beside.measure()


if __name__ == "__main__":
    sys.exit(conclude_rows("page", measure()))
