"""The queue on disk, between the listeners and the dispatchers."""

from gateway.spool.limits import Limits
from gateway.spool.spool import Refused, Spool, Standing, Waiting
from gateway.store.store import SpoolUnusable

__all__ = ["Limits", "Refused", "Spool", "SpoolUnusable", "Standing", "Waiting"]
