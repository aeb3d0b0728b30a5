"""Regular expressions as people have them from grep and from Python: classes such as [[:digit:]] work."""

from __future__ import annotations

import _sre  # type: ignore[import-not-found]  # what `re` is made with has no types
import re
import warnings

from gateway.settings import did_you_mean

MAGIC: int = _sre.MAGIC
"""Which version of compiled patterns this Python has."""

LONGEST = 1000
"""Characters of a pattern."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
"""The classes of POSIX (IEEE 1003.1, 9.3.5), in the C locale, as Python's `re` has them in brackets."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\[:\w*:\]|\\.|[^]\\])*\]|.", re.DOTALL)
"""An escaped character, a whole expression in brackets, or any other character."""
_CLASS = re.compile(r"(\\.)|\[:(\w*):\]", re.DOTALL)


def translate(pattern: str) -> str:
    """Return a pattern as Python's `re` takes it; raises ValueError if it is not one."""
    if len(pattern) > LONGEST:
        raise ValueError(f"a pattern of at most {LONGEST} characters expected, not {len(pattern)}")
    parts = [_token(found[0]) for found in _TOKEN.finditer(pattern)]
    translated = "".join(parts)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a [ that a later Python might read as a set in a set
            re.compile(translated)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression expected: {error} in {pattern[:80]}") from None
    if re.search(r"(?<!\\)\{[0-9]*$", pattern):
        raise ValueError(f"a regular expression expected, not {pattern}: one with a comma needs quotes")
    return translated


def compiled(pattern: str) -> tuple[object, ...]:
    """Return a pattern as `re._compiler.compile` (Python 3.11 to 3.14) gives it to `_sre.compile`.

    A process without `re` can use it.
    """
    text = translate(pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = re._parser.parse(text)  # type: ignore[attr-defined]  # noqa: SLF001  (nothing public gives that)
    code = re._compiler._code(parsed, 0)  # type: ignore[attr-defined]  # noqa: SLF001  (the same)
    groups = parsed.state.groups
    return text, parsed.state.flags, [*map(int, code)], groups - 1, {}, (None,) * groups


def _token(token: str) -> str:
    if token[0] != "[" or len(token) == 1:
        return token
    if re.fullmatch(r"\[:\w+:\]", token):
        raise ValueError(f"[{token}] expected, not {token}: a class stands in brackets of its own")
    return "[" + _CLASS.sub(_expand, token[1:])


def _expand(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    name = found[2]
    if name not in _CLASSES:
        raise ValueError(f"[:{name}:] is no class of characters{did_you_mean(name, _CLASSES)}")
    return _CLASSES[name]
