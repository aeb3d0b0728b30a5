"""A session with an Emoncms server, which shows the key to nobody else and follows no redirect."""

from __future__ import annotations

import io
import ssl
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import requests

from gateway.dispatchers.emoncms_answers import decode, excerpt, lost
from gateway.plugin import DeliveryFailure
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Fields = Mapping[str, str | int]


class Answer(NamedTuple):
    """What came back; `location` is where a redirect points to.

    `time` is what the server's clock showed, in Unix seconds, None where it shows none.
    """

    status: int
    text: str
    location: str
    time: float | None


class Server:
    """An Emoncms at an address, for the account of a key."""

    def __init__(self, url: str, key: str, ca_file: Path | None, timeout: float) -> None:
        self._url = url
        self._key = key
        self._ca_file = ca_file
        self._timeout = timeout
        self._session = requests.Session()

    def open(self) -> None:
        """Make the session; the first request makes the connection, which is then kept."""
        if self._ca_file is not None:
            try:
                ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:
                raise OSError(
                    f"ca_file {self._ca_file}: PEM certificates expected: {error.strerror}"
                ) from None
        self._session = requests.Session()
        self._session.trust_env = False  # a ~/.netrc would replace our key, and a proxy would see it
        self._session.verify = True if self._ca_file is None else str(self._ca_file)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._session.headers.update(
            {
                "Authorization": b"Bearer " + self._key.encode(),
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": f"oemgateway/{VERSION}",
            }
        )

    def close(self) -> None:
        """Drop the connection."""
        self._session.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Fields | None = None,
        form: Fields | None = None,
        with_key: bool = True,
    ) -> Answer | DeliveryFailure:
        """Return the answer, or the failure: raised in here it would carry the request along, key and all."""
        # How far this has been read tells whether the server may have got something.
        body = None if form is None else io.BytesIO(urlencode(form).encode())
        try:
            answer = self._session.request(
                method,
                f"{self._url}{path}",
                params=query,
                data=body,
                headers=None if with_key else {"Authorization": None},
                timeout=(10, self._timeout),
                allow_redirects=False,
            )
        except OSError as error:  # as every requests.RequestException is
            return lost(error, sent=body is not None and body.tell() > 0, secret=self._key)
        return Answer(
            answer.status_code,
            answer.content.decode("utf-8", "replace"),
            answer.headers.get("Location", ""),
            _time(answer.headers.get("Date", "")),
        )

    def read(self, path: str, query: Fields, form: Fields | None = None) -> Any:  # noqa: ANN401  (JSON)
        """Return the JSON at a path, by POST where there is a form; raises a DeliveryFailure otherwise."""
        answer = self.ask("GET" if form is None else "POST", path, query=query, form=form)
        if isinstance(answer, DeliveryFailure):
            raise answer
        return decode(path, answer.status, answer.text, answer.location, self._key)

    def quoted(self, text: str) -> str:
        """Return the beginning of what it has said, as one line without the key."""
        return excerpt(text, self._key)


def _time(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
