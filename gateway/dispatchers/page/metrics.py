"""`/metrics` in the text format 0.0.4 of Prometheus, without timestamps.

What has no value now is left out, so that it disappears at the next scrape; its last time stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.dispatchers.page.now import Now

KIND = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


def metrics(now: Now, refused: Mapping[str, int]) -> str:
    """Return all metrics; `refused` counts requests that were not answered, by reason."""
    requests = [({"reason": reason}, count) for reason, count in refused.items() if count]
    about = "Requests to the page that were not answered."
    lines = (*_lines(now), *_metric("page_refused_requests_total", about, requests))
    return "".join(f"{line}\n" for line in lines)


def _lines(now: Now) -> Iterator[str]:
    named = [
        (
            {
                "node": value.node,
                "index": "" if value.index is None else str(value.index),
                "name": value.label,
                "unit": value.unit,
                "listener": value.source,
            },
            value,
        )
        for value in now.values
    ]
    about = [(labels, value.value) for labels, value in named if value.value is not None]
    yield from _metric("value", "The value now of an index of a node.", about)
    times = [(labels, now.at - value.age) for labels, value in named if value.age is not None]
    yield from _metric("value_timestamp_seconds", "When the last value came, in Unix time.", times)
    status = now.status
    healthy = status is not None and status.healthy
    yield from _metric("healthy", "Whether nothing is wrong.", [({}, healthy)])
    if status is None:
        return
    yield from _metric("build_info", "The version.", [({"version": status.version}, 1)])
    whole = (
        ("uptime_seconds", "Seconds since the start.", status.uptime),
        ("clock_trusted", "Whether the clock of the machine is right.", not status.clock.doubt),
        ("clock_steps_total", "How often the clock was set.", status.clock.steps),
        ("dropped_frames_total", "Frames dropped by a limit of the queue.", status.dropped),
    )
    for name, words, number in whole:
        yield from _metric(name, words, [({}, number)])
    sections = [({"section": name}, each) for name, each in status.sections.items()]
    frames = [(labels, each.frames) for labels, each in sections]
    yield from _metric("frames_total", "Frames that came in or were delivered.", frames)
    failures = [(labels, each.failures) for labels, each in sections]
    yield from _metric("failures_total", "How often a section has failed.", failures)
    troubled = [(labels, len(each.troubles)) for labels, each in sections]
    yield from _metric("troubles", "What is wrong with a section now.", troubled)
    faults = [
        ({"listener": name, "fault": fault}, count)
        for name, each in status.listeners.items()
        for fault, count in each.faults.items()
    ]
    yield from _metric("faults_total", "Faults of sensors and lines.", faults)
    queues = [({"dispatcher": name}, each.queue) for name, each in status.dispatchers.items()]
    waiting = [(labels, queue.waiting) for labels, queue in queues]
    yield from _metric("queue_frames", "Frames that wait for a destination.", waiting)
    oldest = [(labels, queue.age or 0) for labels, queue in queues]
    yield from _metric("queue_oldest_seconds", "Age of the oldest frame that waits.", oldest)
    refused = [(labels, queue.refused) for labels, queue in queues]
    yield from _metric("queue_refused_frames", "Frames set aside as they were refused.", refused)


def _metric(name: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP oemgateway_{name} {about}"
    yield f"# TYPE oemgateway_{name} {'counter' if name.endswith('_total') else 'gauge'}"
    for labels, number in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"oemgateway_{name}{f'{{{shown}}}' if shown else ''} {float(number)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
