"""Line noise for a simulated sensor's `flip`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class Noise:
    """Flips a burst of 1 to `longest` bits in one read of `one_in`; `hits` counts them.

    The same `random` in the same state makes the same noise.
    """

    def __init__(self, random: Random, one_in: int, longest: int = 8) -> None:
        self._random = random
        self._one_in = one_in
        self._longest = longest
        self.hits = 0

    def __call__(self, sent: bytes) -> bytes:
        """Return what arrives of the bytes."""
        if self._random.randrange(self._one_in):
            return sent
        self.hits += 1
        length = self._random.randint(1, self._longest)
        burst = self._random.getrandbits(length) | 1 | 1 << length - 1
        place = self._random.randint(0, len(sent) * 8 - length)
        return (int.from_bytes(sent, "little") ^ burst << place).to_bytes(len(sent), "little")
