"""A key typed where it does not belong, and a banner that is no text: neither is shown as it is."""

from __future__ import annotations

import contextlib
import logging

import pytest

from gateway.commands.main import main
from gateway.flag import Flag
from gateway.process.logs import log_to
from listeners.radio.rfm12pi import Rfm12pi
from tests.wire import Wire

KEY = "89abcdef0123456789ABCDEF01234567"
START = "[listeners]\n[[lines]]\ntype = tcp\n[dispatchers]\n[[log]]\ntype = log\n"

FAULTY = {
    "a section": f"{START}[{KEY}]\n",
    "a section's type": f"{START}[[{KEY}]]\nkey = 1\n",
    "a deeper section": f"{START}[[[{KEY}]]]\n",
    "a setting": f"{START}{KEY} = 1\n",
    "a value": f"{START}batch = {KEY}\n",
    "a value of few": f"{START}loglevel = {KEY}\n",
    "a type": f"{START}[[more]]\ntype = {KEY}\n",
    "a line": f"{START}{KEY}\n",
    "a line above all": f"{KEY}\n{START}",
    "given twice": f"{START}{KEY} = 1\n{KEY} = 1\n",
    "a letter": f"{START}[nodes]\n[[5]]\ndatacodes = {KEY}\n",
}
RIGHT = {
    "a listener": f"[listeners]\n[[{KEY}]]\ntype = tcp\n[dispatchers]\n[[log]]\ntype = log\n",
    "a dispatcher": f"[listeners]\n[[lines]]\ntype = tcp\n[dispatchers]\n[[{KEY}]]\ntype = log\n",
    "a title": f"{START}[[table]]\ntype = table\ntitle = {KEY}\n",
    "a node": f"{START}[nodes]\n[[{KEY}]]\n",
    "a node's setting": f"{START}[nodes]\n[[5]]\n{KEY} = 1\n",
    "a node's section": f"{START}[nodes]\n[[5]]\n[[[{KEY}]]]\n",
    "a name": f"{START}[nodes]\n[[5]]\nnames = {KEY},\n",
    "a section that is off": f"{START}[[{KEY}]]\nactive = no\n",
}


@pytest.mark.parametrize("command", [["check"], ["--show-settings"]])
@pytest.mark.parametrize(
    ("text", "status"),
    [(text, 78) for text in FAULTY.values()] + [(text, 0) for text in RIGHT.values()],
    ids=[*FAULTY, *RIGHT],
)
def test_a_key_is_not_quoted_wherever_it_was_typed(written, capsys, text, status, command):
    assert main(["--config-file", str(written(text)), *command]) == status
    said = "".join(capsys.readouterr())
    assert said
    assert KEY[:8] not in said


def test_a_banner_reaches_the_log_as_text(tmp_path):
    wire, stop = Wire(), Flag()
    listener = Rfm12pi(port=wire.port)
    listener.name = "radio"
    logger = logging.getLogger("oemgateway")
    before, level, loud = logger.handlers, logger.level, logging.raiseExceptions
    with contextlib.closing(listener):
        listener.open()
        try:
            log_to(tmp_path / "log")
            logger.setLevel("INFO")
            wire.send(b"[RF12demo.14\x1b[2J\r\x85] O i15 g210 @ 433 MHz q1\r\nOK 10 1 0\r\n")
            while not listener.read(stop):
                pass
        finally:
            made, logger.handlers = logger.handlers, before
            for handler in made:
                handler.close()
            logging.raiseExceptions = loud
            logger.setLevel(level)
    wire.cut()
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert r"the board says: [RF12demo.14\x1b[2J" in line
