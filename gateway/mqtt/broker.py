"""The settings of an MQTT broker, for whoever publishes to it or subscribes to it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.listener import Plugin
from gateway.paths import hidden
from gateway.process.port import check_host, joined
from gateway.settings import SettingsFault, between, setting
from gateway.text.plain import check_printable
from gateway.text.words import failure
from gateway.version import MADE

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAIN_PORT, TLS_PORT = 1883, 8883
FAILED = 0x80
"""The first reason code of MQTT 5 that is a failure (section 2.4)."""
_OUR_CERTIFICATE = re.compile(
    r"ALERT_((?:(?:BAD|UNSUPPORTED|NO)_)?CERTIFICATE(?:_[A-Z]+)?|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)"
)
"""OpenSSL's reasons where a broker refuses us; with the last one TLS 1.2 also asks for a certificate."""
_OF_FILE = "name a file in PEM that the user of the gateway may read"

ACL = "in mosquitto a line `topic readwrite ...` below `user ...` in its acl_file"
CURES = {
    0x86: "correct user and password, here or at the broker (mosquitto_passwd sets one there)",
    0x87: "give a user and password that the broker knows, or allow this one to connect",
    0x85: "give another `client`: the broker does not take this one",
    0x8A: "the broker has banned this client: see its log",
    0x9A: "have it retain messages (retain_available true in mosquitto), or take another format",
    0x9B: "allow QoS 1 there (max_qos 1 or 2 in mosquitto)",
}
"""What to do about a refusal to connect, by its reason code (MQTT 5, section 3.2.2.2)."""


_OF_USER = (0x86, 0x87)
"""Reason codes that are about the user."""


def check_text(text: str) -> None:
    """Raise ValueError for text that MQTT cannot carry."""
    check_printable(text)
    if len(text.encode()) > 0xFFFF:
        raise ValueError("text of at most 65,535 bytes expected")


def check_broker(host: str) -> None:
    """Raise ValueError for text that is not the name or address of a host."""
    name, colon, port = host.partition(":")
    if colon and port.isdecimal():
        raise ValueError(f"the broker alone expected, {name}, and the port on its own line: port = {port}")
    check_host(host)


class Unreachable(OSError):
    """No connection to the broker; `cure` is what to do about it."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


def is_about_certificate(error: Exception) -> bool:
    """Tell whether a broker ends TLS because of our certificate, or as we have none."""
    return isinstance(error, ssl.SSLError) and bool(_OUR_CERTIFICATE.search(error.reason or ""))


class Lost(OSError):
    """The connection has ended. `unacknowledged` is how many messages were under way."""

    def __init__(self, message: str, unacknowledged: int = 0) -> None:
        super().__init__(message)
        self.unacknowledged = unacknowledged


class _TlsSocket(ssl.SSLSocket):
    """A socket that is closed if the handshake fails: paho leaves that to the garbage collection."""

    def do_handshake(self, block: bool = False) -> None:
        """Do it, or close."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


