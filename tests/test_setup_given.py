"""Answers of `oemgateway setup` that are given beforehand, by options, files and the environment."""

from __future__ import annotations

import os

import pytest

from tests import gateway_process
from tests.gateway_process import state

KEY, PASSWORD = "0123456789abcdef" * 2, "a-word-of-mine"
FULL = """[listeners]
[[lines]]
type = tcp
port = 0
[dispatchers]
[[emoncms]]
type = emoncms
url = http://127.0.0.1:9
apikey = {key}
[[mqtt]]
type = mqtt
host = 127.0.0.1
port = 9
user = me
password = {password}
[[page]]
type = page
host = 0.0.0.0
password = {password}
"""


@pytest.fixture
def file(tmp_path):
    """A file with each secret."""
    file = tmp_path / "oemgateway.conf"
    file.touch(0o640)
    file.write_text(state(tmp_path) + FULL.format(key=KEY, password=PASSWORD))
    return file


def setup(file, *options):
    return gateway_process.command("--config-file", file, "setup", "--yes", "--radio", "none", *options)


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_variable_is_as_one_that_is_not_set(file, empty, monkeypatch):
    before = file.read_text()
    for name in ("APIKEY", "BROKER_PASSWORD", "PAGE_PASSWORD"):
        monkeypatch.setitem(os.environ, f"OEMGATEWAY_{name}", empty)
        monkeypatch.setitem(gateway_process.ENVIRONMENT, f"OEMGATEWAY_{name}", empty)
    done = setup(file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_text() == before


@pytest.mark.parametrize("option", ["--radio", "--trial", "--to", "--url", "--broker", "--user", "--start"])
def test_an_empty_option_is_refused(file, option):
    before = file.read_text()
    done = setup(file, f"{option}=")
    assert (done.returncode, done.stderr) == (2, f"oemgateway: {option}: a value expected, not nothing\n")
    assert file.read_text() == before


def test_empty_names_leave_them_as_they_are(file):
    before = file.read_text()
    done = setup(file, "--names=")
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_text() == before


@pytest.mark.parametrize("option", ["--apikey-file", "--broker-password-file", "--page-password-file"])
@pytest.mark.parametrize("contents", ["", "\n", None])
def test_an_empty_file_is_refused_and_so_is_none(file, tmp_path, option, contents):
    before = file.read_text()
    secret = "" if contents is None else tmp_path / "secret"
    if contents is not None:
        (tmp_path / "secret").write_text(contents)
    done = setup(file, f"{option}={secret}")
    assert (done.returncode, done.stderr) == (2, f"oemgateway: {option}: a value expected, not nothing\n")
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("trial", "maybe", "yes or no expected, not maybe"),
        ("start", "maybe", "yes or no expected, not maybe"),
        ("names", 'it\'s "x"', "one kind of quotes at most"),
        ("to", "cloud", "or none, not cloud"),
        ("url", "emonpi", "http://host or https://host expected, not emonpi"),
        ("url", "none", "http://host or https://host expected, not none"),
        ("broker", "mqtt://house", "expected"),
        ("apikey", "a\x07b", "expected"),
        ("page-password", "short", "8 to 128 characters"),
    ],
)
def test_a_wrong_answer_is_refused_even_where_its_question_is_not_asked(file, tmp_path, option, text, words):
    # given destinations that ask neither for an address nor for a secret
    before = file.read_text()
    value = text
    if option in ("apikey", "page-password"):
        option, value = f"{option}-file", tmp_path / "secret"
        value.write_text(f"{text}\n")
    others = () if option == "to" else ("--to", "none")
    # when another answer is wrong, then that is said, and nothing is looked for
    done = setup(file, *others, f"--{option}={value}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"oemgateway: --{option}: ")
    assert words in done.stderr
    assert file.read_text() == before


def test_the_user_none_is_no_user(file):
    done = setup(file, "--user", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nuser = \npassword = \n" in file.read_text()
