"""Serves a simulated bridge to any program as /dev/i2c-N, through the preload library in tests/preload."""

from __future__ import annotations

import errno
import os
import select
import socket
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from gateway.flag import Flag
from listeners.simulated.ds2482 import Ds2482
from tests.preloaded import SOURCES, preloaded


@contextmanager
def i2c_server(bridge: Ds2482, *, kernel_owns: Collection[int] = ()) -> Iterator[dict[str, str]]:
    """Yield the environment of a program that is to find the bridge at every /dev/i2c-N.

    `kernel_owns` are the addresses that a driver of the kernel has taken: I2C_SLAVE gives EBUSY for them.
    """
    library = preloaded(SOURCES / "i2c.c")
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening,
    ):
        path = f"{folder}/i2c.socket"
        listening.bind(path)
        listening.listen()
        stop = Flag()
        server = threading.Thread(target=_serve, args=(bridge, kernel_owns, listening, stop))
        server.start()
        try:
            yield {**os.environ, "LD_PRELOAD": str(library), "I2CSIM": path}
        finally:
            stop.set()
            server.join()


def _serve(bridge: Ds2482, kernel_owns: Collection[int], listening: socket.socket, stop: Flag) -> None:
    """Answer one packet at a time, as an I2C adapter does one transfer at a time."""
    with ExitStack() as clients, select.epoll() as waiting:
        by_fd: dict[int, socket.socket] = {}
        for each in (stop, listening):
            waiting.register(each, select.EPOLLIN)
        while True:
            for fd, _ in waiting.poll():
                if fd == stop.fileno():
                    return
                if fd == listening.fileno():
                    client = clients.enter_context(listening.accept()[0])
                    by_fd[client.fileno()] = client
                    waiting.register(client, select.EPOLLIN)
                    continue
                try:
                    packet = by_fd[fd].recv(4)
                    if packet:
                        by_fd[fd].send(_answer(bridge, kernel_owns, packet))
                except ConnectionError:  # killed while it waited
                    packet = b""
                if not packet:
                    waiting.unregister(fd)
                    by_fd.pop(fd).close()


def _answer(bridge: Ds2482, kernel_owns: Collection[int], packet: bytes) -> bytes:
    """Return {errno, value} for a packet {kind, address, command, value}."""
    kind, address, command, value = chr(packet[0]), *packet[1:]
    if kind == "s":
        return bytes([errno.EBUSY if address in kernel_owns else 0, 0])
    try:
        if kind == "q":
            bridge.write_quick(address)
        elif kind == "w":
            bridge.write_byte(address, command)
        elif kind == "d":
            bridge.write_byte_data(address, command, value)
        else:
            return bytes([0, bridge.read_byte(address)])
    except OSError as error:
        return bytes([error.errno, 0])
    return bytes(2)
