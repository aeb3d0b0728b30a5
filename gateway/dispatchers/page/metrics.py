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
    requests = [({"reason": reason}, float(count)) for reason, count in refused.items() if count]
    of_the_page = _metric(
        "page_refused_requests_total", "counter", "Requests to the page that were not answered.", requests
    )
    return "".join(f"{line}\n" for line in (*_lines(now), *of_the_page))


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
    yield from _metric("value", "gauge", "The value now of an index of a node.", about)
    times = [(labels, now.at - value.age) for labels, value in named if value.age is not None]
    yield from _metric("value_timestamp_seconds", "gauge", "When the last value came, in Unix time.", times)
    status = now.status
    healthy = status is not None and status.healthy
    yield from _metric("healthy", "gauge", "Whether nothing is wrong.", [({}, float(healthy))])
    if status is None:
        return
    yield from _metric("build_info", "gauge", "The version.", [({"version": status.version}, 1.0)])
    yield from _metric("uptime_seconds", "gauge", "Seconds since the start.", [({}, status.uptime)])
    trusted = float(not status.clock.doubt)
    yield from _metric(
        "clock_trusted", "gauge", "Whether the clock of the machine is right.", [({}, trusted)]
    )
    steps: Sample = ({}, float(status.clock.steps))
    yield from _metric("clock_steps_total", "counter", "How often the clock was set.", [steps])
    dropped: Sample = ({}, float(status.dropped))
    yield from _metric(
        "dropped_frames_total", "counter", "Frames dropped by a limit of the queue.", [dropped]
    )
    sections = status.sections.items()
    frames = [({"section": name}, float(each.frames)) for name, each in sections]
    yield from _metric("frames_total", "counter", "Frames that came in or were delivered.", frames)
    failures = [({"section": name}, float(each.failures)) for name, each in sections]
    yield from _metric("failures_total", "counter", "How often a section has failed.", failures)
    troubled = [({"section": name}, float(len(each.troubles))) for name, each in sections]
    yield from _metric("troubles", "gauge", "What is wrong with a section now.", troubled)
    faults = [
        ({"listener": name, "fault": fault}, float(count))
        for name, each in status.listeners.items()
        for fault, count in each.faults.items()
    ]
    yield from _metric("faults_total", "counter", "Faults of sensors and lines.", faults)
    queues = [(name, each.queue) for name, each in status.dispatchers.items()]
    waiting = [({"dispatcher": name}, float(queue.waiting)) for name, queue in queues]
    yield from _metric("queue_frames", "gauge", "Frames that wait for a destination.", waiting)
    oldest = [({"dispatcher": name}, queue.age or 0.0) for name, queue in queues]
    yield from _metric("queue_oldest_seconds", "gauge", "Age of the oldest frame that waits.", oldest)
    refused = [({"dispatcher": name}, float(queue.refused)) for name, queue in queues]
    yield from _metric("queue_refused_frames", "gauge", "Frames set aside as they were refused.", refused)


def _metric(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP oemgateway_{name} {about}"
    yield f"# TYPE oemgateway_{name} {kind}"
    for labels, number in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"oemgateway_{name}{f'{{{shown}}}' if shown else ''} {number!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
