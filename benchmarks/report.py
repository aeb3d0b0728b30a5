"""What a benchmark says: figures, the machine it ran on, and which targets were met."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """A figure, how it was measured, what stands beside it, and the least or the most that it may be."""

    what: str
    measured: float
    unit: str
    method: str
    peer: str = ""
    least: float | None = None
    most: float | None = None
    digits: int = 1

    @property
    def is_met(self) -> bool:
        enough = self.least is None or self.measured >= self.least
        return enough and (self.most is None or self.measured <= self.most)

    @property
    def target(self) -> str:
        """The target in words, "" where there is none."""
        if self.least is not None:
            return f"at least {self.least:,g}"
        return "" if self.most is None else f"at most {self.most:,g}"

    def __str__(self) -> str:
        shown = (
            f"{self.measured:11,.{self.digits}f} {self.unit:8} {self.target:16} {self.what}: {self.method}"
        )
        return f"{shown}\n{'':38}beside it: {self.peer}" if self.peer else shown


def machine() -> dict[str, object]:
    """Return what the figures depend on; the load is that of before."""
    names = [
        line.partition(": ")[2]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "machine": platform.machine(),
        "processor": names[0] if names else platform.processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def conclude(
    name: str, where: Mapping[str, object], targets: Mapping[str, bool], rows: Sequence[Mapping[str, object]]
) -> int:
    """Print the targets, write results/NAME.json, and return the exit status: 1 where one is missed."""
    print(f"\n{', '.join(f'{key} {value}' for key, value in where.items())}")
    for words, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'}  {words}")
    RESULTS.mkdir(exist_ok=True)
    shown = {"machine": where, "targets": targets, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(shown, indent=2) + "\n", encoding="utf-8")
    return int(not all(targets.values()))


def conclude_rows(name: str, measured: Iterable[Row]) -> int:
    """Print the figures as they are measured, and conclude with them."""
    where = machine()
    rows = []
    for row in measured:
        print(row, flush=True)
        rows.append(row)
    targets = {f"{row.what}: {row.target} {row.unit}".rstrip(): row.is_met for row in rows if row.target}
    return conclude(name, where, targets, [asdict(row) for row in rows])
