"""A simulated RFM12Pi on a pseudo-terminal: it hears two nodes, answers commands, and can be unplugged."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import struct
import termios
import threading
import time
import tty
from typing import TYPE_CHECKING

from gateway.flag import Flag, wait_readable
from listeners.simulated.radio_firmware import Rf12demo

if TYPE_CHECKING:
    from pathlib import Path

    from listeners.simulated.radio_firmware import Firmware

_GARBLED = 4
_WRONG_BAUD = bytes(byte ^ 0xA5 | 0x80 for byte in range(256))


SIMULATED_NODES = ("10", "19")


class SimulatedRfm12pi:
    """A board with a firmware, at the other end of `port`.

    Every `period` seconds it hears node 10 (two powers in W, mains voltage in 0.01 V) and node 19
    (temperature in 0.1 C, humidity in 0.1 %, battery in 0.1 V); every fourth packet of node 10 is garbled.
    With a period of 0 it hears nothing. With a `link` the port is this symbolic link, which stays the same
    when the board is plugged in again.

    At a baud rate other than the firmware's, what is read is garbled, and what is written is ignored.
    Faults: `garble_next` garbles the next packet, `glue_next` loses the next line end; `unplug` and `replug`.
    """

    def __init__(
        self, link: Path | None = None, *, period: float = 5.0, firmware: Firmware | None = None
    ) -> None:
        self.firmware = firmware or Rf12demo()
        self.garble_next = False
        self.glue_next = False
        self._link = link
        self._period = period
        self._loses_space = True
        self._master: int | None = None
        self._writing = threading.Lock()
        self.replug()

    @property
    def port(self) -> str:
        """The path under which it can be opened."""
        return str(self._link) if self._link else self._tty

    def replug(self) -> None:
        """Plug it in: it prints its banner and starts to listen."""
        self.unplug()
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        tty.setraw(self._slave)
        self._tty = os.ttyname(self._slave)
        if self._link:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self._tty)
        self._write("".join(self.firmware.start()))
        self._stop = Flag()
        self._thread = threading.Thread(
            target=self._run, args=(self._master,), name="simulated RFM12Pi", daemon=True
        )
        self._thread.start()

    def unplug(self) -> None:
        """Unplug it: the port is gone for whoever has it open. May be called twice."""
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
        self.print(self.firmware.packet(node, numbers, rssi))

    def print(self, line: str) -> None:
        """Write a line; what is not read in time is lost, as on a wire."""
        end = "" if self.glue_next else "\r\n"
        self.glue_next = False
        self._write(f"{line}{end}")

    def _write(self, text: str) -> None:
        data = text.encode("latin-1")
        if self._master is not None:
            # A second writing thread would be refused instead of waiting.
            with self._writing, contextlib.suppress(BlockingIOError):
                os.write(self._master, data if self._is_at_right_baud() else data.translate(_WRONG_BAUD))

    def _is_at_right_baud(self) -> bool:
        speed = termios.tcgetattr(self._slave)[4]
        return bool(speed == getattr(termios, f"B{self.firmware.baud}"))

    def _run(self, master: int) -> None:
        turn = 0
        due = time.monotonic() + min(1.0, self._period)
        while not self._stop.is_set():
            pause = due - time.monotonic() if self._period else None
            if master in wait_readable([self._stop, master], pause):
                received = os.read(master, 256)
                if self._is_at_right_baud():
                    for answer in self.firmware.take(received):
                        self._write(answer)
            if self._period and time.monotonic() >= due:
                due += self._period
                turn += 1
                self._round(turn)

    def _round(self, turn: int) -> None:
        """Hear each node once."""
        wave = math.sin(turn / 10)
        if turn % _GARBLED == 0:
            log = logging.getLogger("oemgateway.simulated")
            log.warning("a packet of node 10 is garbled (simulated)")
            self.garble_next = True
        self.hear(10, struct.pack("<3h", 450 + int(300 * wave), -120, 24150 + int(90 * wave)), -61)
        self.hear(19, struct.pack("<3h", 215 + int(9 * wave), 482 - int(20 * wave), 31), -74)
