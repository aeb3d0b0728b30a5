"""The label of a sensor, written into its line."""

from __future__ import annotations

import pytest

from gateway.conf import config
from listeners.onewire.commands.relabel import relabel
from listeners.onewire.rom import Rom

FLOW = Rom.parse("28.DB564A050000")
TEXT = """\
[listeners]
[[cellar]]
    type = owfs
    node = 9
    sensor1 = 28-00000549f733, cellar   # by the door
    sensor2 = 28-0000054a56db
    [[[runtime_settings]]]
        sensor3 = 28.DB564A050000.E5, old
[[off]]
    type = owfs
    active = no
    sensor1 = 28.DB564A050000
[dispatchers]
[[log]]
    type = log
"""


@pytest.fixture
def file(written):
    return written(TEXT)


@pytest.mark.parametrize(
    ("index", "label", "line", "entry"),
    [
        (2, "flow", 6, "sensor2 = 28-0000054a56db, flow"),
        (2, " Tom's room, left ", 6, 'sensor2 = 28-0000054a56db, "Tom\'s room, left"'),
        (3, "", 8, "sensor3 = 28.DB564A050000.E5"),
        (3, "Küche", 8, "sensor3 = 28.DB564A050000.E5, Küche"),
    ],
)
def test_the_label_changes_and_the_id_stays_as_it_was_written(file, index, label, line, entry):
    assert relabel(file, "cellar", index, FLOW, label) == f"{file}:{line}: {entry}"
    lines = file.read_text().splitlines()
    assert lines[line - 1].strip() == entry
    assert [*lines[: line - 1], *lines[line:]] == [*TEXT.splitlines()[: line - 1], *TEXT.splitlines()[line:]]
    assert config.read(file).listeners["cellar"].sensors.by_index[index].label == label.strip()


def test_an_id_in_triple_quotes_gets_its_label_too(written):
    file = written(TEXT.replace("28-0000054a56db", '"""28-0000054a56db"""'))
    assert relabel(file, "cellar", 2, FLOW, "flow") == f"{file}:6: sensor2 = 28-0000054a56db, flow"


@pytest.mark.parametrize(("section", "index"), [("cellar", 1), ("cellar", 7), ("attic", 2), ("off", 1)])
def test_a_place_that_has_another_sensor_by_now_is_left_alone(file, section, index):
    with pytest.raises(ValueError, match=rf"\[\[{section}\]\] does not have {FLOW} as sensor{index}"):
        relabel(file, section, index, FLOW, "flow")
    assert file.read_text() == TEXT
