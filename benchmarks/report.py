"""What a benchmark says in the end: the machine it ran on, and which targets were met."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).parent / "results"


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
