"""The program in which patterns are matched: Python's `re` cannot be interrupted, a process can be killed.

Its arguments are patterns. It reads pieces of text, each after its length in 4 bytes, and answers with the
number of lines that each pattern matches, in 4 bytes. It is run by its path, and imports nothing of ours.
"""

import os
import re
import signal
import struct
import sys

LIMIT = 5.0
"""Seconds of the processor that a pattern may take for one piece; the kernel ends this process then."""

SIZE = struct.Struct("<I")


def main() -> None:
    """Answer until there is no more text."""
    try:  # noqa: SIM105  (this process imports as little as it can)
        os.nice(10)
    except OSError:
        pass  # the unit of systemd forbids it
    patterns = [re.compile(pattern) for pattern in sys.argv[1:]]
    pieces, answers = sys.stdin.buffer, sys.stdout.buffer
    while length := pieces.read(SIZE.size):
        text = pieces.read(*SIZE.unpack(length)).decode("utf-8", "replace")
        lines = text.removesuffix("\n").replace("\r\n", "\n").split("\n")
        for pattern in patterns:
            signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
            count = sum(1 for line in lines if pattern.search(line))
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            answers.write(SIZE.pack(count))
            answers.flush()


if __name__ == "__main__":
    main()
