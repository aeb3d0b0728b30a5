"""What an edit of the configuration changes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.settings import declared, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.conf.config import Configuration, Gateway


def is_same(before: object, after: object) -> bool:
    """Tell whether a plugin can go on as it is."""
    return type(before) is type(after) and before == after


def changes(before: Configuration, after: Configuration, started: Gateway) -> str:
    """Return what is different, as in "radio: group 210 -> 212, reopened; nothing else changed".

    `started` has the settings that take effect only at a start, as they are in force.
    """
    said = [*_plugins(before, after), *_nodes(before, after), *_gateway(before, after, started)]
    return "; ".join([*said, "nothing else changed"]) if said else "no setting changed"


def _plugins(before: Configuration, after: Configuration) -> Iterator[str]:
    old = {**before.listeners, **before.dispatchers}
    new = {**after.listeners, **after.dispatchers}
    for name, plugin in new.items():
        if name not in old:
            yield f"{name}: new"
        elif type(old[name]) is not type(plugin):
            yield f"{name}: another type, reopened"
        elif different := _different(old[name], plugin):
            yield f"{name}: {different}{'' if is_same(old[name], plugin) else ', reopened'}"
    yield from (f"{name}: removed" for name in old if name not in new)


def _nodes(before: Configuration, after: Configuration) -> Iterator[str]:
    old, new = before.nodes.decoders, after.nodes.decoders
    for node, decoder in new.items():
        if node not in old:
            yield f"node {node}: new"
        elif different := _different(old[node], decoder):
            yield f"node {node}: {different}"
    yield from (f"node {node}: removed" for node in old if node not in new)


def _gateway(before: Configuration, after: Configuration, started: Gateway) -> Iterator[str]:
    old, new, runs = shown(before.gateway), shown(after.gateway), shown(started)
    for name, setting in declared(type(after.gateway)).items():
        if old[name] == new[name]:
            continue
        if not setting.metadata["at_start"]:
            yield f"{name} {_step(old[name], new[name])}"
        elif new[name] == runs[name]:
            yield f"{name} {_step(old[name], new[name])} again, which is still in force"
        else:
            move = ": before it, stop the gateway and move the files" if name == "state_dir" else ""
            yield f"{name} {_step(runs[name], new[name])}, which takes effect at the next start{move}"


def _different(before: Any, after: Any) -> str:  # noqa: ANN401  (any dataclass of settings)
    old, new = shown(before), shown(after)
    words = [
        f"{key} {_step(old.get(key, ''), new.get(key, ''))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    secrets = [name for name, field in declared(type(after)).items() if field.metadata.get("secret")]
    words += [f"{name} changed" for name in secrets if getattr(before, name) != getattr(after, name)]
    return ", ".join(words)


def _step(old: str, new: str) -> str:
    return f"{old or 'none'} -> {new or 'none'}"
