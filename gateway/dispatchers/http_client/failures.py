"""What it means that a request got no answer, and what to do about it."""

from __future__ import annotations

import re
import socket
import ssl
from http.client import BadStatusLine, HTTPException
from typing import TYPE_CHECKING

from gateway.dispatchers.http_client.bounded_http import Overdue, Unusable
from gateway.dispatchers.http_client.pages import excerpt
from gateway.plugin import HoldEverything, OutcomeUnknown, TryLater

if TYPE_CHECKING:
    from gateway.plugin import DeliveryFailure

PLAIN_TO_TLS = re.compile(
    r"SSL-enabled server port|plain HTTP request was sent|HTTP request to an HTTPS server"
)
"""What Apache, nginx and Go's server answer to http on a port for https."""
_TLS_ALERT = "\x15\x03"
"""How other TLS servers begin their answer to http: with an alert (RFC 8446, 5.1)."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
"""OpenSSL's reasons where the other end does not use TLS."""
WRITE_HTTPS = "https is spoken at this port: write https:// in url"


def no_answer(error: OSError, *, sent: bool, secret: str = "") -> DeliveryFailure:
    """Return the failure for a request without an answer; `sent` says whether any of its body was sent."""
    causes: list[BaseException] = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(deeper)
    if ours := next((cause for cause in causes if isinstance(cause, Unusable | Overdue)), None):
        return OutcomeUnknown(f"it was sent, but {ours}") if sent else TryLater(str(ours))
    # The deepest that is a failure of the network: below it urllib3 1.26 has an error of its own.
    cause = [each for each in causes if isinstance(each, OSError | HTTPException)][-1]
    if isinstance(cause, BadStatusLine) and str(cause).startswith(_TLS_ALERT):
        return HoldEverything(WRITE_HTTPS)
    if isinstance(cause, ssl.SSLCertVerificationError) and not sent:
        return TryLater(
            f"its certificate is not accepted ({excerpt(cause.verify_message)}): name the file of the "
            "authority that signed it in ca_file, and see that this machine's clock is right"
        )
    if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS and not sent:
        return HoldEverything(
            "no https is spoken at this port: write http:// in url, or name the port of https"
        )
    why = excerpt(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__, secret)
    if sent:
        return OutcomeUnknown(f"it was sent, but no answer came: {why}")
    hint = "is the server up, and is url right?"
    if isinstance(cause, socket.gaierror):
        hint = "is the name in url right, and this machine on the network? An IP address does too"
    return TryLater(f"not reached ({why}): {hint}")
