"""Topics, and names as parts of them: nothing collides, and no name is ever a wildcard or a template."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = re.compile(r"[A-Za-z0-9_]")
_FORBIDDEN = re.compile(r"[+#\x00-\x1f\x7f-\x9f]")


def encode(name: str) -> str:
    """Return the name in letters, digits, _ and -, never the same for two names.

    A byte of UTF-8 that is none of the first three is -XX in hexadecimal: Home Assistant accepts this as the
    id of an object.
    """
    return "".join(
        chr(byte) if byte < 0x80 and _PLAIN.match(chr(byte)) else f"-{byte:02x}" for byte in name.encode()
    )


def publishable(name: str) -> str:
    """Return a name as one or more levels of a topic, without what no topic may have."""
    return _FORBIDDEN.sub("_", name)


def as_level(name: str) -> str:
    """Return a name as one level of a topic."""
    return publishable(name).replace("/", "_")


def is_topic(topic: str) -> bool:
    """Tell whether a broker takes a message there."""
    with suppress(UnicodeEncodeError):
        return (
            0 < len(topic.encode()) < 1 << 16 and not topic.startswith("$") and not _FORBIDDEN.search(topic)
        )
    return False


def check_topic(topic: str) -> None:
    """Raise ValueError for what is not a single topic."""
    if _FORBIDDEN.search(topic) or len(topic.encode()) > 200:
        raise ValueError(f"a topic without + and # expected, such as home/cellar, not {topic}")


def check_published(topic: str) -> None:
    """Raise ValueError for what cannot be published to."""
    check_topic(topic)
    if topic.startswith(("$", "/")):
        raise ValueError(
            f"a topic that begins with neither / nor $ expected, such as home/cellar, not {topic}"
        )


def check_filter(topic: str) -> None:
    """Raise ValueError for what cannot be subscribed to: + is one whole level, and # all that is left."""
    levels = topic.split("/")
    if not levels[-1]:  # in the configuration file a # without quotes begins a comment
        raise ValueError(f'a name, + or # expected at its end, not {topic} (with a # in quotes: "{topic}#")')
    is_right = all(level == "+" or "+" not in level for level in levels)
    is_right &= all("#" not in level for level in levels[:-1]) and (
        levels[-1] == "#" or "#" not in levels[-1]
    )
    if not is_right or _FORBIDDEN.search(re.sub("[+#]", "", topic)) or len(topic.encode()) > 1000:
        raise ValueError(
            f"a topic expected, in which + is one level and a # at the end the rest, not {topic}"
        )


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a topic is one of those that a subscription gets."""
    want, have = pattern.split("/"), topic.split("/")
    if want[-1] == "#":
        want, have = want[:-1], have[: len(want) - 1]
    return len(want) == len(have) and all(one in ("+", other) for one, other in zip(want, have, strict=True))


def widest(patterns: Sequence[str]) -> list[str]:
    """Return the subscriptions that no other one covers: a broker sends a message once for each of them."""
    distinct = list(dict.fromkeys(patterns))
    return [each for each in distinct if not any(_covers(wide, each) for wide in distinct if wide != each)]


def _covers(wide: str, narrow: str) -> bool:
    """Tell whether a subscription gets all that another one gets."""
    if narrow.startswith("$"):  # is not matched by a wildcard
        return False
    if narrow.endswith("#") and not (wide.endswith("#") and len(wide.split("/")) <= len(narrow.split("/"))):
        return False
    return matches(wide, narrow)


def default_topic(gateway: str) -> str:
    """Return the topic of a gateway whose owner has not chosen one: many hosts are called raspberrypi."""
    return f"oemgateway/{_FORBIDDEN.sub('', host_name()).replace('/', '')}-{gateway}"


def host_name() -> str:
    """Return what this machine is called, without its domain."""
    return socket.gethostname().partition(".")[0] or "gateway"
