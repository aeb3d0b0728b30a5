"""A USB device that is a Python object, plugged into QEMU's usb-redir.

Source: usb-redirection-protocol.md of usbredir, version 0.7. What is sent here is little-endian and packed.
Only control transfers are served; that is all that a device without endpoints of its own has.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import Protocol

HELLO, CONNECT, DISCONNECT, _RESET, INTERFACES, ENDPOINTS = range(6)
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION, SET_ALTERNATE, GET_ALTERNATE, ALTERNATE = range(6, 12)
CONTROL = 100

CONNECT_VERSION, DISCONNECT_ACK, MAX_PACKET_SIZE, LONG_IDS, LONG_BULK = 1, 3, 4, 5, 6
"""Capabilities; xHCI insists on the last three."""

CAPABILITIES = sum(
    1 << bit for bit in (CONNECT_VERSION, DISCONNECT_ACK, MAX_PACKET_SIZE, LONG_IDS, LONG_BULK)
)

OK, STALL = 0, 4
FULL_SPEED = 1
CONTROL_TYPE, NO_ENDPOINT = 0, 255

GET_DESCRIPTOR = 6
TO_HOST = 0x80
VENDOR = 0x40


class Stall(Exception):
    """The device has no answer to a request."""


class Vendor(Protocol):
    """What a device does, beside being one."""

    vendor: int
    product: int

    def read(self, request: int, value: int, index: int, length: int) -> bytes:
        """Answer a vendor request that asks for data; Stall where there is none."""

    def write(self, request: int, value: int, index: int, data: bytes) -> None:
        """Take a vendor request that brings data; Stall where it means nothing."""


class Plug:
    """The device in its socket. `plug` and `unplug` are a hand; `close` ends it for good."""

    def __init__(self, device: Vendor) -> None:
        self.far, self._near = socket.socketpair()
        self._device = device
        self._plugged = True
        self._ids = struct.Struct("<III")
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def plug(self) -> None:
        """Put it in."""
        self._plugged = True
        interfaces = struct.pack("<I32s32s32s32s", 1, b"\0", b"\xff", b"", b"")
        types = bytes(CONTROL_TYPE if index % 16 == 0 else NO_ENDPOINT for index in range(32))
        endpoints = struct.pack("<32s32s32s", types, b"", b"")
        sizes = struct.pack("<32H", *(8 if index % 16 == 0 else 0 for index in range(32)))
        who = struct.pack("<BBBBHHH", FULL_SPEED, 0, 0, 0, self._device.vendor, self._device.product, 0x0100)
        self._send(INTERFACES, 0, interfaces)
        self._send(ENDPOINTS, 0, endpoints + sizes)
        self._send(CONNECT, 0, who)

    def unplug(self) -> None:
        """Pull it out."""
        self._plugged = False
        self._send(DISCONNECT, 0, b"")

    def close(self) -> None:
        """End it, and the thread that serves it."""
        self._near.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._near.close()

    def _serve(self) -> None:
        hello = struct.pack("<64sI", b"oemgateway tests", CAPABILITIES)
        try:
            self._send(HELLO, 0, hello)
            self._receive()  # QEMU's hello; from here on ids have 64 bits
            self._ids = struct.Struct("<IIQ")
            self.plug()
            while True:
                self._answer(*self._receive())
        except OSError:
            return  # the machine is off

    def _answer(self, kind: int, number: int, body: bytes) -> None:
        if kind == SET_CONFIGURATION:
            self._send(CONFIGURATION, number, bytes([OK, body[0]]))
        elif kind == GET_CONFIGURATION:
            self._send(CONFIGURATION, number, bytes([OK, 1]))
        elif kind == SET_ALTERNATE:
            self._send(ALTERNATE, number, bytes([OK, *body[:2]]))
        elif kind == GET_ALTERNATE:
            self._send(ALTERNATE, number, bytes([OK, body[0], 0]))
        elif kind == CONTROL and self._plugged:
            self._control(number, body)

    def _control(self, number: int, body: bytes) -> None:
        endpoint, request, kind, _, value, index, length = struct.unpack("<BBBBHHH", body[:10])
        status, data = OK, b""
        try:
            if kind & VENDOR and kind & TO_HOST:
                data = self._device.read(request, value, index, length)
            elif kind & VENDOR:
                self._device.write(request, value, index, body[10:])
            elif kind & TO_HOST:
                data = self._standard(request, value)[:length]
        except Stall:
            status = STALL
        said = length if not kind & TO_HOST and status == OK else len(data)
        self._send(
            CONTROL,
            number,
            struct.pack("<BBBBHHH", endpoint, request, kind, status, value, index, said) + data,
        )

    def _standard(self, request: int, value: int) -> bytes:
        """Answer a standard request: device and configuration, both with one interface and no endpoint."""
        if request == 0:  # GET_STATUS
            return bytes(2)
        if request == GET_DESCRIPTOR and value >> 8 == 1:
            who = (self._device.vendor, self._device.product, 0x0100)
            return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0110, 0xFF, 0, 0, 8, *who, 0, 0, 0, 1)
        if request == GET_DESCRIPTOR and value >> 8 == 2:
            interface = bytes([9, 4, 0, 0, 0, 0xFF, 0, 0, 0])
            return struct.pack("<BBHBBBBB", 9, 2, 18, 1, 1, 0, 0x80, 50) + interface
        raise Stall

    def _send(self, kind: int, number: int, body: bytes) -> None:
        with self._lock:
            self._near.sendall(self._ids.pack(kind, len(body), number) + body)

    def _receive(self) -> tuple[int, int, bytes]:
        kind, length, number = self._ids.unpack(self._exactly(self._ids.size))
        return kind, number, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._near.recv(size - len(data))
            if not piece:
                raise ConnectionResetError
            data += piece
        return data
