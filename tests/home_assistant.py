"""What Home Assistant takes for discovery, by the strictest of 2025.4, 2025.7 and 2026.11, as measured."""

from __future__ import annotations

import json
import re

ROOT = {
    "device", "origin", "components", "availability", "availability_mode", "state_topic", "command_topic",
    "qos", "encoding",
}  # fmt: skip
DEVICE = {
    "identifiers", "connections", "name", "manufacturer", "model", "model_id", "serial_number", "hw_version",
    "sw_version", "suggested_area", "configuration_url", "via_device",
}  # fmt: skip
UNITS = {
    "temperature": {"°C", "°F", "K"},
    "power": {"mW", "W", "kW", "MW"},
    "apparent_power": {"VA"},
    "energy": {"Wh", "kWh", "MWh", "J", "kJ", "MJ", "GJ"},
    "voltage": {"µV", "mV", "V", "kV"},
    "current": {"mA", "A"},
    "humidity": {"%"},
    "battery": {"%"},
    "frequency": {"Hz", "kHz", "MHz"},
    "signal_strength": {"dB", "dBm"},
    "duration": {"d", "h", "min", "s", "ms"},
    "timestamp": {None},
    "pressure": {"Pa", "hPa", "kPa", "bar", "mbar", "mmHg"},
}
STATES = {"measurement", "total", "total_increasing"}


def check(topic: str, payload: str | bytes) -> dict:
    """Return the message if Home Assistant would take it with every component."""
    assert re.fullmatch(r"[\w/]+/device/[a-zA-Z0-9_-]+/config", topic), topic
    message = json.loads(payload)
    assert set(message) <= ROOT, "an unknown key at the root rejects the whole message"
    assert message["origin"]["name"]
    assert set(message["device"]) <= DEVICE
    assert message["device"].get("identifiers") or message["device"].get("connections")
    ids = [about["unique_id"] for about in message["components"].values() if len(about) > 1]
    assert len(ids) == len(set(ids))
    for about in message["components"].values():
        assert about["platform"] in ("sensor", "binary_sensor")
        if len(about) > 1:
            check_component(about)
    return message


def check_component(about: dict) -> None:
    kind, unit = about.get("device_class"), about.get("unit_of_measurement")
    if kind and about["platform"] == "sensor":
        assert unit in UNITS[kind], about
    assert about.get("state_class", "measurement") in STATES
    assert not (kind == "energy" and about["state_class"] == "measurement")
    assert isinstance(about.get("expire_after", 1), int)
    assert re.fullmatch(r"[\x20-\x7e]*", about["value_template"])
