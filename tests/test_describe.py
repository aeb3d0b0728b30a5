"""A configuration in words, and the settings in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.conf import config
from gateway.conf.describe import describe, show_settings
from gateway.registry import BUILT_IN

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
    lines = list(describe(read(EXAMPLE)))
    assert "listener cellar, type owfs" in lines
    assert "    node = 9, interval = 10, resolution = 12, offset1 = -0.3, path = /mnt/1wire" in lines
    start = lines.index("    index 1   28.33F749050000    flow")
    assert lines[start + 1 : start + 9] == [f"    index {index}   Dummy" for index in range(2, 10)]
    assert lines[start + 9] == "    index 10  28.DB564A050000"
    assert "listener lines, type OemGatewaySocketListener" in lines
    assert "dispatcher emoncms, type emoncms" in lines


def test_a_dummy_at_the_end_is_shown_too(read):
    lines = list(describe(read(EXAMPLE.replace("sensor3 = Dummy", "sensor11 = Dummy"))))
    assert lines[lines.index("    index 10  28.DB564A050000") + 1] == "    index 11  Dummy"


def test_it_ends_with_the_remarks(read):
    assert "\n".join(describe(read(EXAMPLE))).endswith(
        "oemgateway.conf:20: log: neither run nor checked: active = no"
    )


def test_it_shows_no_key_and_breaks_no_setting_over_two_lines(read):
    text = "\n".join(describe(read(EXAMPLE)))
    assert KEY not in text
    assert "apikey = ********" in text
    assert all(line.count("=") == line.count(" = ") for line in text.splitlines())


def test_the_settings_in_force_are_a_file_that_reads_as_the_same(read):
    first = read(EXAMPLE)
    text = "\n".join(show_settings(first))
    assert KEY not in text
    second = read(text.replace("********", KEY))
    assert (second.gateway, second.listeners, second.dispatchers) == (
        first.gateway,
        first.listeners,
        first.dispatchers,
    )
    assert second.types == first.types


SENSORS = """\
node = attic
interval = 2.5
sensor1 = 28.33F749050000, "Tom's room, left"
sensor2 = Dummy, 'the "old" one # or so'
sensor10 = 28.DB564A050000
offset1 = -0.1234567
"""
RADIO = "port = /dev/ttyUSB*\nbaud = auto\ngroup = 212\nfrequency = 868\nquiet = no\nheader = raw\n"
SECTIONS = {
    "counter": "node = 9\ncounter1 = /proc/uptime, up\n",
    "ds2482": f"{SENSORS}bus = 2\naddress = 0x1A\n",
    "exec": "command = reader, --port, '/dev/a b', 'x, y', \"it's\"\n",
    "http": f"host = 0.0.0.0\napikey = {KEY}\nrate = 5\n",
    "keyvalue": "node = 7\nport = '/dev/a, b'\n",
    "owfs": f"{SENSORS}path = '/mnt/1, wire'\n",
    "owserver": f"{SENSORS}server = [fe80::1]:99\n",
    "repeater": f"{RADIO}allow = s,\n",
    "rfm12pi": RADIO,
    "serial": "port = '/dev/#1'\n",
    "tcp": f"key = {KEY}\nidle = 1e3\n",
    "w1": SENSORS,
    "lograte": 'node = mail\nfile = /var/log/mail.log\npattern1 = "status=sent, [0-9]", sent\n',
    "probe": "node = network\ntarget1 = tcp nas.local:22, nas\n",
    "OemGatewayOWFSListener": SENSORS,
    "emoncms": f"url = 'https://emoncms.org/a,b'\napikey = {KEY}\nkeys = name\n",
    "table": "title = 'My \"house\", upstairs'\n",
    "OemGatewayEmoncmsBuffer": f"apikey = {KEY}\ndomain = emoncms.org\n",
}
"""Settings of each type that are hard to write; a type that is not here can do without any."""


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names]
)
def test_the_settings_shown_of_each_type_read_as_the_same(read, kind, name):
    # given a section of this type, and one of the other kind
    sections = {"listeners": "type = tcp\n", "dispatchers": "type = log\n"}
    sections[kind] = f"type = {name}\n{SECTIONS.get(name, '')}"
    first = read("".join(f"[{kind}]\n[[{kind}]]\n{section}" for kind, section in sections.items()))
    # when what is shown of it is read
    second = read("\n".join(show_settings(first)).replace("********", KEY))
    # then it is the same plugin, and what is shown of that is the same again
    assert getattr(second, kind) == getattr(first, kind)
    assert list(show_settings(second)) == list(show_settings(first))


def test_a_bridge_is_shown_at_the_address_that_its_data_sheet_gives(read):
    text = f"[listeners]\n[[house]]\ntype = ds2482\n{SENSORS}[dispatchers]\n[[log]]\ntype = log\n"
    assert "address = 0x18" in list(show_settings(read(text)))


def test_the_settings_of_the_file_of_2014_read_as_the_same():
    first = config.read(HERE / "vectors/oemgateway-2014.conf")
    assert "[[RFM2Pi]]\ntype = OemGatewayRFM2PiListener\n" in "\n".join(show_settings(first))
    assert "[[[" not in "\n".join(show_settings(first))
