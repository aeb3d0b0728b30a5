"""A server that says ok to every batch and keeps when it came: it costs less than the gateway that it times.

It prints its port. A line on its standard input asks for the batches that have come since the last one, which
it prints as one line of JSON: [time, body] of each, the time by the clock that never jumps.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time

ANSWERS = {b"POST": b"ok", b"GET": b'"Node does not exist"', b"HEAD": b""}
"""What Emoncms says to a batch, to the question what an input holds, and to that for its time."""

batches: list[tuple[float, str]] = []


class Connection(socketserver.StreamRequestHandler):
    """A client, as long as it keeps the connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer its requests."""
        while request := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline()) != b"\r\n":
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            body = self.rfile.read(length)
            answer = ANSWERS[request.split()[0]]
            if answer == b"ok":
                batches.append((time.monotonic(), body.decode()))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


class Server(socketserver.ThreadingTCPServer):
    """The server, on a port of its own."""

    daemon_threads = True


with Server(("127.0.0.1", 0), Connection) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for _ in sys.stdin:
        told, batches[:] = batches[:], []
        print(json.dumps(told), flush=True)