@dataclass(kw_only=True)
class Broker(Plugin):
    """A broker, by its address; TLS is used where `tls`, one of the files, or port 8883 asks for it."""

    host: str = setting("localhost", check=check_broker)
    port: int | None = setting(None, check=between(1, 65535))
    tls: bool = setting(default=False)
    user: str | None = setting(None, check=check_text)
    password: str | None = setting(None, check=check_text, secret=True)
    ca_file: Path | None = setting(None)
    cert_file: Path | None = setting(None)
    key_file: Path | None = setting(None)
    client: str | None = setting(None, check=check_text)
    keepalive: int = setting(60, check=between(5, 3600))
    timeout: float = setting(20.0, check=between(1, 600))

    def __post_init__(self) -> None:
        if self.key_file and not self.cert_file:
            raise SettingsFault([("key_file", "a cert_file expected beside it")])
        if self.password and not self.user:
            raise SettingsFault([("password", "a user expected beside it")])

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return bool(self.tls or self.ca_file or self.cert_file or self.port == TLS_PORT)

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port."""
        return self.host, self.port or (TLS_PORT if self.secure else PLAIN_PORT)

    @property
    def where(self) -> str:
        """The address as messages name it."""
        return joined(*self.address)

    def who(self, code: int) -> str:
        """Return the user that a broker refuses, "" if the refusal is not about the user."""
        user = f" user {self.user}" if self.user is not None else " a client without a user name"
        return user if code in _OF_USER else ""

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Point out a password that crosses the network in the clear."""
        yield from super().remarks()
        if self.password and not self.secure and self.host not in ("localhost", "127.0.0.1", "::1"):
            yield "password", "it crosses the network unencrypted: tls = yes or a ca_file encrypts it"

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS; OSError naming the file that cannot be used."""
        if not self.secure:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            why = _why(error, self.ca_file)
            raise Unreachable(f"ca_file {self.ca_file} cannot be used: {why}", _OF_FILE) from error
        context.sslsocket_class = _TlsSocket
        if self.cert_file:
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
            except (OSError, ValueError) as error:
                raise self._wrong_of_pair(error, self.cert_file) from error
        return context

    def _wrong_of_pair(self, error: Exception, cert_file: Path) -> Unreachable:
        """Return which of the two files cannot be used, and why: OpenSSL does not say which."""
        try:
            ssl.create_default_context(cafile=cert_file)
        except OSError as cause:
            return Unreachable(f"cert_file {cert_file} cannot be used: {_why(cause, cert_file)}", _OF_FILE)
        name, file = ("key_file", self.key_file) if self.key_file else ("cert_file", cert_file)
        why, cure = failure(error), "name the file of its key, in PEM and without a password, in key_file"
        try:
            if " KEY-----" not in file.read_text(errors="replace"):
                why = "there is no key in it"
            elif isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
                why = "it is not the key of the certificate in cert_file"
        except OSError as cause:
            why, cure = _why(cause, file), _OF_FILE
        return Unreachable(f"{name} {file} cannot be used: {why}", cure)

    def no_broker(self, found: str) -> Unreachable:
        """Return the failure of what connects, and then does not answer as a broker does."""
        tls = "" if self.secure else " If this is its port for TLS, add tls = yes"
        return Unreachable(f"{self.where}: {found}: is it a broker?{tls}")

    def unreachable(self, error: Exception) -> Unreachable:
        """Return the failure to connect, in words, with the cure."""
        words = failure(error)
        cure = "see that host is right, that the broker runs there, and that this machine reaches it"
        if isinstance(error, ssl.SSLCertVerificationError):
            words = f"its certificate is refused: {error.verify_message}"
            today = self.clock.wall()
            if today < MADE:
                words += f"; the clock of this machine shows {datetime.fromtimestamp(today, UTC).date()}"
                cure = "set the clock: timedatectl says whether it is kept right"
            elif error.verify_code in _WRONG_TIME:
                cure = "have it renewed there, and see that this machine's clock is right"
            elif error.verify_code in _UNKNOWN_ISSUER:
                cure = "name the certificate that it is signed with in ca_file"
            else:
                cure = "have the broker use a certificate that is valid, for the name in host"
        elif isinstance(error, ssl.SSLError) and (found := _OUR_CERTIFICATE.search(error.reason or "")):
            if self.cert_file:
                words = f"it refuses the certificate in cert_file: {found[1].replace('_', ' ').lower()}"
                cure = "name one that it accepts, as of an authority in its cafile; its log says more"
            else:
                words = "it wants a certificate of this machine"
                if found[1] == "HANDSHAKE_FAILURE":
                    words = "it refuses this kind of TLS, perhaps as it wants a certificate of this machine"
                cure = "name one, and its key, in cert_file and key_file"
        elif isinstance(error, ssl.SSLError) or (
            self.secure and (isinstance(error, ConnectionResetError) or "handshake" in words)
        ):
            words = f"no TLS there, or another kind of it: {getattr(error, 'reason', None) or words}"
            cure = f"give the port for TLS, {TLS_PORT} as a rule, or take tls, ca_file and cert_file out"
        elif isinstance(error, ConnectionRefusedError):
            words = "connection refused: no broker listens there"
            cure = (
                f"start it (sudo systemctl start mosquitto); since version 2 mosquitto listens for other "
                f"machines only with a line `listener {self.address[1]}` in its configuration"
            )
        return Unreachable(f"{self.where}: {words}", cure)


_WRONG_TIME = (9, 10)
"""OpenSSL's codes (X509_V_ERR_*) of a certificate that is not valid yet, or no more."""
_UNKNOWN_ISSUER = (18, 19, 20, 21)
"""The same of a certificate whose issuer is not known here."""


def _why(error: OSError, file: Path | None) -> str:
    """Return why a file cannot be used: it may be one that this user cannot reach."""
    return (hidden(file) if file else "") or failure(OSError(error.errno, error.strerror))


def _no_password() -> str:
    """Stand in for OpenSSL's question on the terminal, which a daemon cannot answer."""
    raise ValueError("the key needs a password: a key without one expected")
