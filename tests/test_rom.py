"""ROM ids: every spelling gives the same id, and a wrong one is told what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.onewire.rom import Rom, crc8, lookalike

ROM = Rom(bytes.fromhex("28 33 F7 49 05 00 00 1B"))

SPELLINGS = [
    "28.33F749050000",
    "28.33f749050000",
    "28.33F7490500001B",
    "28.33F749050000.1B",
    "2833F749050000.1B",
    "2833F7490500001B",
    "28 33 F7 49 05 00 00 1B",
    "28:33:f7:49:05:00:00:1b",
    "28-00000549f733",
    "28-00000549F733",
]

REFUSED = [
    ("28.33F74905000O", "character 15 is O, where a hex digit is expected (did you mean 0?)"),
    ("28.33F74905000l", "character 15 is l, where a hex digit is expected (did you mean 1?)"),
    ("28.33F74905_000", "character 12 is _, where a hex digit is expected"),
    ("2833F749050000", "write 28.33F749050000 if it is from OWFS, 28-33F749050000 if from Linux"),
    ("28.33F74905000", "12 hex digits, or 14 with the CRC, expected after the dot, not 11"),
    ("28-0000549f733", "12 hex digits expected after the dash, not 11"),
    ("28-00000549f7331b", "12 hex digits expected after the dash, not 14"),
    ("28.33F7490500001C", "CRC 1C does not fit the digits before it, 1B would: one is mistyped"),
    ("28.33F749050000.1C", "CRC 1C does not fit"),
    ("2833F749050001 1B", "an id as 28.33F749050000 or 28-00000549f733 expected"),
    ("2833F7490500011B", "CRC 1B does not fit"),
    ("00.000000000000", "family 00 is no device"),
    ("0000000000000000", "family 00 is no device"),
    ("", "an id as 28.33F749050000"),
]

roms = st.builds(Rom.of, st.integers(1, 255), st.binary(min_size=6, max_size=6))


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        ("2833F749050000", 0x1B),
        ("50054B467FFF0C10", 0x1C),
        ("91014B467FFF0C10", 0x70),
        ("00" * 8, 0x00),
        ("FF" * 8, 0xC9),
    ],
)
def test_crc(data, crc):
    data = bytes.fromhex(data)
    assert crc8(data) == crc
    assert crc8(data + bytes([crc])) == 0


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_is_the_same_id(text):
    assert Rom.parse(text) == ROM


def test_an_id_is_shown_as_owfs_and_linux_show_it():
    assert str(ROM) == "28.33F749050000"
    assert ROM.linux == "28-00000549f733"
    assert ROM.family == 0x28


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_a_wrong_id_is_told_what_is_wrong(text, words):
    with pytest.raises(ValueError) as refusal:
        Rom.parse(text)
    assert str(refusal.value).startswith(f"{text}: ")
    assert words in str(refusal.value)


def test_bytes_of_another_length_are_no_id():
    with pytest.raises(ValueError, match="8 bytes expected, not 7"):
        Rom(ROM.wire[:7])


@given(roms)
def test_what_is_shown_can_be_read_again(rom):
    for text in (str(rom), rom.linux, rom.wire.hex(), rom.wire.hex(" "), f"{rom}.{rom.wire[7]:02x}"):
        assert Rom.parse(text) == rom


@given(roms, st.integers(0, 15), st.sampled_from("0123456789ABCDEF"))
def test_one_mistyped_digit_is_found_where_the_crc_is_given(rom, place, digit):
    typed = rom.wire.hex().upper()
    mistyped = typed[:place] + digit + typed[place + 1 :]
    if mistyped != typed:
        with pytest.raises(ValueError, match=r"CRC|family 00"):
            Rom.parse(mistyped)


@given(st.text(max_size=24))
def test_any_text_is_an_id_or_refused(text):
    try:
        parsed = Rom.parse(text)
    except ValueError:
        return
    assert Rom.parse(str(parsed)) == parsed


def test_ids_can_be_ordered_and_be_keys():
    other = Rom.parse("28.DB564A050000")
    assert sorted([other, ROM]) == [ROM, other]
    assert {ROM: 1}[Rom.parse("28-00000549f733")] == 1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("28.33F749050001", "28.33F749050000 is on the bus, which differs in character 15"),
        ("28.3F3749050000", "28.33F749050000 is on the bus, which differs in characters 5, 6"),
        (
            "28.00000549F733",
            "28.33F749050000 is on the bus: these are its digits in Linux's order, written 28-00000549f733",
        ),
        ("28.AB1663050000", ""),
    ],
)
def test_the_id_that_was_meant_is_named(typed, words):
    present = [Rom.parse("28.DB564A050000"), ROM]
    assert lookalike(Rom.parse(typed), present) == words


def test_nothing_is_like_an_id_on_an_empty_bus():
    assert lookalike(ROM, []) == ""
