"""The key that a listener's clients must know."""

from __future__ import annotations

import re
from hmac import compare_digest


def check_key(key: str) -> None:
    """Raise ValueError for a key that is too short, or could be mistaken for a value; it is not repeated."""
    if not re.fullmatch(r"(?=.*[A-Za-z])[!-~]{8,128}", key):
        raise ValueError("8 to 128 letters, digits and signs without spaces expected, one of them a letter")


def is_key(text: str, key: str) -> bool:
    """Tell whether the text is the key, in a time that says nothing of how much of it is right."""
    return compare_digest(text.encode(), key.encode())
