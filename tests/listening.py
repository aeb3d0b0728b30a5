"""A listener `mqtt` at a broker, and what the core does with what it reads."""

from __future__ import annotations

from gateway.flag import Flag
from gateway.frame import Stamp
from gateway.settings import build
from listeners.mqtt.listener import Mqtt
from tests.waiting import wait_until

NOW = Stamp(1_800_000_000.0, "boot", 5.0)


class Disk:
    """The core's side of a listener: it keeps what `read` returns, and says when it is safe."""

    def __init__(self, listener):
        self.listener = listener
        self.frames = []
        self.lists = 0
        self.demanded = 0
        listener.synced.demand = self.demand

    def demand(self):
        self.demanded += 1
        self.sync()

    def read(self):
        frames = self.listener.read(Flag())
        self.frames += frames
        if frames:
            self.lists += 1
            self.listener.synced.note_put(self.lists)
        return frames

    def read_until(self, count):
        wait_until(lambda: self.read() and len(self.frames) >= count)

    def read_until_nothing(self):
        """Read once more what is there, and acknowledge what is safe."""
        stop = Flag()
        stop.set()
        self.listener.read(stop)

    def end_as_if_killed(self):
        """End the connection, with nothing more kept on the disk."""
        self.listener.state = None
        self.listener.synced.demand = lambda: None
        self.listener.close()

    def sync(self):
        self.listener.synced.note_synced(self.lists)


def listening(broker, tmp_path, name="broker", clock=None, **given):
    listener = build(Mqtt, {"host": "127.0.0.1", "port": str(broker.port), "keepalive": "5", **given})
    listener.name, listener.state, listener.clock = name, tmp_path, clock or listener.clock
    listener.open()
    return listener
