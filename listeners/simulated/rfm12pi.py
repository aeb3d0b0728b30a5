"""An RFM12Pi on a pseudo-terminal: it hears two nodes, answers commands, and can be unplugged."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import struct
import threading
import time
import tty
from typing import TYPE_CHECKING

from gateway.flag import Flag, wait_readable

if TYPE_CHECKING:
    from pathlib import Path

_COMMAND = re.compile(rb"([0-9,]*)([a-z])")
_MHZ = {4: 433, 8: 868, 9: 915}
_HELP = ("Available commands:", "  <nn> i     - set node ID (standard node ids are 1..30)")
_GARBLED = 4


class SimulatedRfm12pi:
    """The firmware RF12demo.14 with an RFM69, at the far end of `port`.

    Every `period` seconds it hears node 10 (two powers in W, mains voltage in 0.01 V) and node 19
    (temperature in 0.1 C, humidity in 0.1 %, battery in 0.1 V); every fourth packet of node 10 is garbled. A
    period of 0 leaves the air silent. With a `link` the port is this symbolic link, which stays the same
    when the board is plugged in anew.

    `commands` are those it has obeyed. Faults: `garble_next` garbles the next packet, `glue_next` loses the
    next line end; `unplug` and `replug`.
    """

    def __init__(self, link: Path | None = None, *, period: float = 5.0) -> None:
        self.node, self.group, self.band, self.quiet = 15, 210, 4, True
        self.commands: list[str] = []
        self.garble_next = False
        self.glue_next = False
        self._link = link
        self._period = period
        self._loses_space = True
        self._master: int | None = None
        self.replug()

    @property
    def port(self) -> str:
        """The path under which it can be opened."""
        return str(self._link) if self._link else self._tty

    def replug(self) -> None:
        """Plug it in: it prints its banner and begins to listen."""
        self.unplug()
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        tty.setraw(self._slave)
        self._tty = os.ttyname(self._slave)
        if self._link:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self._tty)
        self.print("")
        self._tell()
        self._stop = Flag()
        self._thread = threading.Thread(
            target=self._run, args=(self._master,), name="simulated RFM12Pi", daemon=True
        )
        self._thread.start()

    def unplug(self) -> None:
        """Pull it out: whoever has the port open finds it gone. May be called twice."""
        if self._master is None:
            return
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)
        self._master = None
        if self._link:
            self._link.unlink(missing_ok=True)

    close = unplug

    def hear(self, node: int, data: bytes, rssi: int = -61) -> None:
        """Receive a packet and print it."""
        numbers = [str(byte) for byte in data]
        if self.garble_next:
            self.garble_next = False
            # Boards that run on their internal oscillator do both: lose a character, here a space, and
            # turn one into a character that is not ASCII.
            numbers[:2] = ["".join(numbers[:2])] if self._loses_space else ["\xff", numbers[1]]
            self._loses_space = not self._loses_space
        self.print(f"OK {node} {' '.join(numbers)} ({rssi}) ")

    def print(self, line: str) -> None:
        """Write a line; what nobody reads in time is lost, as on a wire."""
        end = "" if self.glue_next else "\r\n"
        self.glue_next = False
        if self._master is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, f"{line}{end}".encode("latin-1"))

    def _run(self, master: int) -> None:
        received = b""
        turn = 0
        due = time.monotonic() + min(1.0, self._period)
        while not self._stop.is_set():
            pause = due - time.monotonic() if self._period else None
            if master in wait_readable([self._stop, master], pause):
                received += os.read(master, 256)
                while command := _COMMAND.search(received):
                    received = received[command.end() :]
                    self._obey(command[1].decode(), command[2].decode())
            if self._period and time.monotonic() >= due:
                due += self._period
                turn += 1
                self._round(turn)

    def _round(self, turn: int) -> None:
        """Hear each node once."""
        wave = math.sin(turn / 10)
        if turn % _GARBLED == 0:
            log = logging.getLogger("oemgateway.simulated")
            log.warning("a packet of node 10 is garbled, for the demo")
            self.garble_next = True
        self.hear(10, struct.pack("<3h", 450 + int(300 * wave), -120, 24150 + int(90 * wave)), -61)
        self.hear(19, struct.pack("<3h", 215 + int(9 * wave), 482 - int(20 * wave), 31), -74)

    def _obey(self, arguments: str, letter: str) -> None:
        numbers = [int(number or 0) & 0xFF for number in arguments.split(",")]
        value = numbers[-1]
        self.print(f"> {','.join(map(str, numbers))}{letter}")
        match letter:
            case "i" if 1 <= value <= 30:
                self.node = value
            case "b" if value in _MHZ:
                self.band = value
            case "g":
                self.group = value
            case "q":
                self.quiet = bool(value)
            case "i" | "b" | "v":
                pass
            case _:
                for line in _HELP:
                    self.print(line)
        self._tell()
        self.commands.append(f"{arguments}{letter}")

    def _tell(self) -> None:
        """Print the settings in force."""
        quiet = " q1" if self.quiet else ""
        self.print(
            f"[RF12demo.14] {chr(64 + self.node)} i{self.node} g{self.group} @ {_MHZ[self.band]} MHz{quiet}"
        )
