"""What scratchpads mean: the data sheets' tables, and every value that only looks like a temperature."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.onewire.ds18b20 import (
    MARKER,
    Fault,
    configuration,
    conversion_time,
    decode,
    is_power_on,
    own_markers,
    plausible,
    resolution_of,
    setup,
    shows_conversion,
)
from listeners.onewire.rom import Rom, crc8

SERIAL = bytes.fromhex("33F749050000")
DS18B20, DS18S20, DS1822, DS1825, DS28EA00 = (Rom.of(f, SERIAL) for f in (0x28, 0x10, 0x22, 0x3B, 0x42))

POWER_ON = "5005 4B46 7F FF 0C 10"


def pad(text, alarms="4B46"):
    """Nine bytes of eight in hex; four bytes are value, configuration and byte 6 in an else ordinary one."""
    data = bytes.fromhex(text)
    if len(data) == 4:
        data = data[:2] + bytes.fromhex(alarms) + data[2:3] + b"\xff" + data[3:] + b"\x10"
    return data + bytes([crc8(data)])


def measured(raw, bits=12, alarms="4B46"):
    """A genuine DS18B20's scratchpad after a conversion."""
    low = 0x10 - (raw & 0x0F)
    return pad(
        (raw & 0xFFFF).to_bytes(2, "little").hex() + f"{configuration(bits):02x}" + f"{low:02x}", alarms
    )


DATA_SHEET = [
    (0x07D0, 125.0),
    (0x0550, 85.0),
    (0x0191, 25.0625),
    (0x00A2, 10.125),
    (0x0008, 0.5),
    (0x0000, 0.0),
    (0xFFF8, -0.5),
    (0xFF5E, -10.125),
    (0xFE6F, -25.0625),
    (0xFC90, -55.0),
]


@pytest.mark.parametrize("rom", [DS18B20, DS1822, DS28EA00], ids=str)
@pytest.mark.parametrize(("raw", "celsius"), DATA_SHEET)
def test_the_table_of_the_data_sheet(rom, raw, celsius):
    assert decode(rom, measured(raw)) == celsius
    assert decode(rom, measured(raw, alarms=MARKER.hex()), marker=MARKER, resolution=12) == celsius


@pytest.mark.parametrize(
    ("raw", "bits", "celsius"),
    [
        (0x0197, 12, 25.4375),
        (0x0197, 11, 25.375),
        (0x0197, 10, 25.25),
        (0x0197, 9, 25.0),
        (0xFE6F, 11, -25.125),
        (0xFE6F, 9, -25.5),
        (0xFFFF, 9, -0.5),
        (0x0557, 9, 85.0),
    ],
)
def test_bits_below_the_resolution_are_undefined(raw, bits, celsius):
    assert decode(DS18B20, measured(raw, bits)) == celsius


REFUSED = [
    ("all ones", "FF" * 9, Fault.NO_ANSWER),
    ("all zeros, whose CRC is right", "00" * 9, Fault.ALL_ZERO),
    ("nothing", "", Fault.CRC),
    ("cut short", POWER_ON, Fault.CRC),
    ("one bit flipped", "5105 4B46 7F FF 0C 10 1C", Fault.CRC),
    ("power-on", pad(POWER_ON).hex(), Fault.POWER_ON),
    ("failed conversion", pad("FF07 7F 0C").hex(), Fault.FAILED),
    ("failed conversion, byte 6 as after one", measured(0x07FF).hex(), Fault.FAILED),
    ("above 125", measured(0x07D1).hex(), Fault.RANGE),
    ("below -55", measured(0xFC8F).hex(), Fault.RANGE),
    ("a configuration that no DS18B20 has", pad("9101 00 0F").hex(), Fault.UNREADABLE),
    ("a configuration with bit 7", pad("9101 FF 0F").hex(), Fault.UNREADABLE),
]


