"""A plugin that is open for as long as a test needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from gateway.clock import Clock
from gateway.plugin import Plugin

P = TypeVar("P", bound=Plugin)


@contextmanager
def opened(plugin: P, name: str, clock: Clock | None = None) -> Iterator[P]:
    """Give a plugin its name and clock, as the core does; open it, and close it at the end."""
    plugin.name = name
    plugin.clock = clock or plugin.clock
    try:
        plugin.open()
        yield plugin
    finally:
        plugin.close()
