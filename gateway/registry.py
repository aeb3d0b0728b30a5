"""Which class a `type =` names: built-ins, imported on first use, and the entry points of other packages."""

from __future__ import annotations

import re
import sys
import sysconfig
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal

from gateway.plugin import Dispatcher, Listener, Plugin
from gateway.settings import alternatives, did_you_mean

Kind = Literal["listeners", "dispatchers"]
KINDS: tuple[Kind, ...] = ("listeners", "dispatchers")

BUILT_IN: dict[Kind, dict[str, str]] = {
    "listeners": {
        "ds2482": "listeners.onewire.drivers.ds2482:Ds2482",
        "counter": "listeners.counter:Counter",
        "exec": "listeners.textlines.exec_lines:ExecLines",
        "http": "listeners.http.listener:Http",
        "keyvalue": "listeners.textlines.keyvalue:KeyValue",
        "lograte": "listeners.lograte.listener:Lograte",
        "mqtt": "listeners.mqtt.listener:Mqtt",
        "owfs": "listeners.onewire.drivers.owfs:Owfs",
        "owserver": "listeners.onewire.drivers.owfs:Owserver",
        "probe": "listeners.probe.listener:Probe",
        "repeater": "listeners.radio.repeater:Repeater",
        "rfm12pi": "listeners.radio.rfm12pi:Rfm12pi",
        "serial": "listeners.textlines.serial_lines:SerialLines",
        "tcp": "listeners.textlines.tcp:Tcp",
        "w1": "listeners.onewire.drivers.w1:W1",
        "OemGatewayOWFSListener": "listeners.onewire.drivers.owfs:Owfs",
        "OemGatewayRFM2PiListener": "listeners.radio.rfm12pi:Rfm2pi",
        "OemGatewayRFM2PiListenerRepeater": "listeners.radio.repeater:Rfm2piRepeater",
        "OemGatewaySerialListener": "listeners.textlines.serial_lines:SerialLines",
        "OemGatewaySocketListener": "listeners.textlines.tcp:Tcp",
    },
    "dispatchers": {
        "emoncms": "gateway.dispatchers.emoncms.dispatcher:Emoncms",
        "influxdb": "gateway.dispatchers.influxdb.dispatcher:InfluxDb",
        "log": "gateway.dispatchers.log:Log",
        "mqtt": "gateway.dispatchers.mqtt.dispatcher:Mqtt",
        "page": "gateway.dispatchers.page.dispatcher:Page",
        "table": "gateway.dispatchers.table:Table",
        "OemGatewayEmoncmsBuffer": "gateway.dispatchers.emoncms.dispatcher:EmoncmsBuffer",
    },
}


_BUSES = ("ds2482", "owfs", "owserver", "w1")
_MEANT: dict[Kind, dict[str, tuple[str, ...]]] = {
    "listeners": {
        **dict.fromkeys(("ds18b20", "ds18s20", "1wire", "onewire", "w1gpio", "temperature"), _BUSES),
        **dict.fromkeys(("rfm2pi", "rfm69pi", "jeelink", "emonpi", "radio"), ("rfm12pi",)),
        **dict.fromkeys(("emontx", "emonth"), ("rfm12pi", "keyvalue", "serial")),
        **dict.fromkeys(("ping", "network"), ("probe",)),
        **dict.fromkeys(("socket", "sockets"), ("tcp",)),
    },
    "dispatchers": {"emoncmsorg": ("emoncms",), "homeassistant": ("mqtt",), "web": ("page",)},
}
"""What people write for a type, in lower case, without other characters than letters and digits."""

_CLASSES: dict[Kind, type[Plugin]] = {"listeners": Listener, "dispatchers": Dispatcher}

