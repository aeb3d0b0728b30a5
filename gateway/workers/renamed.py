"""Which sections an edit of the configuration only renames, and which have another far end now."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from gateway.conf.changes import is_same
from gateway.settings import declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.plugin import Dispatcher, Plugin
    from gateway.workers.worker import Worker

_HOW_IT_SENDS = {"batch", "ca_file", "interval", "keys", "loglevel", "timeout"}
"""Settings that do not change where readings go."""


def find_new_names(before: Sequence[Worker[Any]], begun: Sequence[Dispatcher]) -> dict[Worker[Any], str]:
    """Return the new name of each worker that an edit ends and renames.

    That is the name of the new section with the same settings or, if there is none, with the same far end.
    What waits for a worker follows its far end: under its old name it would go to another one.
    """
    pairs = list(product(before, begun))
    found = {old: new.name for old, new in pairs if is_same(old.plugin, new)}
    stay = {new.name for old, new in pairs if old.name == new.name and _has_same_far_end(old.plugin, new)}
    for old, new in pairs:
        taken = stay.union(name for each, name in found.items() if each.name != old.name)
        is_free = old not in found and old.name not in stay and new.name not in taken
        if is_free and _has_same_far_end(old.plugin, new):
            found[old] = new.name
    return found


def _has_same_far_end(before: Plugin, after: Plugin) -> bool:
    settings = {name for name, field in declared(type(after)).items() if field.compare} - _HOW_IT_SENDS
    return type(before) is type(after) and all(
        getattr(before, name) == getattr(after, name) for name in settings
    )
