"""Answers of a server (text, JSON, errors of PHP, web pages) as words for a log."""

from __future__ import annotations

import json
import re
from typing import Any

_LOOKED_AT = 100_000
"""Characters of a text that are read to quote its beginning."""
_DEEPEST = 20
"""Levels of lists and objects in JSON; an Emoncms needs five."""
_PAGE = re.compile(r"\s*(<!doctype html|<html|<head|<body|<title)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.IGNORECASE)
_LOGIN = re.compile(r"(//)[^/?#\s]*@")


def read_json(text: str) -> Any:  # noqa: ANN401  (JSON)
    """Return the value of a text in JSON; ValueError if it is not JSON, or nested too deeply."""
    try:
        answer = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [answer]
    for _ in range(_DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return answer
    raise ValueError("nested too deeply")


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def last_line(text: str) -> str:
    """Return the last line that is not blank, "" if there is none."""
    return text.rstrip().rpartition("\n")[2].strip()


def excerpt(text: str, secret: str = "", limit: int = 160) -> str:
    """Return the beginning of a text as one line without tags, control characters or the secret.

    It ends with a whole word, and "..." if it was cut.
    """
    looked_at = text[:_LOOKED_AT]
    line = " ".join(re.sub(r"<[^<>]*>", " ", looked_at).split())
    shown = "".join(character for character in line if character.isprintable())
    if secret:
        shown = shown.replace(secret, "********")
        if len(text) > _LOOKED_AT:
            shown = shown[: -len(secret)]  # the secret may have been cut in two
    if len(shown) <= limit:
        return shown
    whole_words = shown[: limit + 1].rpartition(" ")[0]
    return f"{whole_words or shown[:limit]} ..."


def is_page(text: str) -> bool:
    """Tell whether a text is a web page."""
    return bool(_PAGE.match(text))


def quote(text: str, secret: str = "") -> str:
    """Return the words of a text for a person: the title of a web page, or the beginning of any other text.

    The stack trace of a PHP error is left out.
    """
    title = _TITLE.search(text[:_LOOKED_AT]) if is_page(text) else None
    if title and title[1].strip():
        import html  # noqa: PLC0415  (330 kB of names of characters)

        return excerpt(html.unescape(title[1]), secret)
    return excerpt(text[:_LOOKED_AT].partition("Stack trace:")[0], secret)


def with_status(status: int, text: str, secret: str = "") -> str:
    """Return the status of an answer and the words of its text."""
    return f"{status} {quote(text, secret).removeprefix(str(status)).strip()}".strip()


def address(url: str, secret: str = "") -> str:
    """Return an address as it may be shown: without user name, password and query."""
    return excerpt(_LOGIN.sub(r"\1", re.split(r"[?#;]", url, maxsplit=1)[0]), secret, 200)


def redirected(server: str, path: str, location: str, secret: str = "") -> str:
    """Say where a redirect goes, and what to do: with the same path, the server itself has moved.

    So it has where all is redirected to a place of its name, such as /emoncms/.
    """
    to = location.partition("?")[0].rstrip("/")
    named = re.match(rf"https?://[^/]+(/[^/]+)*?/{server}(?=/|$)", to, re.IGNORECASE)
    place = to.removesuffix(path) if to.endswith(path) else named and named[0]
    if place:
        return f"it redirects to {address(place, secret)}: put that address in url"
    return (
        f"it redirects to {address(location, secret) or 'somewhere else'}, which is not {server}: check url, "
        "and whether a login page of this network stands in between"
    )