_PACKAGES = {"serial": "pyserial", "paho": "'paho-mqtt>=2'"}
"""Python packages whose name is not that of the module in them."""
_ON_PAHO = "it must be 2 or newer, which Debian 12 does not have: use `make install` there"
_DEBIAN_PACKAGES = {"paho": f"python3-paho-mqtt; {_ON_PAHO}"}
"""Debian's packages whose name is not `python3-` and that of the module, and what to know of them."""


class UnknownType(ValueError):
    """No plugin answers to this type, or it cannot be used here."""


def known(kind: Kind) -> list[str]:
    """Return all types; the names of 2013 are understood, but not advertised."""
    built_in = [name for name in BUILT_IN[kind] if not name.startswith("OemGateway")]
    return built_in + [point.name for point in _installed(kind)]


def kinds_of(name: str) -> list[Kind]:
    """Return the kinds that have a type of this name."""
    return [kind for kind in KINDS if name in BUILT_IN[kind] or name in known(kind)]


def kind_of(name: str) -> Kind | None:
    """Return the kind of a type, None if there is no such type, or one of either kind."""
    kinds = kinds_of(name)
    return kinds[0] if len(kinds) == 1 else None


def find(kind: Kind, name: str) -> type[Plugin]:
    """Return the plugin class of a type. Raises UnknownType with what would help."""
    points = [point for point in _installed(kind) if point.name == name]
    owners = [point.dist.name if point.dist else point.value for point in points]
    if name in BUILT_IN[kind]:
        points.append(EntryPoint(name, BUILT_IN[kind][name], f"oemgateway.{kind}"))
        owners.append("oemgateway itself")
    if len(points) > 1:
        raise UnknownType(f"{name} is claimed by {' and '.join(owners)}: uninstall one of them")
    if points:
        return _load(points[0], _CLASSES[kind])
    if other := kind_of(name):
        raise UnknownType(f"{name} belongs in [{other}]")
    if types := _MEANT[kind].get(re.sub(r"[^a-z0-9]", "", name.lower())):
        raise UnknownType(f"{name} is not a type of {kind[:-1]} (did you mean {alternatives(types)}?)")
    hint = did_you_mean(name, [*known(kind), *BUILT_IN[kind]]) or f": {alternatives(known(kind))} expected"
    raise UnknownType(f"{name} is not a type of {kind[:-1]}{hint}")


def _installed(kind: Kind) -> tuple[EntryPoint, ...]:
    return _read(kind, tuple(map(_changed_at, sys.path)))


@lru_cache(maxsize=len(KINDS))
def _read(kind: Kind, _: tuple[int, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of all packages, whose files are read again once one is added or removed."""
    return tuple(sorted(entry_points(group=f"oemgateway.{kind}")))


def _changed_at(directory: str) -> int:
    try:
        return Path(directory).stat().st_mtime_ns
    except OSError:
        return 0


def _load(point: EntryPoint, expected: type[Plugin]) -> type[Plugin]:
    try:
        plugin = point.load()
    except Exception as error:  # a module may do anything when it is imported
        raise UnknownType(f"{point.name}: {_why(point, error)}") from error
    if not (isinstance(plugin, type) and issubclass(plugin, expected)):
        raise UnknownType(f"{point.name}: {point.value} is not a {expected.__name__}")
    return plugin


def _why(point: EntryPoint, error: Exception) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    name = missing.partition(".")[0]
    if not name or name == point.module.partition(".")[0]:
        return f"{point.value} cannot be loaded: {error!r}"
    if name in sys.stdlib_module_names:
        return f"Python's own module {missing} is not there: after an upgrade of Python restart the gateway"
    sudo = "" if Path(sys.prefix).stat().st_uid else "sudo "  # as `make install` made it
    how = f"{sudo}{sys.executable} -m pip install {_PACKAGES.get(name, missing)}"
    if sys.prefix == sys.base_prefix and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists():
        how = f"sudo apt install {_DEBIAN_PACKAGES.get(name, f'python3-{name}')}"  # its pip installs nothing
    return f"the Python module {missing} is not installed: {how}"
