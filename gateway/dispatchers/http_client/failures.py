"""Why a request got no answer, and what to do about it."""

from __future__ import annotations

import re
import socket
import ssl
from http.client import BadStatusLine, HTTPException
from typing import TYPE_CHECKING

from gateway.dispatchers.http_client.bounded_http import Overdue, Unusable
from gateway.dispatchers.http_client.pages import excerpt
from gateway.plugin import HoldEverything, OutcomeUnknown, TryLater
from gateway.text.words import failure

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
NO_CERTIFICATE = re.compile(r"No required SSL certificate was sent|The SSL certificate error")
"""What nginx answers, with status 400, to a client without a certificate, or with one it does not know."""
WANT_NONE = "it wants a certificate of this machine, which is not supported: have it want none"
WRITE_HTTPS = "https is spoken at this port: write https:// in url"

_ISSUER = "name the file of the authority that signed it in ca_file"
_NAME = "write the name that it has into url"
_TIME = "have it renewed there, and see that this machine's clock is right"
_CURES = {9: _TIME, 10: _TIME, 18: _ISSUER, 19: _ISSUER, 20: _ISSUER, 21: _ISSUER, 62: _NAME, 64: _NAME}
"""What to do about a certificate, by OpenSSL's code for what is wrong with it (X509_V_ERR_*)."""


def no_answer(error: OSError, *, sent: bool, secret: str = "") -> DeliveryFailure:
    """Return the failure for a request without an answer; `sent` says whether any of its body was sent."""
    causes: list[BaseException] = [error]
    while deeper := _behind(causes[-1]):
        causes.append(deeper)
    if ours := next((cause for cause in causes if isinstance(cause, Unusable | Overdue)), None):
        return OutcomeUnknown(f"it was sent, but {ours}") if sent else TryLater(str(ours))
    # The deepest that is a failure of the network: below it urllib3 1.26 has an error of its own.
    cause = [each for each in causes if isinstance(each, OSError | HTTPException)][-1]
    if isinstance(cause, BadStatusLine) and str(cause).startswith(_TLS_ALERT):
        return HoldEverything(WRITE_HTTPS)
    if isinstance(cause, ssl.SSLError) and (known := _of_tls(cause, sent=sent)):
        return known
    why = excerpt(_words(cause), secret)
    if sent:
        return OutcomeUnknown(f"it was sent, but no answer came: {why}")
    hint = "is the server up, and is url right?"
    if isinstance(cause, socket.gaierror):
        hint = "is the name in url right, and this machine on the network? An IP address does too"
    return TryLater(f"not reached ({why}): {hint}")


def _of_tls(cause: ssl.SSLError, *, sent: bool) -> DeliveryFailure | None:
    """Return the failure of a handshake where there is a cure."""
    reason = cause.reason or ""
    if "CERTIFICATE_REQUIRED" in reason:  # TLS 1.3 says so after the request
        return HoldEverything(WANT_NONE)
    if sent:
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        cure = _CURES.get(cause.verify_code, "have the server use one that is valid")
        return TryLater(f"its certificate is not accepted ({excerpt(cause.verify_message)}): {cure}")
    if reason in _NO_TLS:
        return HoldEverything(
            "no https is spoken at this port: write http:// in url, or name the port of https"
        )
    return None


def _behind(error: BaseException) -> BaseException | None:
    """Return the cause of an error; urllib3 may also give it as an argument."""
    given = (each for each in error.args if isinstance(each, BaseException))
    return error.__cause__ or error.__context__ or next(given, None)


def _words(error: Exception) -> str:
    """Return what an error says, without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or failure(error)).replace('_', ' ').lower()}"
    return failure(error)
