"""A worker that serves its dispatcher while it waits, so that a connection can be kept alive."""

from __future__ import annotations

import math
import time

from gateway.flag import Flag, wait_readable
from gateway.plugin import DeliveryFailure, Dispatcher, Wake
from gateway.text.words import failure
from gateway.workers.trouble import GOOD_FOR
from gateway.workers.worker import Worker

_NEVER = Wake()


class ServedWorker(Worker[Dispatcher]):
    """Runs rounds. Between two of them, and in every wait within one, the dispatcher is served as it asks.

    One that wants to be served stays open, and is served, during the pause after a DeliveryFailure.
    """

    def step(self) -> None:
        """Serve what is due and do one round."""
        try:
            if self._is_served:
                self.wait_or_serve(0.0)
            self.round()
        except DeliveryFailure as error:
            if not self._is_served:
                raise
            self._pause(self._failed(failure(error)), self.wait)

    def round(self) -> None:
        """Do one round of work."""
        raise NotImplementedError

    def wait(self, seconds: float, *flags: Flag) -> bool:
        """Wait for a flag or `stop`, but no longer than that; tell whether one is up."""
        if not flags and not self._is_served:
            return self.stop.wait(seconds)
        until = time.monotonic() + seconds
        while not (is_up := self.wait_or_serve(until - time.monotonic(), *flags)):
            if time.monotonic() >= until:
                break
        return is_up

    def wait_or_serve(self, seconds: float, *flags: Flag) -> bool:
        """Wait as `wait` does, or until the dispatcher has been served once."""
        wake, now = self.plugin.wake(), time.monotonic()
        due = now + (math.inf if wake.seconds is None else wake.seconds)
        left = max(0.0, min(seconds, due - now))
        sources = [self.stop, *flags, *([] if wake.fileno is None else [wake.fileno])]
        ready = wait_readable(sources, None if left == math.inf else left)
        if wake.fileno in ready or time.monotonic() >= due:
            self.plugin.serve()
            self._look_whether_it_holds()
        return not ready.isdisjoint(flag.fileno() for flag in (self.stop, *flags))

    def _look_whether_it_holds(self) -> None:
        """End a trouble once the connection has held without a failure, even if there is nothing to send."""
        last = self.last_trouble
        if self.trouble and self.next_try is None and last and time.monotonic() >= last.at + GOOD_FOR:
            self.succeeded()

    @property
    def _is_served(self) -> bool:
        return self.plugin.wake() != _NEVER
