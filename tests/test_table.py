from __future__ import annotations

import io
import logging

import pytest

from gateway.commands import demo
from gateway.dispatchers.table import Table
from gateway.frame import Frame, Stamp
from gateway.plugin import Batch
from listeners.simulated.clock import VirtualClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock():
    return VirtualClock(wall=1_700_000_000.0)


@pytest.fixture
def table(clock):
    table = Table(title="the demo")
    table.clock, table.out = clock, io.StringIO()
    yield table
    table.close()


def sweep(clock: VirtualClock, *values: float | None, node: str = "9") -> Frame:
    return Frame(node, values, Stamp(clock.wall(), "boot", 0), ("cellar", "flow"), source="bridge")


def rows(table: Table) -> list[list[str]]:
    text = table.out.getvalue().split("\n\n")[-2]
    return [line.split() for line in text.splitlines()[2:]]


def test_a_line_per_index_with_name_value_and_age(table, clock):
    table.open()
    radio = Frame("10", (252, -4), Stamp(clock.wall() - 3, "boot", 0), rssi=-61)
    table.send(Batch([radio, sweep(clock, 11.8125, None)], []))
    assert rows(table) == [
        ["9", "1", "cellar", "11.8125", "0", "s"],
        ["9", "2", "flow", "-", "gap:", "index", "kept"],
        ["10", "1", "252", "3", "s", "-61", "dBm"],
        ["10", "2", "-4", "3", "s", "-61", "dBm"],
    ]


def test_a_sensor_that_is_gone_keeps_its_line_and_grows_old(table, clock):
    table.open()
    table.send(Batch([sweep(clock, 11.5, 46.25)], []))
    clock.sleep(7)
    table.send(Batch([sweep(clock, 11.5, None)], []))
    assert rows(table)[1] == ["9", "2", "flow", "-", "7", "s", "gap:", "index", "kept"]
    clock.sleep(7)
    table.send(Batch([sweep(clock, 11.5, 46.5)], []))
    assert rows(table)[1] == ["9", "2", "flow", "46.5", "0", "s"]


def test_into_a_file_it_is_written_every_few_seconds(table, clock):
    table.open()
    for _ in range(10):
        table.send(Batch([sweep(clock, 1.0)], []))
        clock.sleep(1)
    assert table.out.getvalue().count("the demo") == 2
    assert "\x1b" not in table.out.getvalue()


def test_into_a_file_what_came_last_is_written_at_the_end(table, clock):
    table.open()
    table.send(Batch([sweep(clock, 1.0)], []))
    clock.sleep(1)
    table.send(Batch([sweep(clock, 2.0, node="10")], []))
    for _ in range(2):
        table.close()
    assert [row[0] for row in rows(table)] == ["9", "10"]
    assert table.out.getvalue().count("the demo") == 2


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 24), (120, 12), (80, 5)])
def test_on_a_terminal_nothing_is_cut_and_all_fits(table, clock, monkeypatch, width, height):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    table.out = Terminal()
    table.open()
    words = "it is refused as its length is not that of the node"
    for n in range(20):
        logging.getLogger("oemgateway").warning("sensor%d: %s, %s", n, words, words)
    table.send(Batch([sweep(clock, 1.0, None)], []))
    shown = table.out.getvalue().rpartition("\x1b[H")[2].removesuffix("\x1b[J").split("\x1b[K\n")
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)
    text = " ".join("\n".join(shown).split())
    assert height < 10 or "gap: index kept" in text
    assert height < 10 or f"sensor19: {words}, {words}" in text


def test_the_demos_title_fits_a_terminal_of_80_columns():
    with demo.configured() as configuration:
        assert len(configuration.dispatchers["screen"].title) <= 80


def test_on_a_terminal_it_is_drawn_over_itself_with_the_end_of_the_log_below(table, clock):
    logger = logging.getLogger("oemgateway")
    before = logger.handlers
    table.out = Terminal()
    table.open()
    for n in range(20):
        logger.warning("sensor%d is unplugged", n)
    table.send(Batch([sweep(clock, 1.0)], []))
    last = table.out.getvalue().rpartition("\x1b[H")[2]
    assert "sensor19 is unplugged" in last
    assert "sensor11 " not in last
    table.close()
    assert logger.handlers == before


def test_neither_a_name_nor_the_log_reaches_the_terminal_raw(table, clock):
    table.title = "the\x1b]0;demo"
    table.out = Terminal()
    table.open()
    logging.getLogger("oemgateway").warning("the board says: \x1b[2J\nforged")
    table.send(Batch([Frame("9", (1.0,), Stamp(clock.wall(), "boot", 0), ("a\x1b[2J\u202eb",))], []))
    shown = table.out.getvalue().rpartition("\x1b[H")[2].removesuffix("\x1b[J").replace("\x1b[K\n", "\n")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"the board says: \x1b[2J\nforged" in shown
