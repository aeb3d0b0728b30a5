"""What the answers of an Emoncms mean.

Nearly everything is answered with status 200: what was refused is told by the text, and PHP's warnings may
stand before it. Measured on Emoncms 11.16.8.
"""

from __future__ import annotations

import json
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.dispatchers import emoncms_place
from gateway.plugin import BadFrame, DeliveryFailure, HoldEverything, OutcomeUnknown, TryLater

if TYPE_CHECKING:
    from gateway.dispatchers.emoncms_place import Inputs


class Unexpected(DeliveryFailure):
    """It answers, if not with what was asked for: another question may be answered."""


def judge(status: int, body: str, location: str = "", secret: str = "") -> DeliveryFailure | None:
    """Return what an answer to input/bulk means: None for delivered, or the failure to raise.

    `location` is where a redirect points to; `secret` is kept out of what the message quotes.
    """
    if status == 200:
        return _judge_text(body, secret)
    return judge_status("/input/bulk", status, body, location, secret)


def judge_status(path: str, status: int, body: str, location: str, secret: str) -> DeliveryFailure:
    """Return what it means that a request to a path is not answered with status 200."""
    if 300 <= status < 400:
        where = excerpt(location.removesuffix(path), secret, 200) or "somewhere else"
        return HoldEverything(f"it redirects to {where}: put that address in url")
    if status == 401:
        return HoldEverything("it refuses the key: put the write key of the Emoncms account in apikey")
    if status == 413:
        return BadFrame("the batch is too large for it")
    busy = status in (408, 429)
    if 400 <= status < 500 and not busy:
        return HoldEverything(f"it answers {status} to {path}: check url (is Emoncms under /emoncms?)")
    kind = TryLater if busy else OutcomeUnknown
    return kind(f"it answers {status}: {excerpt(body, secret) or 'nothing more'}")


def _judge_text(body: str, secret: str) -> DeliveryFailure | None:
    last = _last_line(body)
    if last == "ok":  # after PHP's warnings, where an old Emoncms runs on a new PHP
        return None
    if not last:
        return HoldEverything("it answers nothing, as it does to a read key: apikey must be the write key")
    if "Fatal error" in body:
        return HoldEverything(f"its database or Redis is in trouble: {excerpt(body, secret)}")
    return _judge_refusal(_message(last), secret) or OutcomeUnknown(
        f"ok expected, not {excerpt(body, secret)}"
    )


def _judge_refusal(said: str, secret: str) -> DeliveryFailure | None:
    if "Device not initialized" in said or "does not belong to device" in said:
        return HoldEverything("apikey is the key of a single device: put the account's write key there")
    if node := re.search(r"NodeIds.*Node '(.*)' was ignored", said):
        # A neighbour's radio is enough to reach the limit: the nodes that are known need not wait for it.
        name = excerpt(node[1], secret)
        return BadFrame(f"it has all the nodes it allows and refuses node {name}: delete unused ones there")
    if said.startswith(("Format error", "Error:")):
        return BadFrame(f"it refuses something in the batch: {excerpt(said, secret)}")
    return None


def judge_inputs(node: str, status: int, body: str, secret: str = "") -> Inputs | DeliveryFailure | None:
    """Return what an answer to input/get means: what the node's inputs hold, a failure to raise, or nothing.

    It is nothing where the server does not tell such things, now or later.
    """
    if status == 200:
        inputs = emoncms_place.held(node, body)
        if inputs is not None or body.strip() in ("", "null", "false"):
            return inputs
        failure = _judge_text(body, secret)
        if isinstance(failure, HoldEverything):
            return failure
        return TryLater(f"the inputs of node {node} expected, not {excerpt(body, secret)}")
    if 300 <= status < 500 and status not in (408, 429):
        return None
    return judge(status, body, secret=secret)


def decode(path: str, status: int, body: str, location: str = "", secret: str = "") -> Any:  # noqa: ANN401  (JSON)
    """Return what the JSON that was asked for at a path says; raises a DeliveryFailure where none came."""
    if status != 200:
        raise judge_status(path, status, body, location, secret)
    with suppress(ValueError):
        return json.loads(_last_line(body))
    failure = _judge_text(body, secret)
    if isinstance(failure, HoldEverything) and _last_line(body):
        raise failure
    # A page of HTML is that for logging in; where a feed holds an infinity, nothing at all comes.
    raise Unexpected(f"JSON expected from {path}, not {excerpt(body, secret) or 'an empty page'}")


def _last_line(body: str) -> str:
    return next((line.strip() for line in reversed(body.split("\n")) if line.strip()), "")


def _message(line: str) -> str:
    """Return the message of `{"success": false, "message": ...}`; older servers send it bare."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line


def excerpt(text: str, secret: str = "", limit: int = 80) -> str:
    """Return the beginning of a text as one line without tags, control characters or the secret."""
    line = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    shown = "".join(character for character in line if character.isprintable())
    return (shown.replace(secret, "********") if secret else shown)[:limit]


def lost(error: OSError, *, sent: bool, secret: str = "") -> DeliveryFailure:
    """Return what a request without an answer means; `sent` says whether any of its body had left."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, ssl.SSLCertVerificationError) and not sent:
        return TryLater(
            f"its certificate is not accepted ({excerpt(cause.verify_message)}): name the file of the "
            "authority that signed it in ca_file, and see that this machine's clock is right"
        )
    why = excerpt(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__, secret)
    if sent:
        return OutcomeUnknown(f"it was sent, but no answer came: {why}")
    return TryLater(f"not reached ({why}): is the server up, and is url right?")
