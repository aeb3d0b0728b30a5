"""The file as text: sections, entries and lines, or what is wrong with a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.conf import document
from gateway.conf.document import ConfigFaults, Fault


@pytest.fixture
def read(tmp_path):
    """Read a file of this text or these bytes."""

    def read(content):
        path = tmp_path / "x.conf"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return document.read(path)

    return read


def found(text):
    return [(fault.line, fault.where, fault.message) for fault in text.faults]


def test_every_entry_and_section_knows_its_line(read):
    text = read(
        "# a file\n"  # 1
        "\n"
        "above = 1\n"  # 3
        "[one]\n"  # 4
        "# about a\n"
        "a = 1, 2   # two\n"  # 6
        "[[in]]\n"  # 7
        "b = x\n"  # 8
        "[[[deep]]]\n"  # 9
        "\n"
        "c = \n"  # 11
        "[two]   # and more\n"  # 12
        "d = '''one line'''\n"  # 13
        "# the end\n"
    )
    one, two = text.root.sections.values()
    inner = one.sections["in"]
    deep = inner.sections["deep"]
    assert text.root.entries["above"].line == 3
    assert (one.line, one.entries["a"].line, one.entries["a"].value) == (4, 6, ["1", "2"])
    assert (inner.line, inner.entries["b"].line, deep.line, deep.entries["c"].line) == (7, 8, 9, 11)
    assert (two.line, two.entries["d"].line, two.entries["d"].value) == (12, 13, "one line")
    assert (text.length, text.faults) == (14, [])


def test_nothing_in_a_value_is_interpolated(read):
    assert read("a = %(b)s $c").root.entries["a"].value == "%(b)s $c"


def test_an_empty_file_is_a_document(read):
    text = read("")
    assert (text.length, text.root.sections) == (1, {})


def test_a_file_of_windows_is_read_as_any_other(read):
    text = read(b"\xef\xbb\xbf[a]\r\nb = K\xc3\xbcche\r\n")
    assert text.root.sections["a"].entries["b"].value == "Küche"
    assert text.faults == []


@pytest.mark.parametrize("name", ["nowhere.conf", "."])
def test_a_file_that_cannot_be_read_is_one_fault_in_plain_words(tmp_path, name):
    with pytest.raises(ConfigFaults) as caught:
        document.read(tmp_path / name)
    [fault] = caught.value.faults
    message = {
        "nowhere.conf": "there is no such file: create it, or name another with --config-file",
        ".": "cannot be read: Is a directory",
    }
    assert str(fault) == f"{tmp_path / name}: {message[name]}"


@pytest.mark.parametrize("name", ["/dev/zero", "large.conf"])
def test_a_file_without_end_is_one_fault(tmp_path, name):
    (tmp_path / "large.conf").write_bytes(b"# a comment\n" * 400_000)

    with pytest.raises(ConfigFaults) as caught:
        document.read(tmp_path / name)

    assert str(caught.value) == f"{tmp_path / name}: a file of at most 4 megabytes expected"


def test_what_is_in_a_pipe_is_read():
    # given what a shell makes of <(...)
    reading, writing = os.pipe()
    os.write(writing, b"[gateway]\n")
    os.close(writing)
    try:
        assert [*document.read(Path(f"/proc/self/fd/{reading}")).root.sections] == ["gateway"]
    finally:
        os.close(reading)


@pytest.mark.parametrize("is_held", [False, True])
def test_a_pipe_is_not_waited_for(tmp_path, is_held):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR) if is_held else os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(ConfigFaults, match="pipe: a file expected, and no pipe"):
            document.read(pipe)
    finally:
        os.close(held)


def test_a_file_of_another_kind_is_some_lines_and_how_many_more(read):
    text = read("\n".join(f"line {number} of a letter" for number in range(20_000)))

    lines = ConfigFaults(text.faults).lines()

    assert len(lines) == 51
    assert lines[0] == f"{text.path}:1: `key = value` or `[section]` expected"
    assert lines[-1] == "19950 faults more: `oemgateway check` shows all of them"


def test_a_file_in_utf_16_is_one_fault(read):
    with pytest.raises(ConfigFaults, match="UTF-8 expected, not UTF-16 or a binary file") as caught:
        read("[a]\nb = 1\n".encode("utf-16"))
    assert len(caught.value.faults) == 1


def test_a_line_in_another_encoding_is_a_fault_and_the_rest_is_read(read):
    text = read(b"# K\xfcche\n[a]\n")
    assert found(text) == [
        (1, "", "text in UTF-8 expected, not byte 0xfc at place 4; an editor can save it as UTF-8")
    ]
    assert text.root.sections["a"].line == 2


def test_control_characters_are_a_fault(read):
    assert found(read("[a]\nb = 1\x07\n")) == [(2, "", "a control character at place 6: remove it")]


def test_a_value_of_several_lines_is_a_fault_and_the_lines_after_it_are_still_right(read):
    text = read("[a]\nb = '''x\ny\nz'''\nc = 1\n")
    assert found(text) == [(2, "b", "one line expected, not 3 in triple quotes")]
    assert text.root.sections["a"].entries["c"].line == 5


@pytest.mark.parametrize(
    ("line", "where", "message"),
    [
        ("apikey abc", "", "`key = value` or `[section]` expected"),
        ("; abc", "", "`key = value` or `[section]` expected: a comment begins with #"),
        ("// abc", "", "`key = value` or `[section]` expected: a comment begins with #"),
        ("= abc", "", "`key = value` or `[section]` expected"),
        ("a = 2", "a", "given twice in this section: keep one"),
        ('c = "x', "c", 'there is a " too many, or one is missing'),
        ("c = x,,y", "c", 'a value expected between the two commas; "" stands for none'),
        ("c = x, , y", "c", 'a value expected between the two commas; "" stands for none'),
        ("c = '''x", "c", "put text that holds quotes or commas in one pair of quotes"),
        ('"c" d = x', 'c" d', "put text that holds quotes or commas in one pair of quotes"),
        ("[two", "[two", "a name in as many ] as [ expected, and nothing else on the line"),
        ("[[two]", "[[two]", "a name in as many ] as [ expected, and nothing else on the line"),
        ("[two] x", "[two] x", "a name in as many ] as [ expected, and nothing else on the line"),
        ("[[[two]]]", "[[[two]]]", "[[two]] expected, in fewer brackets"),
        ("[[]]", "[[]]", "a name expected between the brackets"),
        (
            "[one]",
            "[one]",
            ("it begins in line 1 already: move what is below this line up there, and remove this line"),
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_a_fault_in_plain_words(read, line, where, message):
    text = read(f"[one]\na = 1\n{line}\n")
    assert found(text) == [(3, where, message)]
    assert text.root.sections["one"].entries["a"].line == 2


def test_an_entry_whose_value_cannot_be_read_is_there_all_the_same(read):
    text = read('[one]\n# its key\nc = "x\nd = 1\n')
    assert {key: entry.line for key, entry in text.root.sections["one"].entries.items()} == {"c": 3, "d": 4}


def test_what_belongs_to_a_refused_section_is_not_taken_for_its_neighbours(read):
    text = read(
        "[one]\n"
        "[[a]]\n"
        "b = 1\n"
        "[[[init_settings]]]\n"
        "[[a]]\n"  # the second of this name
        "b = 2\n"
        "[[[init_settings]]]\n"
        "nonsense\n"
        "[[c]]\n"
        "b = 3\n"
        "nonsense\n"
    )
    assert [fault.line for fault in text.faults] == [5, 11]
    assert list(text.root.sections["one"].sections) == ["a", "c"]
    assert text.root.sections["one"].sections["c"].entries["b"].line == 10


def test_a_line_that_cannot_be_read_has_no_second_fault(read):
    text = read('[one]\nc = "x\nd = 1\n')
    text.fault(2, "c", "a value expected, not nothing")
    text.fault(3, "d", "no such setting")
    assert [fault.line for fault in text.faults] == [2, 3]


def test_thousands_of_faulty_lines_are_read_in_no_time(read):
    text = read('[[[x]]]\nnonsense\na = "b\n' * 5000)
    assert len(text.faults) >= 5000


def test_sections_may_be_nested_deeper_than_python_can_recurse(read):
    text = read("".join(f"{'[' * depth}x{']' * depth}\n" for depth in range(1, 1500)))
    assert text.faults == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 2000, "as many ] as ["),
        ("[" * 400 + "a" + "]" * 400 + "x", "as many ] as ["),
        ("[ " * 400 + "a" + " ]" * 400 + "x", "as many ] as ["),
        ("[a" + "]" * 2000, "as many ] as ["),
        ("[" * 100_000, "at most 4000 characters"),
        (" " * 100_000 + "=", "at most 4000 characters"),
    ],
)
def test_a_line_over_which_the_parser_would_not_return_is_a_fault(read, line, message):
    text = read(f"[one]\na = 1\n{line}\n[two]\nb = 2\n")
    ((number, where, said),) = found(text)
    assert (number, where) == (3, "")
    assert message in said
    assert list(text.root.sections) == ["one", "two"]


def test_a_file_knows_whether_everyone_can_read_it(read, tmp_path):
    assert read("").public
    (tmp_path / "x.conf").chmod(0o640)
    assert not read("").public
    assert not document.read(Path("/dev/null")).public


def test_a_fault_is_one_line_whatever_is_in_it():
    fault = Fault("oemgateway.conf", 27, "resolu\ntion", "9 expected, not \x1b[2J\u200b")
    assert str(fault) == r"oemgateway.conf:27: resolu\ntion: 9 expected, not \x1b[2J\u200b"


def test_faults_come_in_the_order_of_their_lines():
    faults = ConfigFaults([Fault("f", 9, "", "later"), Fault("f", 2, "a", "sooner")])
    assert str(faults) == "f:2: a: sooner\nf:9: later"
