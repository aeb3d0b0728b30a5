"""What the answers of an Emoncms mean.

Nearly everything is answered with status 200. The text says what was refused, and warnings of PHP may precede
it. Measured on Emoncms 11.16.8, and what differs in older ones down to 9.8.30.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.dispatchers.http_client.failures import NO_CERTIFICATE, PLAIN_TO_TLS, WANT_NONE, WRITE_HTTPS
from gateway.dispatchers.http_client.pages import (
    excerpt,
    is_page,
    last_line,
    quote,
    read_json,
    redirected,
    with_status,
)
from gateway.plugin import (
    BadFrame,
    DeliveryFailure,
    HoldEverything,
    NodeRefused,
    NotKept,
    OutcomeUnknown,
    TryLater,
)

if TYPE_CHECKING:
    from gateway.dispatchers.emoncms.encoding import Inputs

_LONGEST = 1000
"""Characters of a message that are searched for what was refused."""
_NOT_WRITTEN = re.compile(
    r"(?i)(?:fwrite\(\): write of [0-9]+ bytes failed with errno=[0-9]+|"
    r"fopen\([^\n)]{1,200}\): failed to open stream:|filesize\(\):) ([^\n<(]{1,200}?) in "
    r"[^\n]{1,300}?/feed/engine/"
)
"""What PHP prints before the answer if a feed cannot be written, as on a full disk. That a file cannot be
opened is shown up to Emoncms 11.2 (measured with 9.8.30 to 11.16.8), and also where a feed is only read."""

_DAMAGED = re.compile(
    r"Uncaught (?:(?:Type|Value|Arithmetic|DivisionByZero)Error\b|"
    r"mysqli_sql_exception: [^\n]{1,200}?\bfeed_[0-9]+\b)[^\n]{1,300}?/feed/engine/"
)
"""What PHP prints if the code of a feed engine fails on the feed's files, or on its table in MySQL. Other
exceptions of the database pass by themselves, as do limits of time or memory, which are not uncaught
exceptions."""

_ROW_REFUSED = re.compile(
    r"Uncaught mysqli_sql_exception: (?:Out of range value [^\n]{1,300}?/feed/|"
    r"(?:Table|Unknown column) [^\n]{1,300}?/(?:schedule|process)/)"
)
"""What PHP prints when the database works but refuses what a process of an input does: a value, or a table of
its own that is missing or damaged. This does not pass, and does not affect other nodes."""

_NAME_REFUSED = re.compile(
    r"Uncaught mysqli_sql_exception: ((?:Incorrect string value|Data too long)[^\n]{1,150}?) at row "
    r"[^\n]{1,300}?/(?:input|feed)/"
)
"""What PHP prints if the database cannot keep a name: a table in latin1 has no letters but those of western
Europe, and Emoncms's connection no character of four bytes (measured). Nothing after that name is stored."""

_DATABASE = re.compile(
    r"Uncaught (?:(?:mysqli_sql|Redis|PDO)_?[Ee]xception\b|"
    r"Error: Call to a member function (?:fetch_\w+|bind_param|execute|close)\(\) on (?:bool|null)"
    r"[^\n]{1,300}?/(?:feed|input|device|user)/)"
)
"""What PHP prints if the database or Redis fails or ends in the middle of its work. Before PHP 8.1 a query
that failed gives false; a table that only one process needs may be missing for good."""

_NO_RESULT = re.compile(
    r"(?:Attempt to read|Trying to get) property (?:[\"']|&quot;)num_rows\b[^\n]{1,300}?/feed/"
)
"""What PHP before 8.1 prints where Emoncms goes on although a query failed: it takes a feed for one that is
not there, and writes nothing to it (measured)."""

_PROCESSING = re.compile(r"\bProcess-(?:>|&gt;)input\(")
"""What PHP's list of calls contains if all inputs of the row had already been set."""

_INCOMPLETE = re.compile(
    r"Failed opening required|Call to undefined|ArgumentCountError|Undefined (?:class )?constant|"
    r"Parse error|(?:Class|Interface|Trait) [^\n]{1,99} not found|"
    r"Fatal error(?:</b>)?:\s+(?!Uncaught |Maximum |Allowed memory |Out of memory)\S"
)
"""What PHP prints if files of Emoncms are missing, truncated, empty, of two versions, or too old for it
(measured). A fatal error that is neither an exception nor a limit is in the code itself."""


_NOT_WHOLE = "Format error, json string supplied is not valid"
"""What it answers to a batch that is empty or ends in the middle; whole ones are always valid JSON."""

_NO_ERROR_SHOWN = (
    "nothing more. PHP fails there and shows no error: its error log says why, often a database that is down"
)

_NO_KEY_CAME = "and a proxy in front of it must pass on the header Authorization, which has the key"
"""Without a key, Emoncms answers as it does to a read key, or with the login page (measured)."""


class Unexpected(DeliveryFailure):
    """It did not answer what was asked for; other requests may still work."""


