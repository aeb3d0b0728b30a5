"""What the answers to a write mean, by the documents of InfluxDB 1 to 3 and measured on 1.6.7."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from gateway.dispatchers.http_client.failures import PLAIN_TO_TLS, WRITE_HTTPS
from gateway.dispatchers.http_client.pages import is_page, quote, redirected, with_status
from gateway.plugin import BadFrame, DeliveryFailure, HoldEverything, TryLater

if TYPE_CHECKING:
    from gateway.dispatchers.http_client.session import Answer

_PATH = re.compile(r"/(ping|write|api/v2/write|api/v3/write_lp)$")
"""The paths that are requested, of any version, at the end of an address."""

_LONGEST_WAIT = 3600.0
"""Seconds of a Retry-After that are believed."""


def judge(  # noqa: PLR0911  (a line for each)
    answer: Answer, target: str, made_by: str, secret: str
) -> DeliveryFailure | None:
    """Return what an answer to a write means: None for delivered.

    `target` says in words what was written to, such as "database cellar", and `made_by` is the command that
    makes it; `secret` is kept out of messages.
    """
    status = answer.status
    if status == 204 or (status == 200 and not answer.text.strip()):
        return None
    if 300 <= status < 400:
        found = _PATH.search(answer.location.partition("?")[0])
        return HoldEverything(
            redirected("InfluxDB", found[0] if found else "/write", answer.location, secret)
        )
    said = quote(message(answer.text), secret).removeprefix(str(status)).strip()
    if status >= 500 or status in (408, 429):
        return TryLater(f"it answers {status}: {said or 'nothing more'}")
    if status == 413:  # also where a proxy says so, with a page
        return BadFrame("the batch is too large for it")
    if status == 401:
        verb, cure = ("refuses", "correct") if secret else ("wants", "set")
        return HoldEverything(f"it {verb} user and password, or a token, for {target} ({said}): {cure} them")
    if PLAIN_TO_TLS.search(answer.text):
        return HoldEverything(WRITE_HTTPS)
    if is_page(answer.text):
        return HoldEverything(
            f"a web page answers ({with_status(status, answer.text, secret)}): check url, and whether a "
            "login page of this network stands in between"
        )
    if 200 <= status < 300:
        return TryLater(f"204 No Content expected, not {with_status(status, answer.text, secret)}")
    if status in (400, 406, 422):
        return BadFrame(f"it refuses a line: {said}")
    if status == 403:
        return HoldEverything(f"user or token may not write to {target} ({said}): allow that there")
    if status == 404 and "not found" in said and "page" not in said:
        return HoldEverything(f"there is no {target} ({said}): make it there ({made_by}), or correct it here")
    return HoldEverything(
        f"it answers {with_status(status, answer.text, secret)}: check url, and version "
        "(1 has a database, 2 an org and a bucket, 3 a database and a token)"
    )


def message(text: str) -> str:
    """Return what an answer says: its `error` or `message` where it is JSON."""
    try:
        found = json.loads(text[:100_000])
        return str(found.get("message") or found.get("error") or text)
    except (ValueError, AttributeError, RecursionError):
        return text


def retry_after(answer: Answer) -> float:
    """Return the seconds for which it asks to be left alone."""
    text = answer.headers.get("Retry-After", "").strip()
    return min(float(text), _LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", text) else 0.0


def shown(answer: Answer) -> str:
    """Return the version that an answer to /ping shows, "" if it shows none, as with VictoriaMetrics."""
    try:
        text = answer.headers.get("X-Influxdb-Version") or str(json.loads(answer.text)["version"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    found = re.match(r"v?([1-9]\.[\w.~+-]{1,30})", text)
    return found[1] if found else ""


def major(answer: Answer) -> int | None:
    """Return the first number of that version."""
    return int(shown(answer)[:1] or 0) or None
