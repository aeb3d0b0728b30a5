"""Which of our retained messages a broker has, remembered so that they can be removed."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.mqtt.frames import as_json
from gateway.mqtt.message import Message
from gateway.mqtt.topics import is_topic
from gateway.process.state_files import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_UNHEARD = 3 * 256
"""The most topics that are kept for absent nodes, three for each: anyone may make up nodes."""


@dataclass(frozen=True)
class Retained:
    """A retained message: plain text, or a device message with components (one that is None: other code's).

    `source` is the listener that it is about. Whatever an `open_ended` device once had remains part of it.
    """

    topic: str
    text: str | None = None
    device: dict[str, Any] | None = None
    source: str = ""
    open_ended: bool = False

    @property
    def message(self) -> Message | None:
        """The message of a plain text."""
        return None if self.text is None else Message(self.topic, self.text.encode(), retain=True)

    @property
    def components(self) -> dict[str, Any]:
        """The components of a device message by their ids."""
        return self.device["components"] if self.device else {}


@dataclass
class _Known:
    """What is remembered of a topic."""

    source: str = ""
    components: dict[str, Any] = field(default_factory=dict)


class Published:
    """The retained topics of one dispatcher, with the components of device messages.

    They are kept in a file, or only in memory where `file` is None. If the file cannot be used, it works
    without: at worst Home Assistant still shows something that is gone.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, _Known] = {}
        self._sent: dict[str, Message] = {}
        self._after: dict[str, _Known] = {}
        if file:
            with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
                given = json.loads(read_file(file))
                self._known = {
                    t: _known(source, parts) for t, (source, parts) in given.items() if is_topic(t)
                }

    @property
    def topics(self) -> list[str]:
        """Those that the broker may have."""
        return list(self._known)

    def forget_sent(self) -> None:
        """Have everything sent again, as Home Assistant or the broker may have restarted."""
        self._sent.clear()

    def changes(
        self, wanted: Sequence[Retained], unheard: Callable[[str, str], Retained | None]
    ) -> list[Message]:
        """Return what is to be published so that the broker has what is wanted and nothing else.

        Of what is not wanted, `unheard` says by topic and source what stays because its node may come back. A
        component that is gone is sent once with its platform alone; otherwise Home Assistant would keep it.
        `delivered` is to be called when the broker has all of these.
        """
        messages: list[Message] = []
        self._after = {}
        for each in self._with_own_ids(wanted):
            known = self._known.get(each.topic, _Known())
            parts = {**known.components, **each.components} if each.open_ended else each.components
            self._after[each.topic] = _Known(each.source, parts)
            if each.device:
                gone = {
                    name: {"platform": about.get("platform", "sensor")}
                    for name, about in known.components.items()
                    if name not in parts
                }
                if gone:
                    messages.append(_device_message(each, {**parts, **gone}))
                messages += self._unless_sent(_device_message(each, parts))
            else:
                messages += self._unless_sent(each.message)
        left = [topic for topic in self._known if topic not in self._after]
        kept = filter(None, (unheard(topic, self._known[topic].source) for topic in left))
        for each in islice(kept, _UNHEARD):
            self._after[each.topic] = self._known[each.topic]
            messages += self._unless_sent(each.message)
        gone_topics = [topic for topic in left if topic not in self._after]
        # Noted before it is sent, so that it is known even if a kill interrupts the sending.
        self._note({**self._known, **{t: k for t, k in self._after.items() if t not in self._known}})
        return [*(Message(topic, b"", retain=True) for topic in gone_topics), *messages]

    def _with_own_ids(self, wanted: Sequence[Retained]) -> Iterator[Retained]:
        """Yield what is wanted, with no id of a component twice: Home Assistant ignores the second.

        A node a_b with c and a node a with b_c have one id. The first to be announced has it, for good.
        """
        owners: dict[str, tuple[str, str]] = {}
        for topic, known in self._known.items():
            for name, about in known.components.items():
                owners.setdefault(about.get("unique_id"), (topic, name))
        for each in wanted:
            parts = dict(each.components)
            for name, about in parts.items():
                other = f"{about['unique_id'].removesuffix(f'_{name}')}/{name}"
                is_first = owners.setdefault(about["unique_id"], (each.topic, name)) == (each.topic, name)
                if not is_first or owners.get(other) == (each.topic, name):
                    parts[name] = {**about, "unique_id": other}
            yield replace(each, device={**each.device, "components": parts}) if each.device else each

    def _unless_sent(self, message: Message | None) -> list[Message]:
        return [message] if message and self._sent.get(message.topic) != message else []

    def delivered(self, messages: Sequence[Message]) -> None:
        """Note that the broker has what was to be published."""
        self._sent |= {message.topic: message for message in messages}
        self._note(self._after)

    def _note(self, known: dict[str, _Known]) -> None:
        if known != self._known:
            self._known = known
            if self._file:
                with suppress(OSError):
                    kept = {topic: [each.source, each.components] for topic, each in known.items()}
                    write_file(self._file, json.dumps(kept), synced=True)


def _known(source: Any, components: Any) -> _Known:  # noqa: ANN401  (JSON)
    """Return what a file remembers of a topic; raises one of several errors if we have not written that."""
    ids = [about.get("unique_id", "") for about in components.values()]
    if not all(isinstance(each, str) for each in (source, *ids)):
        raise TypeError("text expected")
    as_json(components)
    return _Known(source, components)


def _device_message(each: Retained, components: dict[str, Any]) -> Message:
    return Message(each.topic, as_json({**(each.device or {}), "components": components}), retain=True)
