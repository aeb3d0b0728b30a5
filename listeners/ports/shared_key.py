"""The key that the clients of a listener must send."""

from __future__ import annotations

import re
from hmac import compare_digest

from gateway.text.plain import unseen


def check_key(key: str) -> None:
    """Raise ValueError for a key that is too short or may be a number; the message does not contain it."""
    if not re.fullmatch(r"(?=.*[A-Za-z])[!-~]{8,128}", key):
        raise ValueError(
            f"8 to 128 letters, digits and signs without spaces expected, one of them a letter{unseen(key)}"
        )


def is_key(text: str, key: str) -> bool:
    """Tell whether the text is the key, in constant time."""
    return compare_digest(text.encode(), key.encode())
