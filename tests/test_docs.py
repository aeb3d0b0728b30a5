"""docs/: every setting, command and type has its place there, and what it shows to paste is right."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.commands.main import parser
from gateway.conf import config
from gateway.conf.config import Gateway
from gateway.nodes import Decoder
from gateway.registry import find, known
from gateway.settings import declared

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text() for path in DOCS.rglob("*.rst")}
INDEXED = {
    "sensors": "sensorN",
    "offsets": "offsetN",
    "counters": "counterN",
    "values": "valueN",
    "patterns": "patternN",
    "targets": "targetN",
}
TYPES = [(kind, name) for kind in ("listeners", "dispatchers") for name in known(kind)]
HARMLESS = "[dispatchers]\n[[harmless]]\ntype = log\n", "[listeners]\n[[harmless]]\ntype = tcp\nport = 1\n"


def settings(cls):
    return [INDEXED.get(name, name) for name in declared(cls)]


def page_of(kind, name):
    """Return the page of a type; `owserver` is another name of `owfs`."""
    return PAGES[f"{kind}/{'owfs' if name == 'owserver' else name}"]


@pytest.mark.parametrize(("kind", "name"), TYPES)
def test_a_page_names_each_setting_of_its_type(kind, name):
    page = page_of(kind, name)
    missing = {setting for setting in settings(find(kind, name)) if f"``{setting}``" not in page}
    assert missing == set()


@pytest.mark.parametrize(("cls", "page"), [(Gateway, "configuration"), (Decoder, "nodes")])
def test_the_settings_of_other_sections_are_named(cls, page):
    assert {name for name in settings(cls) if f"``{name}``" not in PAGES[page]} == set()


def test_the_folder_of_the_program_is_named_in_one_page():
    (prefix,) = re.findall(r"(?m)^PREFIX=(.+)$", (DOCS.parent / "install.sh").read_text())
    assert [page for page, text in PAGES.items() if prefix in text] == ["install"]


def test_no_page_is_of_a_type_that_there_is_not():
    pages = {tuple(page.split("/")) for page in PAGES if "/" in page}
    assert pages <= set(TYPES)


def words(tree):
    """Yield each command as it is typed, and each long option."""
    for action in tree._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name
                yield from words(command)
        else:
            yield from (spelling for spelling in action.option_strings if spelling.startswith("--"))


def test_every_command_and_option_is_named():
    text = " ".join(PAGES.values())
    missing = {
        word for word in words(parser()) if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)
    }
    assert missing <= {"--help"}


TO_PASTE = [
    (page, block)
    for page, text in {**PAGES, "README": (DOCS.parent / "README.rst").read_text()}.items()
    for block in re.findall(r"(?m)^\.\. code-block:: ini\n\n((?:    .*\n|\n)+)", text)
]


@pytest.mark.parametrize("block", [block for _, block in TO_PASTE], ids=[page for page, _ in TO_PASTE])
def test_what_can_be_pasted_passes_check(written, block):
    missing = [part for part in HARMLESS if part.splitlines()[0] not in block]
    assert config.read(written(block + "".join(missing)))


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-nW", "--keep-going", "-q", "-b", "html", DOCS, tmp_path],
        cwd=DOCS.parent,
        env={"PYTHONPATH": str(DOCS.parent), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "first-run.html" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("page", ["docs/develop.rst", "CONTRIBUTING.rst"])
def test_each_path_in_what_developers_read_is_there(page):
    root = DOCS.parent
    named = re.findall(
        r"``((?:gateway|listeners|tests|docs|etc|debian|benchmarks)/[\w./-]*|\w+\.sh)``",
        (root / page).read_text(),
    )
    assert named
    assert [path for path in named if not (root / path).exists()] == []
