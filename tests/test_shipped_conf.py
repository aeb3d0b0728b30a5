"""etc/oemgateway.conf: the example that people start from, and the manual of every setting."""

from __future__ import annotations

import re
import struct
from dataclasses import MISSING
from pathlib import Path

import pytest

from gateway import paths
from gateway.conf import config, document
from gateway.conf.config import ConfigFaults, Gateway
from gateway.nodes import Decoder
from gateway.registry import known
from gateway.settings import build, declared, number_of, shown
from listeners.counter import Counters
from listeners.lograte.listener import Patterns
from listeners.mqtt.mappings import Mappings
from listeners.onewire.slots import Offsets, Slots
from listeners.probe.targets import Targets
from tests import shipped_file

SHIPPED = (Path(__file__).parent.parent / "etc/oemgateway.conf").read_text(encoding="utf-8")
KEY = "0123456789abcdef0123456789abcdef"
READY = SHIPPED.replace("apikey = ", f"apikey = {KEY}")
EVERYTHING = re.sub(r"(?m)^( *)#(?=\S)", r"\1", READY).replace("sensor1 = Dummy", "sensor1 = 28.33F749050000")
"""The file with every example and every default switched on."""


def without(*names):
    """Return it without these sections, whose ports other sections show as well."""
    return re.sub(rf"(\[\[(?:{'|'.join(names)})\]\]\n.*\n *active = )yes", r"\1no", EVERYTHING)


HALVES = without("transmitter", "names"), without("radio", "cable")

SECTIONS = {section.name: section for section in shipped_file.read(SHIPPED)}
LEFT_OUT = {
    Slots: "Dummy",
    Offsets: "0",
    Counters: "Dummy",
    Patterns: "Dummy",
    Targets: "Dummy",
    Mappings: "",
}
"""What an index has that is left out."""


def test_a_beginner_touches_three_lines():
    marked = [line.split()[0] for line in SHIPPED.splitlines() if " <-- " in line]
    assert marked == ["sensor1", "url", "apikey"]


def test_only_the_key_is_missing(written):
    with pytest.raises(ConfigFaults) as caught:
        config.read(written(SHIPPED))
    assert [fault.where for fault in caught.value.faults] == ["apikey"]


def test_with_a_key_it_is_right(written):
    ready = config.read(written(READY))
    assert (list(ready.listeners), list(ready.dispatchers)) == (["bridge"], ["emoncms"])
    assert ready.gateway == Gateway()


def test_to_see_it_run_with_nothing_attached_a_few_lines_are_changed(written):
    text = SHIPPED
    for before, after in (
        ("#bus = 1", "bus = simulated"),
        ("sensor1 = Dummy", "sensor1 = 28.33F749050000, flow"),
        ("type = emoncms\n    #active = yes", "type = emoncms\n    active = no"),
        ("#[[log]]\n    #type = log", "[[log]]\n    type = log"),
    ):
        assert before in text
        text = text.replace(before, after, 1)
    trial = config.read(written(text))
    assert [listener.simulated for listener in trial.listeners.values()] == [True]
    assert list(trial.dispatchers) == ["log"]


def test_every_type_has_its_example(written):
    # the types of 2013, and the names that settings had, are understood and not advertised
    first, second = (config.read(written(half)).types for half in HALVES)
    for kind, types in first.items():
        assert sorted({*types.values(), *second[kind].values()}) == sorted(known(kind))


@pytest.fixture
def described(written):
    """Return the settings in force, if everything is, by section, with what the file shows of them."""
    first, second = (config.read(written(half)) for half in HALVES)
    plugins = {**first.listeners, **second.listeners, **first.dispatchers}
    sections = {"[gateway]": first.gateway, **{f"[[{name}]]": it for name, it in plugins.items()}}
    return [(SECTIONS[name], settings) for name, settings in sections.items()]


def shown_in(section):
    return [setting for group in section.groups for setting in group.settings if setting.key != "type"]


def families(settings):
    return {
        name: type(getattr(settings, name))
        for name in declared(type(settings))
        if hasattr(getattr(settings, name), "PREFIX")
    }


def field_of(settings, key):
    """Return the name of the field that takes a key: its own, never an older one, or that of its family."""
    return next((name for name, kind in families(settings).items() if number_of(key, kind)), key)


