"""A small curve without axes, as the path of an SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 120, 32
_MARGIN = 2


def spark(means: Sequence[float | None]) -> tuple[str, str]:
    """Return the paths of the line and of the area below it; gaps are gaps, and a lone value is a dot."""
    there = [mean for mean in means if mean is not None]
    if not there:
        return "", ""
    least, span = min(there), max(there) - min(there)
    room = HEIGHT - 2 * _MARGIN
    line, area = [], []
    run: list[str] = []
    step = WIDTH / max(1, len(means) - 1)
    for place, mean in enumerate([*means, None]):
        if mean is not None:
            height = (mean - least) / span if span > 0 else 0.5
            run.append(f"{place * step:.1f} {HEIGHT - _MARGIN - height * room:.1f}")
        elif run:
            points = "L".join(run if len(run) > 1 else run * 2)
            line.append(f"M{points}")
            if len(run) > 1:
                first, last = run[0].split()[0], run[-1].split()[0]
                area.append(f"M{first} {HEIGHT}L{points}L{last} {HEIGHT}Z")
            run = []
    return "".join(line), "".join(area)