class FeedDamaged(HoldEverything):
    """A feed of the last row that it stored cannot be written; the rest of that row is in no feed either.

    The same holds where a process before the feed fails for good.
    """


class DatabaseFailed(HoldEverything):
    """The database failed while a row was being stored, before its inputs were set."""

    where = "inputs"


class RowUnfinished(DatabaseFailed):
    """The last row that its inputs show may be in no feed: the database failed as it processed that row."""

    where = "feeds"


class NameRefused(BadFrame):
    """Its database cannot keep a name; the rows before are stored."""


class CutShort(BadFrame):
    """It got only a part of the post, and stored nothing: Apache waits 10 to 20 s for the rest (measured).

    It says the same of an empty batch, which is sent to ask whether the key may write.
    """


class EndedSilently(OutcomeUnknown):
    """PHP shows no errors: a feed may fail at each try, and nothing says so."""


class _NotWritten(HoldEverything, NotKept):
    """Its inputs have the batch, but its feeds do not: all of it has to be sent again."""


class _NotTaken(HoldEverything, TryLater):
    """Nothing is stored until someone fixes it; then all of this has to be sent again."""


class Filtered(_NotTaken):
    """The status may come from a filter such as mod_security, which refuses some rows and takes others."""


def judge(status: int, body: str, location: str = "", secret: str = "") -> DeliveryFailure | None:
    """Return what an answer to input/bulk means: None for delivered, or the failure to raise.

    `location` is the target of a redirect; `secret` is left out of what the message quotes.
    """
    if status == 200:
        return _judge_text(body, secret)
    return judge_status("/input/bulk", status, body, location, secret)


def judge_status(  # noqa: PLR0911  (a line for each)
    path: str, status: int, body: str, location: str, secret: str
) -> DeliveryFailure:
    """Return the failure for an answer whose status is not 200."""
    if 300 <= status < 400:
        return _NotTaken(redirected("Emoncms", path, location, secret))
    if status == 401 and re.search(r"(?i)(API|device) key", body):
        return _NotTaken("it refuses the key: put the write key of the Emoncms account in apikey")
    if status == 401:
        return _NotTaken(
            f"a web server before Emoncms wants a user name and a password "
            f"({with_status(status, body, secret)}): let the gateway pass without"
        )
    if status == 413:
        return BadFrame("the batch is too large for it")
    if PLAIN_TO_TLS.search(body):
        return _NotTaken(WRITE_HTTPS)
    if NO_CERTIFICATE.search(body):
        return _NotTaken(WANT_NONE)
    if 400 <= status < 500 and status not in (408, 429):
        not_taken = Filtered if status in (403, 406) else _NotTaken
        return not_taken(
            f"it answers {status} to {path}: check url, at which Emoncms's own page must open in a browser "
            "(on an emonPi that is http://emonpi/emoncms)"
        )
    unknown = EndedSilently if status == 500 else OutcomeUnknown
    kind = TryLater if status in (408, 429) else unknown
    words = quote(body, secret).removeprefix(str(status)).strip()
    nothing = _NO_ERROR_SHOWN if status == 500 else "nothing more"
    return kind(f"it answers {status}: {words or nothing}")


def _judge_text(body: str, secret: str) -> DeliveryFailure | None:
    last = last_line(body)
    if (lost := _NOT_WRITTEN.search(body)) and (last == "ok" or lost[0].startswith("fwrite")):
        cure = "make room on its disk, repair it, or let its web server write to the folder of its feeds"
        return _NotWritten(f"its feeds are not written ({excerpt(lost[1], secret)}): {cure}")
    if last == "ok":  # after PHP's warnings, where an old Emoncms runs on a new PHP
        failed = _NO_RESULT.search(body)
        return _NotWritten(f"its database is in trouble: {quote(body, secret)}") if failed else None
    if not last:
        nothing = "it answers nothing, as it does to a read key: apikey must be the write key"
        return HoldEverything(f"{nothing}, {_NO_KEY_CAME}")
    if "Fatal error" in body or "Parse error" in body:
        return _judge_fatal(body, secret)
    if failure := _judge_refusal(_message(last)[:_LONGEST], secret):
        return failure
    return OutcomeUnknown(_foreign(body, secret) or f"ok expected, not {excerpt(body, secret)}")


