"""listeners/lograte/pattern.py: the classes of POSIX, compared with what grep says."""

from __future__ import annotations

import re
import subprocess
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.lograte.pattern import _CLASSES, translate

SEED = r"postfix/smtp\[[[:digit:]]+\]: .* status=sent"
CLASSES = [*_CLASSES]


def test_the_seeds_pattern_finds_its_line():
    line = "Nov  5 12:00:00 mail postfix/smtp[4711]: 3A1B: to=<a@b>, status=sent (250 ok)"
    assert re.search(translate(SEED), line)
    assert not re.search(translate(SEED), line.replace("4711", "x"))
    assert not re.search(translate(SEED), line.replace("postfix/smtp", "postfix/smtpd"))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("form", ["[[:{}:]]", "[^[:{}:]]", "[][:{}:]]", "[_[:{}:]-]"])
def test_each_class_is_what_grep_has(name, form):
    pattern = form.format(name)
    characters = [chr(code) for code in range(1, 128) if code != 10]
    lines = "".join(f"{character}\n" for character in characters).encode()
    grep = ["grep", "-a", "-n", "-E", pattern]
    said = subprocess.run(grep, input=lines, capture_output=True, env={"LC_ALL": "C"}, check=False).stdout
    found = {int(line.partition(b":")[0]) for line in said.splitlines()}
    ours = re.compile(translate(pattern))
    assert {number for number, character in enumerate(characters, 1) if ours.search(character)} == found


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[:digit:]+", "[[:digit:]] expected"),
        ("[[:digits:]]", "did you mean digit?"),
        ("[[::]]", "[::] is no class"),
        ("a(b", "a regular expression expected"),
        ("[a", "a regular expression expected"),
        ("a{1", "needs quotes"),
        ("x" * 1001, "at most 1000 characters"),
    ],
)
def test_what_is_no_pattern_is_refused_with_what_is_expected(pattern, words):
    with pytest.raises(ValueError) as caught:
        translate(pattern)
    assert words in str(caught.value)


@given(st.text(alphabet="ab[]^-\\.*:digt(){},+|", max_size=20))
def test_whatever_stands_there_is_a_pattern_or_a_reason(pattern):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            translated = translate(pattern)
        except ValueError:
            return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        re.compile(translated)


@pytest.mark.parametrize("pattern", [r"\d{1,3} ms", r"a\[b\]", r"[\]x]", r"(?P<n>a)|b", "^$", r"[\w.]+@"])
def test_what_python_has_stays_as_it_is(pattern):
    assert translate(pattern) == pattern
