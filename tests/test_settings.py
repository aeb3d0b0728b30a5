"""A class's fields as settings: from text, checked, and shown again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from configobj import ConfigObj
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway import settings
from gateway.settings import SettingsFault, at_least, between, build, setting


@dataclass(frozen=True)
class Inputs:
    """Labels by number: `inputN = label`."""

    PREFIX: ClassVar = "input"

    labels: dict[int, str]

    @staticmethod
    def parse_entry(number, raw):
        if isinstance(raw, list):
            raise ValueError("one label expected")
        return raw

    def shown(self):
        return {f"input{number}": label for number, label in self.labels.items()}


@dataclass(frozen=True)
class Host:
    """A type that reads itself."""

    name: str

    @classmethod
    def parse(cls, text):
        if " " in text:
            raise ValueError(f"a host expected, not {text}")
        return cls(text)

    def __str__(self):
        return self.name


@dataclass(kw_only=True)
class Meter:
    port: str = setting(was=("com_port", "device"))
    apikey: str | None = setting(None, secret=True)
    baud: Literal[9600, 38400] = setting(38400)
    mode: Literal["Fast", "slow"] = setting("slow")
    gain: float = setting(1.0, check=between(0, 10))
    address: int = setting(0x18, check=at_least(0))
    quiet: bool = setting(default=False)
    path: Path | None = setting(None)
    tags: tuple[str, ...] = setting(())
    host: Host = setting(Host("localhost"))
    title: str = setting("")
    inputs: Inputs = field(default_factory=lambda: Inputs({}))
    opened: int = field(default=0, init=False)

    def __post_init__(self):
        if self.quiet and self.mode == "Fast":
            raise SettingsFault([("quiet", "a fast meter is never quiet")])
        if self.quiet and self.gain > 5:
            raise ValueError("too much gain for a quiet meter")


def faults(**entries):
    with pytest.raises(SettingsFault) as caught:
        build(Meter, {"port": "x", **entries})
    return caught.value.faults


def fault(**entries):
    [(key, message)] = faults(**entries)
    assert key == next(iter(entries))
    return message


def test_every_kind_of_setting_is_read_from_text():
    meter = build(
        Meter,
        {
            "port": "/dev/ttyAMA0",
            "apikey": "abc",
            "baud": "9600",
            "mode": "FAST",
            "gain": "2.5e0",
            "address": "0x1F",
            "quiet": "off",
            "path": "/mnt",
            "tags": ["a", "b"],
            "host": "pi",
            "input2": "flow",
        },
    )
    expected = Meter(
        port="/dev/ttyAMA0",
        apikey="abc",
        baud=9600,
        mode="Fast",
        gain=2.5,
        address=31,
        path=Path("/mnt"),
        tags=("a", "b"),
        host=Host("pi"),
        inputs=Inputs({2: "flow"}),
    )
    assert meter == expected


def test_what_is_left_out_has_its_default():
    assert build(Meter, {"port": "x"}) == Meter(port="x")


def test_an_optional_setting_may_be_empty():
    assert build(Meter, {"port": "x", "path": "", "tags": ""}) == Meter(port="x")


@pytest.mark.parametrize("older", ["com_port", "device"])
def test_a_setting_answers_to_its_older_names(older):
    assert build(Meter, {older: "x"}).port == "x"


def test_old_and_new_name_together_are_a_fault():
    assert fault(com_port="y") == "the same setting as port, which is given too"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"baud": "1200"}, "9600 or 38400 expected, not 1200"),
        ({"mode": "fats"}, "Fast or slow expected, not fats (did you mean Fast?)"),
        ({"gain": "11"}, "a number from 0 to 10 expected, not 11"),
        ({"gain": "much"}, "a number expected, not much"),
        ({"gain": "1e999"}, "a number expected, not 1e999"),
        ({"gain": "nan"}, "a number expected, not nan"),
        ({"address": "-1"}, "0 or more expected, not -1"),
        ({"address": "9" * 18}, "a number from 0 to 1000000000 expected, not 1e+18"),
        ({"gain": ["1"]}, "one value expected, without a comma behind it"),
        ({"port": "“/dev/ttyUSB0”"}, 'straight quotes (") expected, or none, not typographic ones'),
        ({"tags": ["„a", "b“"]}, 'straight quotes (") expected, or none, not typographic ones'),
        ({"address": "1.5"}, "a whole number expected, not 1.5"),
        ({"address": "1_0"}, "a whole number expected, not 1_0"),
        ({"address": "٣"}, "a whole number expected, not ٣"),
        ({"address": ""}, "a value expected, not nothing"),
        ({"quiet": "maybe"}, "yes or no expected, not maybe"),
        ({"host": "a b"}, "a host expected, not a b"),
        ({"input1": ["a", "b"]}, "one label expected"),
        ({"gian": "1"}, "no such setting (did you mean gain?)"),
        ({"Input2": "a"}, "no such setting (did you mean input2?)"),
        ({"gain": ["0", "5"]}, "a number with a point expected, not with a comma (did you mean 0.5?)"),
        ({"opened": "1"}, "no such setting"),
        ({"inputs": "1"}, "no such setting (did you mean input1?)"),
        ({"path": "data"}, "an absolute path expected, such as /data, not data"),
        ({"path": "~/data"}, "an absolute path expected, such as /data, not ~/data"),
    ],
)
def test_a_fault_says_what_was_expected_and_what_was_found(entry, message):
    assert fault(**entry) == message


def test_a_number_of_thousands_of_digits_is_a_fault_like_any_other():
    assert fault(address="9" * 5000).startswith("a whole number expected")


def test_a_secret_with_a_comma_is_not_repeated_in_the_message():
    message = fault(apikey=["geheim", "nis"])
    assert message == "one value expected, not 2 with commas between (text with a comma needs quotes)"


def test_a_number_with_a_zero_before_it_is_not_taken_for_the_same():
    assert faults(input1="a", input01="b") == [("input01", "no such setting (did you mean input1?)")]


def test_all_faults_are_found_at_once_and_a_wrong_setting_is_not_missing_as_well():
    with pytest.raises(SettingsFault) as caught:
        build(Meter, {"gain": "x", "baud": "1"})
    assert [key for key, _ in caught.value.faults] == ["gain", "baud"]
    assert caught.value.missing == {"port": "port is missing"}
    assert str(caught.value).endswith("port is missing")
    assert faults(port="")[0] == ("port", "a value expected, not nothing")


def test_a_setting_that_is_misspelt_is_not_missing_as_well():
    with pytest.raises(SettingsFault) as caught:
        build(Meter, {"Prot": "/dev/ttyUSB0"})
    assert caught.value.faults == [("Prot", "no such setting (did you mean port?)")]
    assert caught.value.missing == {}


def test_a_class_may_check_its_settings_together():
    assert faults(quiet="yes", mode="fast") == [("quiet", "a fast meter is never quiet")]
    assert faults(quiet="yes", gain="6") == [(None, "too much gain for a quiet meter")]


def test_secrets_show_neither_in_repr_nor_among_the_settings():
    meter = Meter(port="x", apikey="geheim")
    assert "geheim" not in repr(meter)
    assert settings.shown(meter)["apikey"] == "********"
    assert settings.secrets(meter) == ["apikey"]
    assert settings.secrets(Meter(port="x")) == []


def test_settings_are_shown_as_a_file_would_give_them():
    meter = Meter(port="a, b", quiet=True, gain=0.1, tags=("one",), inputs=Inputs({3: "flow"}))
    assert settings.shown(meter) == {
        "port": '"a, b"',
        "apikey": "",
        "baud": "38400",
        "mode": "slow",
        "gain": "0.1",
        "address": "24",
        "quiet": "yes",
        "path": "",
        "tags": "one,",
        "host": "localhost",
        "input3": "flow",
    }


def test_text_with_double_quotes_is_shown_in_single_ones():
    assert settings.shown(Meter(port='say "x"'))["port"] == "'say \"x\"'"


def test_alternatives_are_listed_as_a_person_would():
    assert settings.alternatives([9]) == "9"
    assert settings.alternatives([9, 10, 11]) == "9, 10 or 11"


@given(st.dictionaries(st.sampled_from(sorted(settings.declared(Meter))), st.text() | st.lists(st.text())))
def test_any_text_is_read_or_refused(entries):
    with suppress(SettingsFault):
        assert isinstance(build(Meter, entries), Meter)


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1))
def test_text_is_quoted_so_that_it_reads_as_the_same(text):
    assume(not ('"' in text and "'" in text))  # which no file can quote
    assert ConfigObj([f"key = {settings.quoted(text)}"], interpolation=False)["key"] == text
