from __future__ import annotations

import errno
import ssl
import time

import pytest

from gateway.text.words import failure, local, rate, size, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.24, "0.2 s"),
        (1.7, "2 s"),
        (119, "119 s"),
        (120, "2 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (200000, "2 days"),
    ],
)
def test_how_long(seconds, words):
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("per_minute", "words"),
    [(5.98, "6"), (6.0, "6"), (11.97, "12"), (9.96, "10"), (123.4, "123"), (1.52, "1.5"), (0.0166, "0.017")],
)
def test_how_often(per_minute, words):
    assert rate(per_minute) == f"{words} a minute"


@pytest.mark.parametrize(("count", "words"), [(0, "0 kB"), (12_345, "12 kB"), (1_500_000, "1.5 MB")])
def test_how_much(count, words):
    assert size(count) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (IsADirectoryError(errno.EISDIR, "Is a directory", "indices.json"), "indices.json: Is a directory"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("the board has gone"), "the board has gone"),
        (TimeoutError(), "TimeoutError"),
        (TimeoutError("_ssl.c:989: The handshake operation timed out"), "The handshake operation timed out"),
        (
            ssl.SSLError(1, "[X509: NO_CERTIFICATE] no certificate found (_ssl.c:4154)"),
            "no certificate found",
        ),
        (ssl.SSLError(9, "[SSL] PEM lib (_ssl.c:3926)"), "PEM lib"),
        (ssl.SSLEOFError(8, "EOF occurred (_ssl.c:2427)"), "EOF occurred"),
    ],
)
def test_what_has_failed(error, words):
    assert failure(error) == words


def test_a_time_zone_that_there_cannot_be_is_utc(monkeypatch):
    monkeypatch.setenv("TZ", "XXX99999")
    time.tzset()
    try:
        assert local(1_700_000_000.0).isoformat() == "2023-11-14T22:13:20+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
