"""One line of the configuration replaced; all the rest stays, byte for byte."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.conf import document
from gateway.conf.document import ConfigFaults
from gateway.conf.edit import Draft, rewrite
from gateway.process.output import output

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


def replace_value(file, key, value):
    draft = Draft(file)
    kind, section = ("dispatchers", "emoncms") if key == "apikey" else ("listeners", "cellar")
    entry = draft.set(kind, section, key, value)
    draft.write()
    return entry


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
    entry = replace_value(file, key, value)
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
    replace_value(file, "sensor2", ["28.DB564A050000", "flow"])
    assert file.read_bytes().decode() == text.replace("28.DB564A050000", "28.DB564A050000, flow")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_stays_and_nothing_is_left_beside(file, mode):
    file.chmod(mode)
    replace_value(file, "sensor2", ["Dummy"])
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(file):
    os.chown(file, 12345, 54321)
    replace_value(file, "sensor2", ["Dummy"])
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)


def test_an_owner_that_cannot_be_kept_leaves_the_file_alone(file, monkeypatch):
    def refuse(fd, uid, gid):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(PermissionError):
        replace_value(file, "sensor2", ["Dummy"])
    assert file.read_text() == TEXT
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("number", "cure"),
    [(errno.EBUSY, "mounted by itself"), (errno.EPERM, "lsattr"), (errno.EXDEV, "Invalid cross-device link")],
)
def test_a_file_that_cannot_be_replaced_is_named_with_what_to_do(file, monkeypatch, number, cure):
    # given a file that is mounted by itself into a container, or can only be appended to
    def refuse(new, there):
        raise OSError(number, os.strerror(number), str(new), None, str(there))

    monkeypatch.setattr(Path, "replace", refuse)
    # when it is to be replaced, then the message is about the file, and it stays
    before = file.read_bytes()
    with pytest.raises(OSError, match=cure) as raised:
        rewrite(file, b"new")
    assert raised.value.filename == str(file)
    with pytest.raises(OSError, match=cure) as raised, output(str(file)) as stream:
        stream.write(b"new")
    assert raised.value.filename == str(file)
    assert file.read_bytes() == before
    assert [*file.parent.iterdir()] == [file]


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "oemgateway.conf"
    os.mkfifo(pipe)
    with pytest.raises(document.ConfigFaults, match="a file expected, and no pipe"):
        Draft(pipe)
    with pytest.raises(OSError, match="a plain file expected"):
        Draft(Path(os.devnull))
    with pytest.raises(OSError, match="a plain file expected"):
        rewrite(pipe, b"")
    assert pipe.is_fifo()


@pytest.mark.parametrize("comment", ["", "   # it's", " # '''"])
@pytest.mark.parametrize(
    "before", ['"""no"""', "'''no'''", "'''it's \"x\", y'''", '""""""', ",", "a,", "a 'b', c", "it's"]
)
def test_whatever_quotes_a_value_has_it_can_be_replaced(written, before, comment):
    file = written(TEXT.replace("28.DB564A050000", f"{before}{comment}"))
    replace_value(file, "sensor2", ["Dummy"])
    assert file.read_text() == TEXT.replace("28.DB564A050000", f"Dummy{comment}")


def test_a_link_to_the_file_stays_one(file, tmp_path):
    link = tmp_path / "link.conf"
    link.symlink_to(file)
    replace_value(link, "sensor2", ["Dummy"])
    assert link.is_symlink()
    assert "sensor2 = Dummy\n" in file.read_text()


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
        replace_value(file, "sensor2", ["28.DB564A050000", value])
    assert file.read_text() == TEXT
    assert list(file.parent.iterdir()) == [file]


def test_an_edit_of_someone_else_is_not_overwritten(file):
    draft = Draft(file)
    draft.set("listeners", "cellar", "sensor2", "Dummy")
    file.write_text(TEXT + "# and more\n")
    with pytest.raises(ValueError, match="someone else"):
        draft.write()
    assert file.read_text() == TEXT + "# and more\n"


@given(text=st.text("a'\",#= ", max_size=6) | st.text(st.characters(codec="utf-8"), max_size=12))
def test_whatever_the_text_it_is_read_back_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("edit") / "oemgateway.conf"
    file.write_text(TEXT)
    try:
        replace_value(file, "sensor2", ["28.DB564A050000", text])
    except ValueError:
        assert file.read_text() == TEXT
    else:
        entry = document.read(file).root.sections["listeners"].sections["cellar"].entries["sensor2"]
        assert entry.value == ["28.DB564A050000", text]
        before, after = TEXT.split("\n"), file.read_text().split("\n")
        assert [after[i] for i in range(len(before)) if i != 6] == [
            before[i] for i in range(len(before)) if i != 6
        ]


# --- Changes that are not written yet -------------------------------------------------------------------

SHIPPED = Path(__file__).parents[1] / "etc" / "oemgateway.conf"


def draft_of(file, text):
    file.write_text(text)
    return Draft(file)


def lines_of(draft):
    return draft.data.decode().splitlines()


def test_a_setting_is_put_where_it_is_where_it_is_commented_out_or_where_it_belongs(file):
    draft = draft_of(
        file,
        "[listeners]\n[[cellar]]\n    type = ds2482\n    #bus = 1  # on the pins\n"
        "    sensor1 = Dummy  # the flow\n    sensor10 = Dummy\n    node = 9\n\n[dispatchers]\n",
    )
    draft.set("listeners", "cellar", "sensor1", ["28.33F749050000", "flow"])
    draft.set("listeners", "cellar", "bus", "3")
    draft.set("listeners", "cellar", "sensor2", "28.DB564A050000")
    draft.set("listeners", "cellar", "interval", "30")
    assert lines_of(draft) == [
        "[listeners]",
        "[[cellar]]",
        "    type = ds2482",
        "    bus = 3  # on the pins",
        "    sensor1 = 28.33F749050000, flow  # the flow",
        "    sensor2 = 28.DB564A050000",
        "    sensor10 = Dummy",
        "    node = 9",
        "    interval = 30",
        "",
        "[dispatchers]",
    ]
    assert [number for number, _ in draft.changes()] == [4, 5, 6, 9]
    # and the file is as it was until that is written
    assert "sensor1 = Dummy" in file.read_text()
    draft.write()
    assert file.read_bytes() == draft.data
    assert draft.changes() == []


def test_a_section_is_begun_where_it_is_commented_out(file):
    draft = draft_of(file, SHIPPED.read_text())
    before = lines_of(draft)
    assert draft.begin("listeners", "w1") == "kernel"
    assert draft.suggested("listeners", "kernel", "node") == "12"
    assert draft.begin("dispatchers", "page") == "page"
    assert [text for _, text in draft.changes()] == [
        "[[kernel]]",
        "    type = w1",
        "[[page]]",
        "    type = page",
    ]
    assert len(lines_of(draft)) == len(before)


def test_another_of_its_type_is_the_last_of_its_kind_above_the_comment_of_the_next(file):
    draft = draft_of(file, SHIPPED.read_text())
    names = [draft.begin("listeners", "w1") for _ in range(3)]
    assert names == ["kernel", "w1", "w1-2"]
    lines = lines_of(draft)
    at = lines.index("[[w1-2]]")
    assert lines[at - 4 : at + 4] == ["", "[[w1]]", "    type = w1", "", "[[w1-2]]", "    type = w1", "", ""]
    assert lines[at + 4].startswith("# Where the readings go.")


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_a_section_is_begun_in_a_file_that_has_none_of_its_kind(file, end):
    draft = draft_of(file, f"[gateway]\nloglevel = INFO{end}")
    assert draft.begin("listeners", "w1") == "w1"
    assert draft.begin("dispatchers", "log") == "log"
    assert set(draft.sections("listeners")) == {"w1"}
    assert set(draft.sections("dispatchers")) == {"log"}
    assert draft.data.decode().startswith(f"[gateway]\nloglevel = INFO{end.rstrip()}")


def test_the_file_of_2013_is_changed_within_its_own_subsections(file):
    draft = draft_of(
        file,
        "[listeners]\n[[owfs]]\ntype = OemGatewayOWFSListener\n[[[init_settings]]]\npath = /mnt/1wire\n"
        "[[[runtime_settings]]]\nnode = 9\nsensor1 = 28.33F749050000\n[buffers]\n[[a]]\ntype = log\n",
    )
    draft.set("listeners", "owfs", "sensor1", ["28.33F749050000", "flow"])
    draft.set("listeners", "owfs", "sensor2", "28.DB564A050000")
    draft.set("dispatchers", "a", "active", "no")
    assert [text for _, text in draft.changes()] == [
        "sensor1 = 28.33F749050000, flow",
        "sensor2 = 28.DB564A050000",
        "active = no",
    ]


def test_a_value_that_would_be_read_otherwise_is_refused_without_being_named(file):
    draft = draft_of(file, SHIPPED.read_text())
    for secret in ("both\"kinds'#", "two\nlines"):
        with pytest.raises(ValueError, match=r"^apikey: ") as refused:
            draft.set("dispatchers", "emoncms", "apikey", secret)
        assert secret not in str(refused.value)
    assert draft.changes() == []


KEYS = st.sampled_from(
    ["bus", "address", "interval", "sensor1", "sensor2", "sensor12", "offset1", "active", "new"]
)
VALUES = st.text("a1.,#'\" =[]°", max_size=8)


@settings(max_examples=25)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(["bridge", "emoncms", "w1", "page", "log"]), KEYS, VALUES), max_size=12
    ),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_is_set_nothing_else_changes(tmp_path_factory, changes, ending):
    # given the shipped file, when sections are begun and settings set in any order
    file = tmp_path_factory.mktemp("draft") / "oemgateway.conf"
    file.write_bytes(SHIPPED.read_text().replace("\n", ending).encode())
    draft = Draft(file)
    comments = [line for line in lines_of(draft) if line.lstrip().startswith("# ")]
    kinds = {"bridge": "listeners", "w1": "listeners"}
    names = {"bridge": "bridge", "emoncms": "emoncms"}
    wanted = {}
    for type_, key, value in changes:
        kind = kinds.get(type_, "dispatchers")
        if type_ not in names:
            names[type_] = draft.begin(kind, type_)
        try:
            draft.set(kind, names[type_], key, value)
        except ValueError:
            continue
        wanted[kind, names[type_], key] = value
    # then each has its value, and every comment is still there
    for (kind, name, key), value in wanted.items():
        assert draft.sections(kind)[name].entries[key].value == value
    assert [line for line in lines_of(draft) if line.lstrip().startswith("# ")] == comments
    assert draft.data.count(b"\r\n") in (0, draft.data.count(b"\n"))


def test_a_setting_that_lost_the_name_above_it_is_the_files_fault_and_not_the_answers(written):
    file = written("[dispatchers]\n[[log]]\ntype = log\n#[[mqtt]]\n#    type = mqtt\nca_file = /etc/ca.pem\n")
    with pytest.raises(ConfigFaults) as caught:
        Draft(file).begin("dispatchers", "mqtt")
    assert (
        str(caught.value)
        == f"{file}:4: #[[mqtt]]: remove the #: ca_file (line 6) is below it, and counts as part of [[log]]"
    )
