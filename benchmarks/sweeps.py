"""Sweeps a DS2482 at /dev/i2c-99 with our driver and smbus2; how often, and which ids, are its arguments.

It prints the seconds of each sweep and the values of the last one. onewire.py runs it on the simulated chip,
through the preload library.
"""

from __future__ import annotations

import json
import sys
import time

from gateway.settings import build
from listeners.onewire.drivers.ds2482 import Ds2482


def main(count: int, ids: list[str]) -> None:
    slots = {f"sensor{index}": text for index, text in enumerate(ids, 1)}
    listener = build(Ds2482, {"node": "9", "bus": "99", **slots})
    listener.open()
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        readings = listener.sweep(listener.sensors.roms())
        seconds.append(time.perf_counter() - began)
    listener.close()
    print(json.dumps({"seconds": seconds, "values": list(readings.values())}))


main(int(sys.argv[1]), sys.argv[2:])
