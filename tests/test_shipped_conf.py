"""etc/oemgateway.conf: the example that people start from, and the manual of every setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import config, document
from gateway.config import ConfigFaults, Gateway
from gateway.registry import known
from gateway.settings import declared

SHIPPED = (Path(__file__).parent.parent / "etc/oemgateway.conf").read_text(encoding="utf-8")
READY = SHIPPED.replace("apikey = ", "apikey = 0123456789abcdef0123456789abcdef")
EVERYTHING = re.sub(r"(?m)^( *)#(?=\S)", r"\1", READY).replace("= Dummy", "= 28.33F749050000")
"""The file with every example and every default switched on."""

FAMILIES = {"sensors": "sensor1", "offsets": "offset1"}
SHOWN_ONCE = {(name, "offsets") for name in ("mounted", "server", "kernel")}
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
            if (name, key) not in SHOWN_ONCE | NOT_SHOWN:
                assert FAMILIES.get(key, key) in sections[name].entries, f"[[{name}]] does not show {key}"
            if key not in (*FAMILIES, "node", "apikey") and field.default is not None:
                assert getattr(settings, key) == field.default, f"[[{name}]] shows another default of {key}"
