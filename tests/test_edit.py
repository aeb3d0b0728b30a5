"""One line of the configuration replaced; all the rest stays, byte for byte."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conf import document, edit
from gateway.conf.edit import replace_value

TEXT = """\
# made by hand
[listeners]

[[cellar]]
\ttype = ds2482
\tsensor1   =  28.33F749050000 ,  'old, label'   # the one at the "door"
    sensor2 = 28.DB564A050000
    sensor3=28.AB1663050000,Tom's room#2
[dispatchers]
[[emoncms]]
    apikey = "a # b"
"""


@pytest.fixture
def file(written):
    return written(TEXT)


@pytest.mark.parametrize(
    ("line", "key", "value", "expected"),
    [
        (
            6,
            "sensor1",
            ["28.33F749050000", "flow"],
            '\tsensor1   =  28.33F749050000, flow   # the one at the "door"',
        ),
        (7, "sensor2", ["28.DB564A050000", "a, b"], '    sensor2 = 28.DB564A050000, "a, b"'),
        (7, "sensor2", ["Dummy"], "    sensor2 = Dummy"),
        (8, "sensor3", ["28.AB1663050000", "Jim's"], "    sensor3=28.AB1663050000, Jim's#2"),
        (11, "apikey", ["c # d"], '    apikey = "c # d"'),
    ],
)
def test_only_the_value_changes(file, line, key, value, expected):
    entry = replace_value(file, line, key, value)
    lines = TEXT.split("\n")
    lines[line - 1] = expected
    assert file.read_text() == "\n".join(lines)
    assert entry in expected.replace("   =  ", " = ").replace("=28", " = 28")


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n\n"])
def test_line_endings_stay(file, ending, start, end):
    text = start + TEXT.rstrip("\n").replace("\n", ending) + end
    file.write_bytes(text.encode())
    replace_value(file, 7, "sensor2", ["28.DB564A050000", "flow"])
    assert file.read_bytes().decode() == text.replace("28.DB564A050000", "28.DB564A050000, flow")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_stays_and_nothing_is_left_beside(file, mode):
    file.chmod(mode)
    replace_value(file, 7, "sensor2", ["Dummy"])
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(file):
    os.chown(file, 12345, 54321)
    replace_value(file, 7, "sensor2", ["Dummy"])
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)


def test_an_owner_that_cannot_be_kept_leaves_the_file_alone(file, monkeypatch):
    def refuse(fd, uid, gid):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(PermissionError):
        replace_value(file, 7, "sensor2", ["Dummy"])
    assert file.read_text() == TEXT
    assert list(file.parent.iterdir()) == [file]


def test_a_link_to_the_file_stays_one(file, tmp_path):
    link = tmp_path / "link.conf"
    link.symlink_to(file)
    replace_value(link, 7, "sensor2", ["Dummy"])
    assert link.is_symlink()
    assert "sensor2 = Dummy\n" in file.read_text()


@pytest.mark.parametrize(("line", "key"), [(6, "sensor2"), (1, "sensor2"), (4, "sensor2"), (5, "sensor2")])
def test_another_line_than_was_meant_is_left_alone(file, line, key):
    with pytest.raises(ValueError, match=f":{line}: sensor2 = ... expected there"):
        replace_value(file, line, key, ["Dummy"])
    assert file.read_text() == TEXT


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("two\nlines", "one line of plain text expected"),
        ("a tab\t", "one line of plain text expected"),
        ("'#\"", "would not be read as it is meant"),
    ],
)
def test_what_would_be_read_otherwise_is_not_written(file, value, why):
    with pytest.raises(ValueError, match=why):
        replace_value(file, 7, "sensor2", ["28.DB564A050000", value])
    assert file.read_text() == TEXT
    assert list(file.parent.iterdir()) == [file]


def test_an_edit_of_someone_else_is_not_overwritten(file, monkeypatch):
    entries = edit._entries

    def meanwhile(path):
        found = entries(path)
        if path != file:
            file.write_text(TEXT + "# and more\n")
        return found

    monkeypatch.setattr(edit, "_entries", meanwhile)
    with pytest.raises(ValueError, match="someone else"):
        replace_value(file, 7, "sensor2", ["Dummy"])
    assert file.read_text() == TEXT + "# and more\n"


@given(text=st.text("a'\",#= ", max_size=6) | st.text(st.characters(codec="utf-8"), max_size=12))
def test_whatever_the_text_it_is_read_back_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("edit") / "oemgateway.conf"
    file.write_text(TEXT)
    try:
        replace_value(file, 7, "sensor2", ["28.DB564A050000", text])
    except ValueError:
        assert file.read_text() == TEXT
    else:
        entry = document.read(file).root.sections["listeners"].sections["cellar"].entries["sensor2"]
        assert entry.value == ["28.DB564A050000", text]
        before, after = TEXT.split("\n"), file.read_text().split("\n")
        assert [after[i] for i in range(len(before)) if i != 6] == [
            before[i] for i in range(len(before)) if i != 6
        ]
