"""Text from outside as a line that is safe in a log and on a terminal.

Characters that would end the line, move the cursor or change the direction of writing are escaped. What looks
like a key is masked, as people paste theirs in place of a name; so is a secret in an address.
"""

from __future__ import annotations

import re

LONGEST = 32_768
"""Characters of a line; a journal splits lines of more than 48 kB (LineMax in journald.conf(5))."""

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1, in which there are ESC and CSI
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, overrides and isolates of direction
    r"\u2028\u2029\u200b\u2060-\u2065\u206a-\u206f"  # ends of lines; what has no width
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_KEY = re.compile(r"(?<![\w-])[0-9A-Fa-f]{32,64}(?![\w-])")
"""The keys of Emoncms have 32 hexadecimal digits. Digits next to - or _, as in a port's name, are not one."""
_SECRETS = (
    (
        re.compile(
            r"((?:[?&](?:[\w.-]*(?:key|token|password|passwd|passphrase|pass|pwd|secret|auth|signature|sig)|p)"
            r"|(?<![\w-])(?:api_?key|access_token))=)[^\s&\"'<>#]*[^\s&\"'<>#,;:.)\]]",
            re.IGNORECASE,
        ),
        r"\1********",
    ),
    (re.compile(r"(://[^\s/@:]*):[^\s/@]+@"), r"\1:********@"),
)
"""Parameters of a query (p: InfluxDB's) up to what the sentence around goes on with; a user's password."""


def without_secrets(text: str) -> str:
    """Return the text with the secrets of the addresses in it masked."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def escaped(text: str) -> str:
    """Return the text with unsafe characters as Python writes them: an ESC as a backslash and x1b."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain(text: str) -> str:
    """Return the text escaped, its keys masked, and cut if it is longer than LONGEST."""
    shown = escaped(_KEY.sub("********", without_secrets(text)))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}... ({len(shown) - LONGEST} more)"


def check_printable(text: str) -> None:
    """Raise ValueError with the first character that cannot be seen, not with the text: it may be a key."""
    if hidden := unseen(text):
        raise ValueError(f"one line of printable characters expected{hidden}")


def unseen(text: str) -> str:
    """Return, for a message, the first character that cannot be seen, and its place; "" if there is none."""
    for place, character in enumerate(text, 1):
        if not character.isprintable():
            from unicodedata import name  # noqa: PLC0415  (1 MB that no correct file needs)

            which = f"U+{ord(character):04X} {name(character, '')}".rstrip()
            return f": remove character {place} of {len(text)}, {which}, which cannot be seen"
    return ""
