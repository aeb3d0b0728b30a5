"""What is sent to Home Assistant about a node and the gateway, so that it shows their values by itself.

A device message (https://www.home-assistant.io/integrations/mqtt, "Discovery messages") is retained and has
all components of one device. One key at its root that Home Assistant does not know rejects all of it. What it
accepts was measured with 2025.4 and 2026.11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.dispatchers.mqtt.published import Retained
from gateway.mqtt.topics import encode, host_name
from gateway.version import VERSION

if TYPE_CHECKING:
    from gateway.dispatchers.mqtt.state import NodeState
    from gateway.plugin import Series

_UNITS = {"c": "°C", "f": "°F", "°c": "°C", "°f": "°F", "p": "", "n": "", "m3": "m³", "kva": "kVA"}
"""Units as emonhub writes them, as Home Assistant does; a count has none."""

_CLASSES = {
    "temperature": ("°C", "°F", "K"),
    "power": ("mW", "W", "kW", "MW"),
    "energy": ("Wh", "kWh", "MWh", "J", "kJ", "MJ", "GJ"),
    "apparent_power": ("VA",),
    "reactive_power": ("var", "kvar"),
    "voltage": ("µV", "mV", "V", "kV"),
    "current": ("mA", "A"),
    "frequency": ("Hz", "kHz", "MHz"),
    "pressure": ("Pa", "hPa", "kPa", "bar", "mbar", "mmHg"),
    "illuminance": ("lx",),
    "signal_strength": ("dBm", "dB"),
    "irradiance": ("W/m²",),
    "wind_speed": ("m/s", "km/h"),
}
"""The device classes by the units that each allows: with another unit the component is refused.

kVA has none: Home Assistant 2025.7 to 2025.9 do not allow it.
"""

_OF_UNIT = {unit: name for name, units in _CLASSES.items() for unit in units}
_COUNTERS = ("p", "pulses", "m3", "m³")
"""Units of what only grows."""


@dataclass(frozen=True)
class Announcer:
    """Makes the device messages of one gateway, by its id, its base topic and Home Assistant's prefix."""

    gateway: str
    topic: str
    prefix: str

    @property
    def birth(self) -> str:
        """The topic on which Home Assistant says that it is there."""
        return f"{self.prefix}/status"

    def node(self, about: NodeState, expire_after: float) -> Retained:
        """Return the message of a node; its values are unknown `expire_after` seconds after the last one."""
        node = about.node
        own = f"{self._own}_{encode(node)}"
        components = {key: _sensor(key, series) for key, series in about.values.items()}
        if about.frame and about.frame.rssi is not None:
            components["-rssi"] = {
                "name": "Signal strength",
                "device_class": "signal_strength",
                "unit_of_measurement": "dBm",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "value_template": "{{ value_json['rssi'] | default(none) }}",
            }
        components["-seen"] = {
            "name": "Last seen",
            "device_class": "timestamp",
            "entity_category": "diagnostic",
            "value_template": (
                "{{ (value_json['time'] | as_datetime).isoformat() "
                "if value_json['time'] is defined else none }}"
            ),
        }
        for key, component in components.items():
            component |= {
                "platform": "sensor",
                "unique_id": f"{own}_{key}",
                "expire_after": max(1, round(expire_after)),
            }
        title = about.name or (f"Node {node}" if node.isdecimal() else node)
        device = {"identifiers": [own], "name": title, "manufacturer": "oemgateway", "via_device": self._own}
        topics = [f"{self.topic}/status", f"{self.topic}/available/{node}"]
        whole = self._device(own, device, components, f"{self.topic}/state/{node}", topics)
        return replace(whole, source=about.source, open_ended=about.open_ended)

    def itself(self) -> Retained:
        """Return the message of the gateway: how much waits, since when, and whether something is wrong."""
        components: dict[str, dict[str, Any]] = {
            "waiting": {"name": "Queue", "state_class": "measurement"},
            "oldest": {"name": "Oldest waiting", "device_class": "duration", "unit_of_measurement": "s"},
            "version": {"name": "Version"},
            "problem": {
                "platform": "binary_sensor",
                "name": "Problem",
                "device_class": "problem",
                "json_attributes_topic": f"{self.topic}/gateway",
                "json_attributes_template": "{{ {'troubles': value_json['troubles']} | tojson }}",
            },
        }
        for key, about in components.items():
            about.setdefault("platform", "sensor")
            about |= {
                "unique_id": f"{self._own}_{key}",
                "entity_category": "diagnostic",
                "value_template": f"{{{{ value_json['{key}'] }}}}",
            }
        device = {
            "identifiers": [self._own],
            "name": f"oemgateway {host_name()}",
            "manufacturer": "oemgateway",
            "sw_version": VERSION,
        }
        return self._device(self._own, device, components, f"{self.topic}/gateway", [f"{self.topic}/status"])

    @property
    def nodes(self) -> str:
        """What the topics of all nodes begin with."""
        return f"{self.prefix}/device/{self._own}_"

    @property
    def _own(self) -> str:
        return f"oemgateway_{self.gateway}"

    def _device(
        self,
        name: str,
        device: dict[str, Any],
        components: dict[str, dict[str, Any]],
        state: str,
        available: list[str],
    ) -> Retained:
        payload = {
            "device": device,
            "origin": {"name": "oemgateway", "sw_version": VERSION},
            "availability": [{"topic": topic} for topic in available],
            "availability_mode": "all",
            "state_topic": state,
            "qos": 1,
            "components": components,
        }
        return Retained(f"{self.prefix}/device/{name}/config", device=payload)


def _sensor(key: str, series: Series) -> dict[str, Any]:
    unit = _UNITS.get(series.unit.lower(), series.unit)
    if series.kind == "temperature" and not unit:
        unit = "°C"
    about: dict[str, Any] = {
        "name": series.label or f"Value {key}",
        "value_template": f"{{{{ value_json['values']['{key}'] | default(none) }}}}",
        "state_class": "measurement",
    }
    if unit:
        about["unit_of_measurement"] = unit
    if name := _OF_UNIT.get(unit) or _of_percent(unit, series.label):
        about["device_class"] = name
    if name == "energy" or series.unit.lower() in _COUNTERS:
        about["state_class"] = "total_increasing"
    if name == "temperature":
        about["suggested_display_precision"] = 1
    return about


def _of_percent(unit: str, label: str) -> str | None:
    if unit != "%":
        return None
    return "humidity" if "hum" in label.lower() else "battery" if "batt" in label.lower() else None
