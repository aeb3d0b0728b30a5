"""A configuration in words, and the settings in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import config
from gateway.describe import describe, show_settings

HERE = Path(__file__).parent
KEY = "0123456789abcdef0123456789abcdef"

EXAMPLE = f"""\
[gateway]
[listeners]
[[cellar]]
type = owfs
node = 9
interval = 10
sensor1 = 28.33F749050000, flow
sensor3 = Dummy
sensor10 = 28.DB564A050000
offset1 = -0.3
[[lines]]
type = OemGatewaySocketListener
port_nb = 50011
[dispatchers]
[[emoncms]]
type = emoncms
apikey = {KEY}
[[log]]
type = log
active = no
"""


@pytest.fixture
def read(written):
    return lambda text: config.read(written(text))


def test_a_configuration_is_described_index_by_index(read):
    lines = describe(read(EXAMPLE)).splitlines()
    assert "listener cellar, type owfs" in lines
    assert "    node = 9, interval = 10, resolution = 12, offset1 = -0.3, path = /mnt/1wire" in lines
    start = lines.index("    index 1   28.33F749050000    flow")
    assert lines[start + 1 : start + 9] == [f"    index {index}   Dummy" for index in range(2, 10)]
    assert lines[start + 9] == "    index 10  28.DB564A050000"
    assert "listener lines, type OemGatewaySocketListener" in lines
    assert "dispatcher emoncms, type emoncms" in lines


def test_it_ends_with_the_remarks(read):
    assert describe(read(EXAMPLE)).endswith("oemgateway.conf:20: log: not run, and not checked: active = no")


def test_it_shows_no_key_and_breaks_no_setting_over_two_lines(read):
    text = describe(read(EXAMPLE))
    assert KEY not in text
    assert "apikey = ********" in text
    assert all(line.count("=") == line.count(" = ") for line in text.splitlines())


def test_the_settings_in_force_are_a_file_that_reads_as_the_same(read):
    first = read(EXAMPLE)
    text = show_settings(first)
    assert KEY not in text
    second = read(text.replace("********", KEY))
    assert (second.gateway, second.listeners, second.dispatchers) == (
        first.gateway,
        first.listeners,
        first.dispatchers,
    )
    assert second.types == first.types


def test_the_settings_of_the_file_of_2014_read_as_the_same():
    first = config.read(HERE / "vectors/oemgateway-2014.conf")
    assert "[[RFM2Pi]]\ntype = OemGatewayRFM2PiListener\n" in show_settings(first)
    assert "[[[" not in show_settings(first)