def _judge_fatal(body: str, secret: str) -> DeliveryFailure:
    """Return what it means that PHP ended in the middle of its work."""
    said = quote(body, secret)
    if _DAMAGED.search(body):
        return FeedDamaged(f"one of its feeds is damaged (oemgateway emoncms says which): {said}")
    if _ROW_REFUSED.search(body):
        process = "what a process of this node does (see Process List of its inputs there)"
        return FeedDamaged(f"its database refuses {process}: {said}")
    if _INCOMPLETE.search(body):
        kind = _NotWritten if "/feed/" in body else HoldEverything
        return kind(f"its program is not complete (let its upgrade end, or repeat it): {said}")
    is_limit = "Maximum execution time" in body or "Allowed memory size" in body
    what = "PHP has too little time or memory there" if is_limit else "its database or Redis is in trouble"
    in_process = _PROCESSING.search(body)
    if (name := _NAME_REFUSED.search(body)) and not in_process:
        cure = "write it in plain letters, or convert its tables to utf8mb4"
        found = excerpt(name[1], secret)
        return NameRefused(f"its database cannot keep a name or unit with such letters ({cure}): {found}")
    kind = HoldEverything
    if _DATABASE.search(body):
        kind = RowUnfinished if in_process or _NO_RESULT.search(body) else DatabaseFailed
    elif in_process and not is_limit:
        kind = FeedDamaged
        what = "what a process of this node does fails there (see Process List of its inputs)"
    return kind(f"{what}: {said}")


def _foreign(body: str, secret: str) -> str:
    """Say what a web page in place of an answer means; "" if it is not a page."""
    if not is_page(body):
        return ""
    title = quote(body, secret)
    if title.lower().startswith("emoncms"):
        return (
            f'a page for people answers ("{title}"): url must be the address of Emoncms alone, {_NO_KEY_CAME}'
        )
    return (
        f'a web page answers that is not Emoncms ("{title}"): check url, and whether a login page of this '
        "network stands in between"
    )


def _judge_refusal(message: str, secret: str) -> DeliveryFailure | None:
    if "Device not initialized" in message or "does not belong to device" in message:
        return HoldEverything("apikey is the key of a single device: put the account's write key there")
    if full := re.search(r"NodeIds(?:, limit is ([0-9]{1,9}))?.*Node '(.*)' was ignored", message):
        # A neighbour's radio is enough to reach the limit; existing nodes still work.
        limit, node = f"{full[1]} " if full[1] else "", full[2]
        return NodeRefused(
            f"it has all the {limit}nodes it allows and refuses node {excerpt(node, secret)}: "
            "delete unused ones there",
            node,
        )
    if _NOT_WHOLE in message:
        return CutShort(
            f"only a part of a post reached it (is the line slow, or does a proxy cut posts?): {_NOT_WHOLE}"
        )
    if message.startswith(("Format error", "Error:")):
        return BadFrame(f"it refuses something in the batch: {excerpt(message, secret)}")
    return None


def judge_inputs(node: str, status: int, body: str, secret: str = "") -> Inputs | DeliveryFailure | None:
    """Return what an answer to input/get means: what the node's inputs have, a failure to raise, or None.

    None if the server does not answer such questions at all.
    """
    if status == 200:
        inputs = parse_inputs(node, body)
        if inputs is not None or body.strip() in ("", "null", "false"):
            return inputs
        failure = _judge_text(body, secret)
        if isinstance(failure, HoldEverything):
            return failure
        return TryLater(
            _foreign(body, secret) or f"the inputs of node {node} expected, not {excerpt(body, secret)}"
        )
    if 300 <= status < 500 and status not in (408, 429):
        return None
    return judge(status, body, secret=secret)


def parse_inputs(node: str, text: str) -> Inputs | None:
    """Return the readings in an answer to input/get for a node, or None if it is not such an answer.

    A node that does not exist has none. One whose keys are exactly 0 to n-1 comes as a list. Infinity stands
    for a missing time or value.
    """
    try:
        answer = read_json(last_line(text))  # PHP's warnings may stand before it
    except ValueError:
        return None
    if isinstance(answer, str) and "does not exist" in answer:
        return {}
    if isinstance(answer, list):
        answer = dict(enumerate(answer))
    if not isinstance(answer, dict) or not all(isinstance(each, dict) for each in answer.values()):
        return None
    return {
        (node, str(key)): (_number(each.get("time")), _number(each.get("value")))
        for key, each in answer.items()
    }


def _number(value: Any) -> float:  # noqa: ANN401  (JSON)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.inf


def decode(path: str, status: int, body: str, location: str = "", secret: str = "") -> Any:  # noqa: ANN401  (JSON)
    """Return the JSON that a path answers; raises a DeliveryFailure if it answers something else."""
    if status != 200:
        raise judge_status(path, status, body, location, secret)
    with suppress(ValueError):
        return read_json(last_line(body))
    failure = _judge_text(body, secret)
    if isinstance(failure, NameRefused):
        raise Unexpected(str(failure))
    if isinstance(failure, FeedDamaged):  # other requests do not need that feed
        raise Unexpected(f"it answers to {path}: {quote(body, secret)}")
    if isinstance(failure, HoldEverything) and last_line(body):
        raise failure
    # HTML is the login page; where a feed has an infinity, the answer is empty.
    found = f'the page "{quote(body, secret)}"' if is_page(body) else excerpt(body, secret)
    raise Unexpected(f"JSON expected from {path}, not {found or 'an empty page'}")


def _message(line: str) -> str:
    """Return the message of `{"success": false, "message": ...}`; older servers send the message alone."""
    try:
        return str(read_json(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line
