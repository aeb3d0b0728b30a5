"""The manual pages and the completion: what groff, man and bash make of them."""

from __future__ import annotations

import argparse
import os
import pty
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import gateway
from gateway.command import parser
from gateway.manual import command_page, commands, file_page, roff, shipped_file
from gateway.manual.completion import completion
from tests.gateway_process import ENVIRONMENT
from tests.peers import need

ROOT = Path(__file__).parents[1]
PAGES = ["oemgateway.1", "oemgateway.conf.5"]


def write(folder, place=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "gateway.manual", folder],
        cwd=place,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build") / "man"
    done = write(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def read(*command):
    """Return what a reader of pages prints, and its warnings."""
    done = subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def texts(folder):
    man = need("man", "man-db")
    return {page: " ".join(read(man, "-l", folder / page)[0].split()) for page in PAGES}


def test_three_files_are_written_and_the_same_ones_again(folder, tmp_path):
    again = tmp_path / "again"
    assert write(again, COLUMNS="40", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="1").returncode == 0
    assert {file.name for file in folder.iterdir()} == {*PAGES, "oemgateway"}
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("what", ["the folder is a file", "it is run where there is no etc"])
def test_what_cannot_be_is_one_line(tmp_path, what):
    taken = tmp_path / "taken"
    taken.touch()
    done = write(taken) if what == "the folder is a file" else write(tmp_path / "new", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"oemgateway manual: .*(taken|etc/oemgateway\.conf)'\n", done.stderr)


@pytest.mark.parametrize("page", PAGES)
def test_man_and_groff_have_nothing_to_say_of_a_page(folder, page):
    file = folder / page
    need("groff", "groff")
    assert read("groff", "-ww", "-z", "-man", "-Tutf8", file) == ("", "")
    # as lintian looks at it
    _, said = read(need("man", "man-db"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", file)
    assert said == ""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_wider_than_a_terminal_and_has_a_name_for_whatis(folder, page):
    lines = read(need("man", "man-db"), "-l", folder / page)[0].splitlines()
    assert max(map(len, lines)) <= 80
    name = read("lexgrog", folder / page)[0]
    assert f'"{page[:-2]} - ' in name


def all_arguments():
    return [
        (command, argument) for command in commands.read(parser()).walk() for argument in command.arguments
    ]


def test_the_page_of_the_command_has_what_every_help_has(texts):
    text = texts["oemgateway.1"]
    for command in commands.read(parser()).walk():
        synopsis = " ".join([command.name, *(piece for piece in command.usage if piece != "[-h]")])
        assert synopsis in text
    for command, argument in all_arguments():
        said = argument.words
        assert f"{said[0].upper()}{said[1:]}" in text, command.name
        assert all(spelling in text for spelling in argument.spellings)


def test_everything_that_can_be_typed_is_explained():
    for command, argument in all_arguments():
        assert argument.words, f"{command.name} {argument.spellings or argument.value}"
    for command in commands.read(parser()).walk():
        assert command.description, command.name


def all_actions(tree):
    for action in tree._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for follower in action.choices.values():
                yield from all_actions(follower)


def test_what_takes_a_path_is_called_so_that_it_is_completed():
    paths = [action for action in all_actions(parser()) if action.type is Path]
    assert len(paths) > 2
    for action in paths:
        assert action.metavar in ("FILE", "DIR"), action


def test_every_variable_of_the_environment_that_is_read_is_in_the_page(texts):
    read_by_us = {
        name
        for file in Path(gateway.__file__).parent.rglob("*.py")
        for name in re.findall(
            r'environ(?:ment)?(?:\.get\(|\.pop\(|\[)"(\w+)"', file.read_text(encoding="utf-8")
        )
    }
    assert len(read_by_us) > 2
    _, _, section = texts["oemgateway.1"].partition(" ENVIRONMENT ")
    assert all(name in section for name in read_by_us)


@pytest.mark.parametrize("example", command_page.EXAMPLES.values())
def test_an_example_is_one_that_the_command_takes(example):
    program, *arguments = shlex.split(example)
    assert program == "oemgateway"
    assert parser().parse_args(arguments)


def test_the_page_of_the_file_has_every_setting_and_word_of_it(texts):
    text = texts["oemgateway.conf.5"]
    for section in shipped_file.read((ROOT / "etc/oemgateway.conf").read_text(encoding="utf-8")):
        assert section.name in text
        for group in section.groups:
            for setting in group.settings:
                assert " ".join(f"{setting.key} = {setting.value}".split()) in text
                assert setting.remark in text
        groups = (paragraph for group in section.groups for paragraph in group.words)
        for paragraph in (*section.words, *groups):
            said = paragraph.text.replace("`", "").removeprefix("oemgateway.conf: ").rstrip(".")
            assert _unbroken(said) in _unbroken(text)
            for term, meaning in paragraph.terms.items():
                assert _unbroken(f"{term}{meaning}") in _unbroken(text)


def _unbroken(text):
    return text.replace(" ", "")


def made_up():
    """Return a parser with what oemgateway has not."""
    made = argparse.ArgumentParser(prog="made", description="Makes things up.", epilog="It ends.")
    made.add_argument("-q", "--quiet", action="store_true", help="say less than 100%%")
    made.add_argument("--pair", nargs=2, metavar=("A", "B"), help="two, not %(default)s")
    made.add_argument("--secret", help=argparse.SUPPRESS)
    more = made.add_subparsers(required=True, metavar="WHAT")
    shape = more.add_parser("shape", help="say its shape", epilog="It has one.")
    shape.add_argument("--colour", choices=["red", "blue"], help="its colour")
    shape.add_argument("size", type=int, help="its size")
    shape.add_argument("names", nargs="*", metavar="NAME", help="its names")
    return made


def test_what_is_added_to_the_parser_is_in_the_page(tmp_path):
    file = tmp_path / "made.1"
    file.write_text(command_page.page(commands.read(made_up()), "2026-11-21", "1.0"), encoding="utf-8")
    text, said = read(need("man", "man-db"), "--warnings", "-l", file)
    assert said == ""
    text = " ".join(text.split())
    for expected in (
        "made [-q] [--pair A B] WHAT ...",
        "-q, --quiet Say less than 100%.",
        "--pair A B Two, not None.",
        "made shape [--colour {red,blue}] size [NAME ...]",
        "Say its shape. size Its size. NAME Its names. --colour {red,blue} Its colour. It has one.",
    ):
        assert expected in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "text",
    [
        ".PP at the start, and 'br too",
        "'br at the start",
        r"a \fBbackslash\fR and C:\n",
        "--an-option, -x, a/path-with-hyphens, ~/.local, three-phase, 21.5 °C",
        'sh -c "echo \'no\'" and `typed: -a \\ "b" ~ ^ .`',
    ],
)
def test_no_text_is_taken_for_a_request(tmp_path, text):
    lines = [".TH X 1 2026-11-21", roff.heading("SH", "NAME"), *roff.paragraph(text), *roff.example([text])]
    file = tmp_path / "x.1"
    file.write_text(roff.page(lines), encoding="utf-8")
    shown, said = read(need("man", "man-db"), "--warnings", "-l", file)
    assert said == ""
    shown = " ".join(shown.split()).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    assert " ".join(text.replace("`", "").split()) in shown
    assert text in shown


def test_the_shipped_file_is_read_by_its_rules():
    text = (
        "# x.conf: a file.\n#\n# More of\n# it.\n\n# A part.\n#\n# one     the first\n# other   the\n"
        "#         second\n[top]\n    # Both.\n    #a = 1 # such as 2\n    b = # <-- yours\n    # Last.\n"
        "    #\n    # More.\n    #c =\n"
    )
    file, top = shipped_file.read(text)
    assert [paragraph.text for paragraph in file.words] == ["x.conf: a file.", "More of it."]
    assert (top.name, top.words[0].text) == ("[top]", "A part.")
    assert top.words[1].terms == {"one": "the first", "other": "the second"}
    assert [[(s.key, s.value, s.remark) for s in group.settings] for group in top.groups] == [
        [("a", "1", "such as 2"), ("b", "", "yours")],
        [("c", "", "")],
    ]
    words = [[paragraph.text for paragraph in group.words] for group in top.groups]
    assert words == [["Both."], ["Last.", "More."]]
    assert ".TP\n\\fBc\\fR =\nLast.\n.IP\nMore.\n" in file_page.page([file, top], "2026-11-21", "1.0")


@pytest.mark.parametrize("line", ["nonsense", "#nonsense", "key"])
def test_a_line_that_no_rule_fits_is_refused(line):
    with pytest.raises(ValueError, match=line):
        shipped_file.read(f"# x.conf: a file.\n\n{line}\n")


ASK = """\
. "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"_$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(tmp_path, monkeypatch):
    """Return what bash offers where the last of some words is being typed."""
    monkeypatch.chdir(tmp_path)
    for name in ("new.conf", "my file", "-odd"):
        (tmp_path / name).touch()
    (tmp_path / "boot").mkdir()

    def complete(*words, program=None):
        script = tmp_path / ".completion"
        program = program or parser()
        script.write_text(completion(commands.read(program)), encoding="utf-8")
        done = subprocess.run(
            [need("bash", "bash"), "-uc", ASK, "bash", script, program.prog, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return set(done.stdout.splitlines()) - {".completion", ""}

    return complete


COMMANDS = {"check", "doctor", "status", "queue", "sensors", "demo"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("s", {"status", "sensors"}),
        ("--co", {"--config-file"}),
        ("--config-file n", {"new.conf"}),
        ("--config-file = n", {"new.conf"}),
        ("--config-file new.conf stat", {"status"}),
        ("--config-file = new.conf stat", {"status"}),
        ("--config-file queue st", {"status"}),
        ("queue ", {"status", "list", "export", "import", "retry", "drop"}),
        ("queue --json l", {"list"}),
        ("queue drop --w", {"--waiting"}),
        ("queue list --limit ", set()),
        ("queue list --limit 5 --j", {"--json"}),
        ("queue import ne", {"new.conf"}),
        ("doctor --root ", {"boot"}),
        ("doctor --", {"--help", "--root"}),
        ("nonsense", set()),
    ],
)
def test_bash_offers(complete, words, offered):
    assert complete(*words.split(" ")) == offered


def test_bash_offers_all_commands_and_options_of_all(complete):
    assert complete("") >= COMMANDS
    for command in commands.read(parser()).walk():
        before = command.name.split()[1:]
        spellings = {spelling for argument in command.arguments for spelling in argument.spellings}
        assert complete(*before, "--") == {spelling for spelling in spellings if spelling.startswith("--")}
        if command.commands:
            assert complete(*before, "") == command.commands.keys()


def test_bash_offers_names_of_files_with_spaces_and_in_quotes(complete):
    assert complete("check", "") == {"new.conf", "my file", "-odd", "boot"}
    assert complete("check", '"my f') == {"my file"}
    assert complete("--config-file", "=") == {"new.conf", "my file", "-odd", "boot"}


def test_bash_offers_what_there_is_to_choose_from(complete):
    assert complete("shape", "--colour", "", program=made_up()) == {"red", "blue"}
    assert complete("--quiet", "sh", program=made_up()) == {"shape"}


def test_bash_completes_what_is_typed_at_a_terminal(folder, tmp_path):
    (tmp_path / "new file.conf").touch()
    typed = f"""\
oemgateway() {{ printf '<%s>' "$@" >>told; }}
. {folder}/oemgateway
oemgateway --config-file=n\t ch\tn\t
exit
"""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [need("bash", "bash"), "--norc", "--noprofile", "-i"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "HISTFILE": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as bash:
        os.close(theirs)
        os.write(ours, typed.encode())
        with suppress(OSError):  # EIO is the end of a terminal
            while os.read(ours, 4096):
                pass
        assert bash.wait(20) == 0
    os.close(ours)
    assert (tmp_path / "told").read_text() == "<--config-file=new file.conf><check><new file.conf>"


def test_the_completion_is_sound_as_shell(folder):
    assert read(need("shellcheck", "shellcheck"), "--shell=bash", folder / "oemgateway") == ("", "")
