"""Ask a page for cached answers, so many times a second: `python -m benchmarks.flood PORT PER_SECOND`.

It goes on until its input ends, and then prints how many requests were answered, and in how many seconds.
"""

from __future__ import annotations

import itertools
import select
import socket
import sys
import time

CONNECTIONS = 10
PATHS = ("/", "/api/now", "/page.css", "/metrics")


def main() -> None:
    port, rate = map(int, sys.argv[1:])
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    requests = itertools.cycle(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode() for path in PATHS
    )
    began, count = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], max(0.0, began + count / rate - time.monotonic()))[0]:
        for client in clients:
            client.sendall(next(requests))
        for client in clients:
            read(client)
        count += CONNECTIONS
    print(count, time.monotonic() - began, flush=True)


def read(client: socket.socket) -> None:
    """Read an answer to its end."""
    answer = client.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"200 expected, not {head[:100]!r}")
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    missing = length - len(body)
    while missing > 0:
        missing -= len(client.recv(65536))


if __name__ == "__main__":
    main()
