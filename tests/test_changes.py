from __future__ import annotations

import pytest

from gateway.conf import config
from gateway.conf.changes import changes

FILE = """\
[gateway]
loglevel = INFO
[listeners]
[[radio]]
type = rfm12pi
port = /dev/ttyAMA0
group = 210
[[bridge]]
type = ds2482
node = 9
sensor1 = 28.33F749050000, flow
[dispatchers]
[[home]]
type = emoncms
apikey = 00112233445566778899aabbccddeeff
[nodes]
[[10]]
name = kitchen
"""


@pytest.fixture
def edited(written):
    def edited(*replacements: tuple[str, str]) -> str:
        before = config.read(written(FILE))
        text = FILE
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        return changes(before, config.read(written(text)), before.gateway)

    return edited


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("group = 210", "group = 212", "radio: group 210 -> 212, reopened"),
        ("group = 210\n", "", "radio: group 210 -> none, reopened"),
        ("sensor1 = 28.33F749050000, flow", "sensor2 = 28.33F749050000", None),
        ("[[radio]]", "[[wireless]]", "wireless: new; radio: removed"),
        ("type = rfm12pi", "type = repeater", "radio: another type, reopened"),
        ("group = 210", "group = 210\nloglevel = DEBUG", "radio: loglevel none -> DEBUG"),
        ("name = kitchen", "name = cellar", "node 10: name kitchen -> cellar"),
        ("[[10]]", "[[11]]", "node 11: new; node 10: removed"),
        ("loglevel = INFO", "loglevel = DEBUG", "loglevel INFO -> DEBUG"),
        ("loglevel = INFO", "max_size = 9", "max_size 200 -> 9, which takes effect at the next start"),
    ],
)
def test_an_edit_is_told_in_a_sentence(edited, old, new, said):
    sentence = edited((old, new))
    assert sentence.endswith("; nothing else changed")
    if said:
        assert sentence == f"{said}; nothing else changed"
    else:
        assert "sensor1 28.33F749050000, flow -> none" in sentence
        assert "sensor2 none -> 28.33F749050000" in sentence


def test_an_edit_of_the_state_directory_says_that_its_files_have_to_move(edited):
    said = edited(("loglevel = INFO", "loglevel = INFO\nstate_dir = /elsewhere"))
    later = "/elsewhere, which takes effect at the next start: before it, stop the gateway and move the files"
    assert said.endswith(f"-> {later}; nothing else changed")


def test_what_takes_effect_at_the_next_start_is_compared_with_what_runs(written):
    # given a gateway that runs with one directory, and an edit that names another
    one, two, three = (
        config.read(written(FILE.replace("INFO", f"INFO\nstate_dir = /{name}\nmax_size = {size}")))
        for name, size in (("one", 1), ("two", 2), ("three", 1))
    )
    # when that is taken back, then nothing has to be moved
    assert changes(two, one, one.gateway) == (
        "state_dir /two -> /one again, which is still in force; "
        "max_size 2 -> 1 again, which is still in force; nothing else changed"
    )
    # and a third is told with the one that runs
    assert "state_dir /one -> /three, which takes effect at the next start: before" in changes(
        two, three, one.gateway
    )
    assert changes(two, two, one.gateway) == "no setting changed"


def test_a_key_is_never_shown(edited):
    said = edited(("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"))
    assert said == "home: apikey changed, reopened; nothing else changed"


def test_several_at_once(edited):
    said = edited(("group = 210", "group = 212"), ("node = 9", "node = 8"))
    assert said == "radio: group 210 -> 212, reopened; bridge: node 9 -> 8, reopened; nothing else changed"


def test_a_comment_changes_nothing(edited):
    assert edited(("group = 210", "group = 210  # ours")) == "no setting changed"
