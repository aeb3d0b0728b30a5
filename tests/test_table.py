from __future__ import annotations

import io
import logging
import math

import pytest

from gateway.commands import demo
from gateway.dispatchers.table import Table
from gateway.frame import Frame, Stamp
from gateway.plugin import Batch
from gateway.present.values import Value
from listeners.simulated.clock import VirtualClock
from tests.pages import Present


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


CELLAR = Value(
    source="bridge", node="9", index=1, label="cellar", unit="°C", value=11.8125, last=11.8125, age=0.0
)


@pytest.fixture
def clock():
    return VirtualClock(wall=1_700_000_000.0)


@pytest.fixture
def table(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(title="the demo")
    table.clock, table.out, table.present = clock, io.StringIO(), Present([CELLAR])
    yield table
    table.close()


def served(table: Table, seconds: float) -> None:
    """Serve it whenever it asks to be, for so long."""
    until = table.clock.monotonic() + seconds
    while table.clock.monotonic() + table.wake().seconds <= until:
        table.clock.sleep(table.wake().seconds)
        table.serve()


def rows(table: Table) -> list[list[str]]:
    return [line.split() for line in table.out.getvalue().split("\n\n")[-2].splitlines()[1:]]


def test_it_shows_the_present_whatever_comes_from_the_queue(table, clock):
    table.open()
    table.send(Batch([Frame("9", (99.0,), Stamp(1.0, "", 0.0))], [1]))
    served(table, 0)
    assert rows(table) == [["9", "1", "cellar", "11.8125", "°C", "0", "s"]]


def test_into_a_file_it_is_written_every_few_seconds(table):
    table.open()
    served(table, 9)
    assert table.out.getvalue().count("the demo") == 2
    assert "\x1b" not in table.out.getvalue()


def test_into_a_file_what_came_last_is_written_at_the_end_once(table):
    table.open()
    served(table, 0)
    table.present.now = [CELLAR, Value(source="radio", node="10", index=1, value=252.0, age=3.0)]
    for _ in range(2):
        table.close()
    assert [row[0] for row in rows(table)] == ["9", "10"]
    assert table.out.getvalue().count("the demo") == 2


def test_on_a_terminal_it_is_drawn_each_second_also_while_nothing_comes(table):
    table.out = Terminal()
    table.open()
    served(table, 10)
    assert table.out.getvalue().count("\x1b[H") == 11


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 24), (120, 12), (80, 5)])
def test_on_a_terminal_all_fits(table, monkeypatch, width, height):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    table.out = Terminal()
    table.open()
    words = "it is refused as its length is not that of the node"
    for n in range(20):
        logging.getLogger("oemgateway").warning("sensor%d: %s, %s", n, words, words)
    served(table, 0)
    shown = screen_of(table).split("\n")
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)
    assert height < 10 or f"sensor19: {words}, {words}" in " ".join("\n".join(shown).split())


def screen_of(table: Table) -> str:
    return table.out.getvalue().rpartition("\x1b[H")[2].removesuffix("\x1b[J").replace("\x1b[K\n", "\n")


def test_the_demos_title_fits_a_terminal_of_80_columns():
    with demo.configured() as configuration:
        assert len(configuration.dispatchers["screen"].title) <= 80


def test_on_a_terminal_the_end_of_the_log_is_below_and_has_its_place_again_later(table):
    logger = logging.getLogger("oemgateway")
    before = logger.handlers
    table.out = Terminal()
    table.open()
    for n in range(20):
        logger.warning("sensor%d is unplugged", n)
    served(table, 0)
    assert "sensor19 is unplugged" in screen_of(table)
    assert "sensor11 " not in screen_of(table)
    table.close()
    assert logger.handlers == before


def test_neither_a_title_nor_the_log_reaches_the_terminal_raw(table):
    table.title = "the\x1b]0;demo"
    table.out = Terminal()
    table.open()
    logging.getLogger("oemgateway").warning("the board says: \x1b[2J\nforged")
    served(table, 0)
    assert "\x1b" not in screen_of(table)
    assert r"the board says: \x1b[2J\nforged" in screen_of(table)


def test_it_wakes_up_as_often_as_it_draws_and_no_more(table):
    table.open()
    served(table, 0)
    assert math.isclose(table.wake().seconds, 5.0)
