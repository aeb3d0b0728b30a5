"""A batch as messages: acknowledged by the broker, or confirmed by a relay at its far end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.dispatchers.mqtt.reasons import NOBODY_READS, judge
from gateway.mqtt.broker import Lost
from gateway.mqtt.frames import Identity, log_message
from gateway.plugin import BadFrame, Batch, Delivery, Progress, TryLater

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dispatchers.mqtt.dispatcher import Mqtt
    from gateway.mqtt.confirmations import Confirmations
    from gateway.mqtt.message import Message

_PATIENCE = 3
"""Timeouts without progress after which messages that a relay has not confirmed are sent again."""
_EPOCHS = 8
"""Epochs of one batch, at most: a relay remembers the latest sixty-four."""


class Messages(Delivery):
    """Frames as messages, perhaps several of each; it knows which the broker has acknowledged."""

    def __init__(self, mqtt: Mqtt, ids: Sequence[int], messages: Sequence[Sequence[Message]]) -> None:
        super().__init__(len(messages))
        self._mqtt = mqtt
        self._ids = ids
        self._messages = messages
        self._taken: int | None = None
        self.is_unread = False

    def send(self) -> None:
        """Publish all of them and wait until each is acknowledged."""
        mqtt, session = self._mqtt, self._mqtt.connection()
        flat = [(place, message) for place, of_frame in enumerate(self._messages) for message in of_frame]
        codes: list[int] = []
        self._taken, lost = 0, None
        try:
            session.deliver([message for _, message in flat], codes)
        except Lost as error:
            lost = error
        for (place, message), code in zip(flat, codes, strict=False):
            if failure := judge(mqtt.where, mqtt.area(message.topic), code):
                self._taken = place
                mqtt.suspect = self._ids[place]
                if lost and not isinstance(failure, BadFrame):
                    raise Lost(str(failure)) from lost  # this is why, and it has to be opened again
                raise failure
        if lost and len(codes) < len(flat):  # the last may be acknowledged together with the end
            self._taken = at = flat[len(codes)][0]
            before, mqtt.suspect = mqtt.suspect, self._ids[at]
            if before == mqtt.suspect and lost.unacknowledged == self.count == 1:
                raise BadFrame(f"{lost}, each time it is sent") from lost
            raise lost
        self.is_unread = mqtt.is_unread = set(codes) == {NOBODY_READS}
        self._taken = self.count
        mqtt.suspect = None

    def delivered(self) -> Progress | None:
        """Return how many were acknowledged; None of what another run may have sent."""
        return None if self._taken is None else Progress(self._taken)


class Confirmed(Messages):
    """Messages that name themselves and the one before, until a relay says that it has them on its disk."""

    def __init__(self, mqtt: Mqtt, confirmations: Confirmations, batch: Batch, count: int) -> None:
        before = confirmations.last
        messages = []
        first_of = {epoch: at for at, epoch in reversed([*enumerate(batch.epochs)])}
        count = min([count, *sorted(first_of.values())[_EPOCHS:][:1]])
        self._own = list(zip(batch.epochs, batch.ids, strict=True))[:count]
        for own, frame in zip(self._own, batch.frames, strict=False):
            identity = Identity(mqtt.gateway, *own, before, confirmations.last)
            messages.append([log_message(mqtt.base, frame, identity)])
            before = own
        super().__init__(mqtt, batch.ids[:count], messages)
        self._confirmations = confirmations
        self.until = 0.0

    def send(self) -> None:
        """Publish all of them; `look` finds what is confirmed later."""
        self._confirmations.again = False
        super().send()
        self._wait_from(self._mqtt.clock.monotonic())
        if self.unconfirmed and self.is_unread:
            self._mqtt.unconfirmed = None
            raise TryLater(
                f"{self._mqtt.where}: nobody subscribes to {self._mqtt.base}/log: no relay is there"
            )

    def look(self, now: float) -> None:
        """Note what is confirmed by now. Raises TryLater if it has to be sent again."""
        left = self.count - self._confirmations.count(self._own)
        if left < self.unconfirmed:
            self._wait_from(now)
        self.unconfirmed = left
        again = self._confirmations.again
        if left and not again and now < self.until:
            return
        self._mqtt.unconfirmed = None
        if left and again:
            raise TryLater(f"{self._mqtt.where}: messages were lost before the relay, and are sent again")
        if left:
            raise TryLater(f"{self._mqtt.where}: no relay confirms what it gets; is one running?")

    def delivered(self) -> Progress | None:
        """Return how many the relay has; a relay that has never answered takes none of them twice."""
        return Progress(self._confirmations.count(self._own))

    def _wait_from(self, now: float) -> None:
        self.unconfirmed = self.count - self._confirmations.count(self._own)
        self.until = now + _PATIENCE * self._mqtt.timeout
        self._mqtt.unconfirmed = self if self.unconfirmed else None
