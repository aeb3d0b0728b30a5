"""What an emonTH 2 prints when it starts, by its firmware, and what of it is a reading."""

from __future__ import annotations

import pytest

from listeners.lines import Ignored, Rejected
from listeners.simulated.clock import VirtualClock
from listeners.textlines.keyvalue import KeyValue, Pairs
from listeners.textlines.start_up import StartUp

BANNER = """\
OpenEnergyMonitor.org
emonTH FW: V3.2.7
Loaded EEPROM config
Group 210, Node 23, Band 433 MHz
pulses enabled = 1
pulse period = 100 ms
DS18B20 enabled = 1
RF on
Serial on
RF power = 7 dBm
RadioFormat: LowPowerLabs
Init RFM...
RFM Started
Int SI7021..
SI7021 Started, ID: 21
temp:20.87,humidity:46.31
DS18B20 found = 1 of 3
, with addresses...
28 FF 64 1E 1 2 3 4\x20
tempex0:205,
Serial on
'+++' then [Enter] for config mode, waiting 3s...
Continuing without entering config mode...
""".splitlines()
READING = "temp:209,tempex0:205,humidity:463,batt:33"


@pytest.fixture
def listener():
    listener = KeyValue(node="emonth")
    listener.clock = VirtualClock()
    return listener


@pytest.mark.parametrize("first", range(len(BANNER) - 3))
def test_what_it_prints_before_it_has_begun_is_no_reading_from_whichever_line_it_is_heard(listener, first):
    if "temp" in BANNER[first]:
        first -= 1  # what comes first is dropped: it may be the end of a line
    for line in BANNER[first:]:
        assert not isinstance(listener.hear(line), Pairs), line
    assert listener.hear(READING).values == (209, 205, 463, 33)
    # and again, when its battery is changed
    assert all(isinstance(listener.hear(line), Ignored) for line in BANNER)
    assert isinstance(listener.hear(READING), Pairs)


def test_where_the_last_line_is_damaged_the_next_minutes_reading_is_one(listener):
    for line in BANNER[:-1]:
        listener.hear(line)
    assert isinstance(listener.hear("Contin\N{REPLACEMENT CHARACTER}ing"), Rejected | Ignored)
    listener.clock.sleep(31)
    assert isinstance(listener.hear(READING), Pairs)


def test_a_device_that_has_no_such_start_is_heard_at_once(listener):
    for line in ("emonTx V3.2 continuous monitoring", "describe:EmonTX3CM", "Settings: r1 b4 p25"):
        listener.hear(line)
        assert isinstance(listener.hear("MSG:1,Vrms:243.10"), Pairs)


def test_nothing_but_its_own_lines_begins_it():
    start = StartUp()
    assert not start.hear("temp:20.87,humidity:46.31", 0.0)
    assert start.hear("\r Int SI7021..", 0.0)
    assert start.hear("temp:20.87,humidity:46.31", 30.0)
    assert not start.hear("temp:209", 30.1)
