"""etc/oemgateway.conf: the example that people start from, and the manual of every setting."""

from __future__ import annotations

import re
import struct
from dataclasses import MISSING
from pathlib import Path

import pytest

from gateway import config, document
from gateway.config import ConfigFaults, Gateway
from gateway.nodes import Decoder
from gateway.registry import known
from gateway.settings import declared

SHIPPED = (Path(__file__).parent.parent / "etc/oemgateway.conf").read_text(encoding="utf-8")
READY = SHIPPED.replace("apikey = ", "apikey = 0123456789abcdef0123456789abcdef")
EVERYTHING = re.sub(r"(?m)^( *)#(?=\S)", r"\1", READY).replace("= Dummy", "= 28.33F749050000")
"""The file with every example and every default switched on."""

FAMILIES = {"sensors": "sensor1", "offsets": "offset1"}
SHOWN_ONCE = {(name, "offsets") for name in ("mounted", "server", "kernel")} | {
    ("transmitter", key) for key in ("group", "frequency", "baseid", "quiet", "sendtimeinterval", "header")
}
FIRST = "bridge"
"""Where a setting stands that every section may have."""
NOT_SHOWN = {("mounted", "server"), ("table", "title")}
"""A server cannot stand beside a path, and a title is the demo's."""


@pytest.fixture
def file(tmp_path):
    def file(text):
        path = tmp_path / "oemgateway.conf"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o640)
        return path

    return file


def test_a_beginner_touches_three_lines():
    marked = [line.split()[0] for line in SHIPPED.splitlines() if " <-- " in line]
    assert marked == ["sensor1", "url", "apikey"]


def test_only_the_key_is_missing(file):
    with pytest.raises(ConfigFaults) as caught:
        config.read(file(SHIPPED))
    assert [fault.where for fault in caught.value.faults] == ["apikey"]


def test_with_a_key_it_is_right(file):
    ready = config.read(file(READY))
    assert (list(ready.listeners), list(ready.dispatchers)) == (["bridge"], ["emoncms"])
    assert ready.gateway == Gateway()


def test_every_type_has_its_example(file):
    for kind, types in config.read(file(EVERYTHING)).types.items():
        assert sorted(types.values()) == sorted(known(kind))


def test_every_setting_stands_there_with_its_default(file):
    path = file(EVERYTHING)
    everything, tops = config.read(path), document.read(path).root.sections
    sections = {**tops["listeners"].sections, **tops["dispatchers"].sections, "gateway": tops["gateway"]}
    for name, settings in {
        **everything.listeners,
        **everything.dispatchers,
        "gateway": everything.gateway,
    }.items():
        for key, field in declared(type(settings)).items():
            if (name, key) not in SHOWN_ONCE | NOT_SHOWN and (key != "loglevel" or name == FIRST):
                assert FAMILIES.get(key, key) in sections[name].entries, f"[[{name}]] does not show {key}"
            if key not in FAMILIES and field.default not in (None, MISSING):
                assert getattr(settings, key) == field.default, f"[[{name}]] shows another default of {key}"


NONE = 3000
"""Tenths of a degree that mean a sensor is absent."""

PACKETS = {
    "5": (
        struct.pack("<10hL", 1500, -320, 1180, 24012, 215, *[NONE] * 5, 70000),
        (1500, -320, 1180, 240.12, 21.5, *[None] * 5, 70000),
    ),
    "8": (
        struct.pack("<11hL", 999, -1000, 0, 32767, 24020, 215, -210, *[NONE] * 4, 4294967295),
        (999, -1000, 0, 32767, 240.2, 21.5, -21, *[None] * 4, 4294967295),
    ),
    "10": (struct.pack("<5h", 100, -50, 0, 24180, 2150), (100, -50, 0, 241.8, 21.5)),
    "11": (
        struct.pack("<11hL", 100, 0, 50, 0, 24345, 2150, *[NONE * 10] * 5, 9),
        (100, 0, 50, 0, 243.45, 21.5, *[None] * 5, 9),
    ),
    "15": (
        bytes(byte ^ 0x55 for byte in struct.pack("<L5h4l3hL", 84, 10914, *[0] * 8, 2050, -125, 30200, 1)),
        (84, 109.14, *[0] * 8, 20.5, -1.25, None, 1),
    ),
    "17": (
        struct.pack(
            "<L7h6l3hL", 41, 24310, 105, 447, -12, 0, 0, 0, 1234567, -3, *[0] * 4, 2050, 30000, -125, 9
        ),
        (41, 243.1, 105, 447, -12, 0, 0, 0, 1234567, -3, *[0] * 4, 20.5, None, -1.25, 9),
    ),
    "19": (struct.pack("<4h", 243, NONE, 402, 24), (24.3, None, 40.2, 2.4)),
    "20": (bytes([102, 8]), (21.5,)),
    "23": (struct.pack("<4hL", -5, NONE, 402, 24, 70000), (-0.5, None, 40.2, 2.4, 70000)),
    "27": (
        struct.pack("<L9h6lL", 13, 24310, 24199, 0, *range(6), *range(-3, 3), 3),
        (13, 243.1, 241.99, 0, *range(6), *range(-3, 3), 3),
    ),
}


def test_the_ready_decoders_decode(file):
    nodes = config.read(file(EVERYTHING)).nodes
    assert list(nodes.decoders) == list(PACKETS)
    for node, (data, values) in PACKETS.items():
        decoded = nodes.decode(node, data)
        assert decoded.values == values
        assert len(decoded.names) == len(nodes.decoders[node].units) == len(values)


def test_every_setting_of_a_node_is_explained_and_has_an_example(file):
    sections = document.read(file(EVERYTHING)).root.sections["nodes"].sections.values()
    assert {key for section in sections for key in section.entries} == declared(Decoder).keys()
    for key in declared(Decoder):
        assert re.search(rf"(?m)^# {key} {{2,}}\w", SHIPPED), f"{key} is not explained"
