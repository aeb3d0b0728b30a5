"""The program in which patterns are matched: Python's `re` cannot be interrupted, a process can be killed.

It reads how long a pattern may take and the patterns, and then pieces of text, each after its length in 4
bytes. It answers a piece with the number of lines that each pattern matches, in 4 bytes.

It is started once per interval, and imports only modules that every Python loads at its start: `re` would
take as long as all the rest. So the patterns come compiled.
"""

import _sre  # type: ignore[import-not-found]  # what `re` is made with has no types
import marshal
import posix
import sys
from _signal import ITIMER_VIRTUAL, setitimer  # type: ignore[import-not-found]  # the same for `signal`


def packed(number: int) -> bytes:
    """Return a number as it is sent."""
    return number.to_bytes(4, "little")


def read() -> bytes:
    """Return what comes next, b"" at the end."""
    pieces = sys.stdin.buffer
    return pieces.read(int.from_bytes(pieces.read(4), "little"))


def main() -> None:
    """Answer until there is no more text."""
    try:  # noqa: SIM105  (nothing is imported for it)
        posix.nice(10)
    except OSError:
        pass  # the unit of systemd forbids it
    magic, limit, given = marshal.loads(read())  # noqa: S302  (it comes from the gateway)
    if magic == _sre.MAGIC:
        patterns = [_sre.compile(*each) for each in given]
    else:  # another Python was installed since the gateway started
        import re  # noqa: PLC0415  (see above)

        patterns = [re.compile(each[0]) for each in given]
    answers = sys.stdout.buffer
    while piece := read():
        text = piece.decode("utf-8", "replace")
        lines = text.removesuffix("\n").replace("\r\n", "\n").split("\n")
        for pattern in patterns:
            setitimer(ITIMER_VIRTUAL, limit)  # the kernel ends this process then
            count = sum(1 for line in lines if pattern.search(line))
            setitimer(ITIMER_VIRTUAL, 0)
            answers.write(packed(count))
            answers.flush()


if __name__ == "__main__":
    main()
