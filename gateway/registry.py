"""Which class a `type =` names: built-ins, imported on first use, and the entry points of other packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal

from gateway.settings import did_you_mean

if TYPE_CHECKING:
    from gateway.plugin import Plugin

Kind = Literal["listeners", "dispatchers"]

BUILT_IN: dict[Kind, dict[str, str]] = {
    "listeners": {
        "ds2482": "listeners.onewire.ds2482:Ds2482",
        "owfs": "listeners.onewire.owfs:Owfs",
        "rfm12pi": "listeners.rfm12pi:Rfm12pi",
        "tcp": "listeners.tcp:Tcp",
        "OemGatewayOWFSListener": "listeners.onewire.owfs:Owfs",
        "OemGatewayRFM2PiListener": "listeners.rfm12pi:Rfm2pi",
        "OemGatewaySocketListener": "listeners.tcp:Tcp",
    },
    "dispatchers": {
        "emoncms": "gateway.dispatchers.emoncms:Emoncms",
        "log": "gateway.dispatchers.log:Log",
        "OemGatewayEmoncmsBuffer": "gateway.dispatchers.emoncms:EmoncmsBuffer",
    },
}


class UnknownType(ValueError):
    """No plugin answers to this type, or it cannot be used here."""


def find(kind: Kind, name: str) -> type[Plugin]:
    """Return the plugin class of a type. Raises UnknownType with what would help."""
    built_in = BUILT_IN[kind]
    installed = [point for point in entry_points(group=f"oemgateway.{kind}") if point.name == name]
    if len(installed) + (name in built_in) > 1:
        owners = [point.dist.name if point.dist else point.value for point in installed]
        owners += ["oemgateway itself"] * (name in built_in)
        raise UnknownType(f"{name} is claimed by {' and '.join(owners)}: uninstall one of them")
    if name in built_in:
        installed = [EntryPoint(name, built_in[name], f"oemgateway.{kind}")]
    try:
        if installed:
            plugin: type[Plugin] = installed[0].load()
            return plugin
    except ImportError as error:
        raise UnknownType(f"{name} needs the Python package {error.name}, which is not installed") from error
    known = {point.name for point in entry_points(group=f"oemgateway.{kind}")} | set(built_in)
    others = BUILT_IN["dispatchers" if kind == "listeners" else "listeners"]
    if name in others:
        raise UnknownType(f"{name} belongs in [{'dispatchers' if kind == 'listeners' else 'listeners'}]")
    raise UnknownType(f"{name} is not a type of {kind[:-1]}{did_you_mean(name, known)}")
