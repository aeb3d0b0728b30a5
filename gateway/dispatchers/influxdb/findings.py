"""What `oemgateway doctor` says of the server that frames go to."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.dispatchers.influxdb.answers import major, shown
from gateway.plugin import BadFrame, DeliveryFailure, bad, good, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.dispatchers.influxdb.dispatcher import InfluxDb
    from gateway.plugin import Finding, Machine

_DEDUP = re.compile(r'flag\{name="dedup\.minScrapeInterval", value="([^"]+)"')


def examine(influx: InfluxDb, machine: Machine) -> Iterator[Finding]:
    """Yield whether the server answers, what it is, and whether it takes what is written to it."""
    if not machine.live:
        return
    yield from machine.unreadable(influx.ca_file)
    try:
        influx.open()
        if found := _identify(influx):
            yield found
        with suppress(BadFrame):  # the write is empty, but the server has looked at it
            influx.write("")
        yield good(f"it takes what is written to {influx.target}")
        if not found:  # a server that takes nothing may as well be at another address
            yield unknown(f"{influx.url} is no InfluxDB, but may take the same lines")
    except (DeliveryFailure, OSError) as failure:
        yield bad(str(failure))
    finally:
        influx.close()


def _identify(influx: InfluxDb) -> Finding | None:
    """Return what the server is, by its answer to /ping; None if that does not tell."""
    answer = influx.ask("GET", "/ping")
    influx.found = major(answer) or 0
    if not influx.found:
        return _deduplicates(influx)
    found = f"{influx.url} is InfluxDB {shown(answer)}"
    if influx.version and influx.found != int(influx.version):
        return bad(f"{found}, and version is {influx.version}", "leave version out, and see what follows")
    return good(found)


def _deduplicates(influx: InfluxDb) -> Finding | None:
    """Return whether a VictoriaMetrics has its deduplication on; None if it is none."""
    found = _DEDUP.search(influx.ask("GET", "/metrics").text)
    if not found:
        return None
    if found[1].startswith("0"):
        return bad(
            f"{influx.url} is a VictoriaMetrics that keeps what is sent again twice",
            "start it with -dedup.minScrapeInterval=1ms",
        )
    return good(f"{influx.url} is a VictoriaMetrics with deduplication")