def required(settings):
    return {
        name
        for name, field in declared(type(settings)).items()
        if field.default is MISSING and field.default_factory is MISSING
    }


def with_required(section, settings, **entries):
    """Return the settings of a section with these entries, and all others left out that can be."""
    needed = {shown.key: shown.value or KEY for shown in shown_in(section) if shown.key in required(settings)}
    return build(type(settings), needed | entries)


def test_every_setting_stands_there_and_no_other(described):
    for section, settings in described:
        fields = [field_of(settings, setting.key) for setting in shown_in(section)]
        assert set(fields) == declared(type(settings)).keys(), section.name


def test_what_stands_there_is_what_it_is_when_left_out(described):
    for section, settings in described:
        left_out = with_required(section, settings)
        for setting in shown_in(section):
            name = field_of(settings, setting.key)
            where = f"{section.name} {setting.key}"
            if kind := families(settings).get(name):
                assert setting.value == LEFT_OUT[kind], where
            else:
                assert getattr(settings, name) == getattr(left_out, name), where


def test_an_index_that_is_left_out_has_no_sensor_and_no_offset():
    shown_slots, slots = Slots({1: Slots.parse_entry(1, LEFT_OUT[Slots])}), Slots()
    assert (shown_slots.roms(), shown_slots.indices()) == (slots.roms(), slots.indices())
    shown_offsets = Offsets({1: Offsets.parse_entry(1, LEFT_OUT[Offsets])})
    assert shown_offsets.applied([21.5]) == Offsets().applied([21.5])


def test_it_says_of_a_setting_that_it_has_no_default_where_that_is_so(described):
    for section, settings in described:
        for setting in shown_in(section):
            is_required = field_of(settings, setting.key) in required(settings)
            assert ("no default" in setting.remark) == is_required, f"{section.name} {setting.key}"


def test_what_a_value_may_look_like_is_taken(described):
    looks = [
        (section, settings, setting.key, setting.remark.removeprefix("such as "))
        for section, settings in described
        for setting in shown_in(section)
        if setting.remark.startswith("such as ")
    ]
    assert len(looks) > 10
    for section, settings, key, look in looks:
        with_required(section, settings, **{key: look.split(", ") if ", " in look else look})


def test_every_setting_is_explained_where_it_stands_or_where_that_says(described):
    for section, _ in described:
        for group in section.groups:
            keys = {setting.key for setting in group.settings}
            said = " ".join(paragraph.text for paragraph in group.words)
            if elsewhere := re.fullmatch(r"As in (\[\[\w+\]\])\.", said):
                groups = SECTIONS[elsewhere[1]].groups
                explained = {
                    setting.key
                    for other in groups
                    if other.words and not other.words[0].text.startswith("As in")
                    for setting in other.settings
                }
                assert keys <= explained, f"{section.name}: {elsewhere[1]} does not explain all of {keys}"
            elif not said:
                assert keys <= SECTIONS["[listeners]"].words[1].terms.keys(), f"{section.name}: {keys}"


def test_the_words_on_where_state_and_socket_are_by_themselves_are_true():
    words = {group.settings[0].key: group.words[0].text for group in SECTIONS["[gateway]"].groups}
    assert f"{paths.STATE} or" in words["state_dir"]
    assert "~/.local/state/oemgateway" in words["state_dir"]
    assert f"{paths.SOCKET} or" in words["socket"]


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


def test_the_ready_decoders_decode(written):
    nodes = config.read(written(HALVES[0])).nodes
    assert list(nodes.decoders) == list(PACKETS)
    for node, (data, values) in PACKETS.items():
        decoded = nodes.decode(node, data)
        assert decoded.values == values
        assert len(decoded.names) == len(nodes.decoders[node].units) == len(values)


def test_every_setting_of_a_node_is_explained_with_its_default_and_has_an_example(written):
    sections = document.read(written(EVERYTHING)).root.sections["nodes"].sections.values()
    assert {key for section in sections for key in section.entries} == declared(Decoder).keys()
    (terms,) = (paragraph.terms for paragraph in SECTIONS["[nodes]"].words if paragraph.terms)
    assert terms.keys() == declared(Decoder).keys()
    for key, default in shown(Decoder()).items():
        said = re.search(r"\(default (.+)\)$", terms[key])
        assert (said[1] if said else "") == default, key
