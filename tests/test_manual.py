"""The manual pages and the completion: what groff, man and bash make of them."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from gateway.commands.main import parser
from tests.gateway_process import ENVIRONMENT, run
from tests.installed import copy_sources
from tests.once import made_once
from tests.peers import need

ROOT = Path(__file__).parents[1]
PAGES = ["oemgateway.1", "oemgateway.conf.5"]


def write(folder, **environment):
    subprocess.run(
        [sys.executable, ROOT / "docs/manual/build.py", folder],
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(gateway.__file__).parents[1]), **environment},
        check=True,
        timeout=50,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_once(tmp_path_factory, "manual", write)


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
def page(folder):
    """Return the page of the command as one line of text."""
    return " ".join(read(need("man", "man-db"), "-l", folder / PAGES[0])[0].split())


def all_actions(tree):
    for action in tree._actions:
        yield tree, action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from all_actions(command)


def test_the_same_files_are_written_again(folder, tmp_path):
    assert {file.name for file in folder.iterdir()} == {*PAGES, "oemgateway"}
    for zone in ("EAST-14", "WEST+12"):  # at any time one of them has another date
        again = tmp_path / zone
        write(again, COLUMNS="40", TZ=zone, PYTHONHASHSEED="1")
        for file in folder.iterdir():
            assert (again / file.name).read_bytes() == file.read_bytes()


def test_the_pages_are_made_in_a_folder_whose_name_has_a_space(tmp_path):
    # given sources in such a folder, and an environment that has what is needed
    place = tmp_path / "my gateway"
    copy_sources(place)
    environment = place / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).glob("[!.]*"):
        (environment / path.name).symlink_to(path)
    for stamp in (".runtime", ".manual"):
        (environment / stamp).touch()
    # when make makes the pages there
    made = run(need("make", "make"), "-C", place, "man")
    # then they are there
    assert made.returncode == 0, made.stdout + made.stderr
    assert {*PAGES} < {path.name for path in (place / "build" / "man").iterdir()}


@pytest.mark.parametrize("name", PAGES)
def test_man_and_groff_have_no_warning_about_a_page(folder, name):
    file = folder / name
    assert read(need("groff", "groff"), "-ww", "-z", "-man", "-Tutf8", file) == ("", "")
    # as lintian looks at it
    man = need("man", "man-db")
    assert read(man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", file)[1] == ""
    assert max(map(len, read(man, "-l", file)[0].splitlines())) <= 80
    assert f'"{name[:-2]} - ' in read("lexgrog", file)[0]


def test_every_command_and_option_is_explained_in_the_page(page):
    explained = 0
    for tree, action in all_actions(parser()):
        assert tree.description, tree.prog
        if action.help and action.help != argparse.SUPPRESS and "--help" not in action.option_strings:
            assert all(spelling in page for spelling in action.option_strings), action
            explained += 1
        elif not isinstance(action, argparse._SubParsersAction):
            assert "--help" in action.option_strings, f"{tree.prog} {action.dest} has no help"
    assert explained > 20


def test_what_takes_a_path_is_called_so_that_it_is_completed():
    paths = [action for _, action in all_actions(parser()) if action.type is Path]
    assert len(paths) > 2
    assert {action.metavar for action in paths} <= {"FILE", "DIR"}


def test_every_variable_of_the_environment_that_is_read_is_in_the_page(page):
    variables = {
        name
        for file in Path(gateway.__file__).parent.rglob("*.py")
        for name in re.findall(
            r'environ(?:ment)?(?:\.get\(|\.pop\(|\[)"(\w+)"', file.read_text(encoding="utf-8")
        )
    }
    assert len(variables) > 2
    _, _, section = page.partition(" ENVIRONMENT ")
    assert all(name in section for name in variables)


def test_the_examples_are_ones_that_the_command_takes():
    included = (ROOT / "docs/manual/oemgateway.1.include").read_text(encoding="utf-8")
    examples = re.findall(r"(?m)^\.B (oemgateway .+)$", included.partition("[EXAMPLES]")[2])
    assert len(examples) > 4
    for example in examples:
        assert parser().parse_args(shlex.split(example.replace(r"\-", "-"))[1:]), example


ASK = """\
. "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_shtab_oemgateway
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("oemgateway s", {"status", "sensors", "setup"}),
        ("oemgateway --co", {"--config-file"}),
        ("oemgateway --config-file n", {"new.conf"}),
        ("oemgateway --config-file new.conf stat", {"status"}),
        ("oemgateway queue ", {"status", "list", "export", "import", "retry", "drop"}),
        ("oemgateway queue drop --w", {"--waiting"}),
        ("oemgateway queue import ne", {"new.conf"}),
        ("oemgateway doctor --root bo", {"boot"}),
    ],
)
def test_bash_offers(folder, tmp_path, words, offered):
    (tmp_path / "new.conf").touch()
    (tmp_path / "boot").mkdir()
    done = subprocess.run(
        [need("bash", "bash"), "-c", ASK, "bash", folder / "oemgateway", *words.split(" ")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {word.rstrip("/") for word in done.stdout.split()} == offered