@pytest.mark.parametrize(("data", "fault"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_only_looks_like_a_temperature_is_refused(data, fault):
    assert decode(DS18B20, bytes.fromhex(data)) is fault


@pytest.mark.parametrize(
    ("what", "scratchpad", "marker", "reading"),
    [
        ("power-on", pad(POWER_ON), MARKER, Fault.POWER_ON),
        ("power-on at 25 °C, as some clones do", pad("9001 7F 10"), MARKER, Fault.POWER_ON),
        ("true 85 °C", measured(0x0550, alarms=MARKER.hex()), MARKER, 85.0),
        ("a clone's true 85 °C", pad("5005 7F 0C", MARKER.hex()), MARKER, 85.0),
        ("half a marker", pad("5005 7F 10", "5A46"), MARKER, Fault.POWER_ON),
        ("power-on, not marked", pad(POWER_ON), None, Fault.POWER_ON),
        ("true 85 °C, not marked", measured(0x0550), None, 85.0),
        ("a clone's true 85 °C, not marked", pad("5005 7F 0C"), None, Fault.POWER_ON),
        ("a clone's 84.9375 °C, not marked", pad("4F05 7F 0C"), None, 84.9375),
    ],
)
def test_power_on_is_told_by_the_marker_or_else_by_byte_6(what, scratchpad, marker, reading):
    assert decode(DS18B20, scratchpad, marker=marker) == reading


@pytest.mark.parametrize(
    ("text", "marker", "reading"),
    [
        ("AA00 4B46 FFFF 0C 10", None, Fault.AT_85),
        ("AA00 5ADB FFFF 0C 10", MARKER, 85.0),
        ("AA00 4B46 FFFF 0D 10", None, 84.9375),
        ("3200 4B46 FFFF 0C 10", None, 25.0),
        ("3200 4B46 FFFF 0B 10", None, 25.0625),
        ("CEFF 4B46 FFFF 0C 10", None, -25.0),
        ("FFFF 4B46 FFFF 0C 10", None, -1.0),
        ("3300 4B46 FFFF 0C 00", None, 25.5),
        ("3200 4B46 7FFF 0C 10", None, Fault.UNREADABLE),
        ("2C01 4B46 FFFF 0C 10", None, Fault.RANGE),
    ],
)
def test_a_ds18s20_counts_its_fractions(text, marker, reading):
    assert decode(DS18S20, pad(text), marker=marker, resolution=9) == reading


@pytest.mark.parametrize(
    ("configured", "reading"), [("7F", 25.0625), ("70", 25.0625), ("F0", Fault.THERMOCOUPLE)]
)
def test_a_ds1825_has_address_pins_in_its_configuration_and_a_max31850_is_not_one(configured, reading):
    assert decode(DS1825, pad(f"9101 {configured} 0F")) == reading


def test_a_device_that_is_no_thermometer_is_refused():
    assert decode(Rom.of(0x26, SERIAL), measured(0x0191)) is Fault.UNREADABLE


@pytest.mark.parametrize(
    ("bits", "given_time_for", "reading"),
    [(12, 12, 25.0625), (12, None, 25.0625), (9, 12, 25.0), (12, 9, Fault.RESOLUTION)],
)
def test_a_sensor_that_takes_longer_than_it_was_given_is_refused(bits, given_time_for, reading):
    assert decode(DS18B20, measured(0x0191, bits), resolution=given_time_for) == reading


@pytest.mark.parametrize(
    ("bits", "byte", "seconds"), [(9, 0x1F, 0.09375), (10, 0x3F, 0.1875), (11, 0x5F, 0.375), (12, 0x7F, 0.75)]
)
def test_resolutions(bits, byte, seconds):
    assert configuration(bits) == byte
    assert resolution_of(measured(0, bits)) == bits
    assert conversion_time(bits) == seconds
    assert conversion_time(bits, DS18S20.family) == 0.75
    marker, _ = own_markers(DS18B20)
    assert setup(DS18B20, bits, marker) == marker + bytes([byte])
    assert setup(DS18S20, bits, marker) == marker


@pytest.mark.parametrize(
    ("celsius", "reading"),
    [
        (-55.0, -55.0),
        (125.0, 125.0),
        (125.06, Fault.RANGE),
        (-127.0, Fault.RANGE),
        (float("nan"), Fault.RANGE),
    ],
)
def test_the_range_of_the_sensors(celsius, reading):
    assert plausible(celsius) == reading


@given(st.integers(-880, 2000), st.sampled_from([9, 10, 11, 12]))
def test_every_temperature_comes_back_at_its_resolution(raw, bits):
    step = 2.0 ** (8 - bits)
    celsius = decode(DS18B20, measured(raw, bits, MARKER.hex()), marker=MARKER, resolution=bits)
    assert celsius % step == 0
    assert 0 <= raw / 16 - celsius < step or celsius is Fault.RANGE


@given(st.integers(-880, 2000), st.integers(0, 71), st.integers(1, 255))
def test_no_burst_of_up_to_eight_bits_passes(raw, place, burst):
    sent = int.from_bytes(measured(raw), "little")
    received = (sent ^ burst << place) & (1 << 72) - 1
    if received != sent:
        assert isinstance(decode(DS18B20, received.to_bytes(9, "little")), Fault)


@given(st.binary(min_size=8, max_size=8), st.sampled_from([DS18B20, DS18S20, DS1822, DS1825, DS28EA00]))
def test_any_scratchpad_is_a_temperature_in_range_or_a_fault(data, rom):
    reading = decode(rom, data + bytes([crc8(data)]))
    assert isinstance(reading, Fault) or -55 <= reading <= 125


def test_power_on_is_one_value_with_one_byte_6():
    assert is_power_on(DS18B20, pad(POWER_ON))
    assert not is_power_on(DS18B20, measured(0x0550))
    assert not is_power_on(DS18S20, pad(POWER_ON))


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_words_of_its_own_and_a_cure(fault):
    assert str(fault) == fault.words
    assert fault.advice
    assert sum(other.words == fault.words for other in Fault) == 1


@pytest.mark.parametrize(
    ("rom", "hexadecimal", "shown"),
    [
        pytest.param(DS18B20, "5905 4B46 7FFF 0710", True, id="genuine"),
        pytest.param(DS18B20, "5005 4B46 7FFF 1010", True, id="a true 85 °C"),
        pytest.param(DS18B20, "5005 4B46 7FFF 0C10", False, id="power-on"),
        pytest.param(DS18B20, "5005 4B46 7FFF 7F10", False, id="a clone that has the configuration there"),
        pytest.param(DS18B20, "5401 4B46 7FFF 0C10", True, id="21.25 °C, at which byte 6 is as at power-on"),
        pytest.param(DS18B20, "5905 4B46 7FFF 0C10", True, id="a clone that keeps byte 6"),
        pytest.param(DS18B20, "9001 4B46 7FFF 1010", True, id="a true 25 °C"),
        pytest.param(DS18B20, "9001 4B46 7FFF 0C10", False, id="25 °C of a clone"),
        pytest.param(DS18B20, "9001 5505 7F7E 8166", False, id="the power-on of family D2"),
        pytest.param(DS18B20, "9101 5505 7F7E 8166", True, id="another value of family D2"),
        pytest.param(DS18B20, "A001 5505 7F7E 8166", False, id="the value that it was found with"),
        pytest.param(DS18B20, "A001 4B46 7FFF 0610", True, id="the same of a part that keeps none"),
        pytest.param(DS18S20, "2B00 4B46 FFFF 0B10", True, id="what is left of a DS18S20's degree"),
        pytest.param(DS18S20, "AA00 4B46 FFFF 0C10", False, id="a DS18S20 at power-on"),
        pytest.param(DS18S20, "2A00 4B46 FFFF 0C10", True, id="a DS18S20 at a full degree"),
    ],
)
def test_a_value_that_no_part_has_at_power_on_shows_a_conversion(rom, hexadecimal, shown):
    assert shows_conversion(rom, bytes.fromhex(hexadecimal), before=bytes.fromhex("A001")) is shown


@pytest.mark.parametrize("bits", [9, 10, 11, 12])
def test_every_value_that_a_genuine_part_converts_to_shows_it(bits):
    for raw in range(-55 * 16, 125 * 16 + 1):
        value = raw & -1 << 12 - bits
        pad = measured(value, bits)
        assert decode(DS18B20, pad, resolution=bits) == value / 16
        assert shows_conversion(DS18B20, pad, before=pad[:2])
