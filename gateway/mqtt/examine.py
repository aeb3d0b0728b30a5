"""What `oemgateway doctor` finds out about a broker."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import Finding, bad, good, unknown
from gateway.mqtt.broker import Unreachable
from gateway.mqtt.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.diagnosis.machine import Machine
    from gateway.mqtt.broker import Broker

_SOON = 30 * 86400.0


def examine_broker(
    broker: Broker, machine: Machine, more: Callable[[Session], Iterable[Finding]]
) -> Iterator[Finding]:
    """Yield whether the broker can be reached and lets us in, and then what `more` finds."""
    if not machine.live:
        return
    yield from machine.unreadable(broker.ca_file, broker.cert_file, broker.key_file)
    session = Session(broker, f"oemgateway-doctor-{secrets.token_hex(4)}")
    try:
        session.open()
        who = "lets in who gives no user name" if broker.user is None else f"knows user {broker.user}"
        yield good(f"{broker.where} is an MQTT broker, and {who}")
        if session.version < 5:
            yield unknown(
                "it speaks MQTT 3.1.1 only, and acknowledges also what it refuses",
                "mosquitto 1.6 and newer speak MQTT 5",
            )
        if (ends := session.certificate_ends) and ends - broker.clock.wall() < _SOON:
            yield unknown(
                f"its certificate ends in {(ends - broker.clock.wall()) / 86400:.0f} days", "renew it"
            )
        yield from more(session)
    except Unreachable as error:
        yield bad(str(error), error.cure)
    except OSError as error:
        yield bad(str(error))
    finally:
        session.close()
