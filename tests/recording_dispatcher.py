"""A destination that keeps what it gets in a file, each frame once: it can be asked what it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.plugin import Batch, Delivery, Dispatcher, Progress, setting


@dataclass(kw_only=True)
class Recorded(Dispatcher):
    """Appends a line `id node time value` for each frame, all of a batch in one write."""

    file: Path = setting()

    def prepare(self, batch: Batch) -> Delivery:
        return _Lines(self.file, batch)


class _Lines(Delivery):
    def __init__(self, file: Path, batch: Batch) -> None:
        super().__init__(len(batch.frames))
        self._file = file
        self._batch = batch

    def send(self) -> None:
        numbered = zip(self._batch.ids, self._batch.frames, strict=True)
        lines = [f"{n} {each.node} {each.stamp.wall!r} {each.values[0]}\n" for n, each in numbered]
        with self._file.open("a") as file:
            file.write("".join(lines))

    def delivered(self) -> Progress:
        last = max((number for number, *_ in read(self._file)), default=0)
        return Progress(sum(number <= last for number in self._batch.ids))


def read(file: Path) -> list[tuple[int, str, float, float]]:
    """Return what the file has: id, node, time and first value of each frame."""
    if not file.exists():
        return []
    rows = [line.split() for line in file.read_text().splitlines()]
    return [(int(number), node, float(time), float(value)) for number, node, time, value in rows]


def install(directory: Path) -> None:
    """Make a directory that, on the path, is a package with this dispatcher."""
    about = directory / "recorded-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: recorded\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[oemgateway.dispatchers]\nrecorded = {__name__}:Recorded\n")
