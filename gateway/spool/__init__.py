"""The queue on disk, between the listeners and the dispatchers."""

from gateway.spool.contents import Refused, Standing, Waiting
from gateway.spool.limits import Limits
from gateway.spool.spool import Spool
from gateway.store.store import SpoolUnusable

__all__ = ["Limits", "Refused", "Spool", "SpoolUnusable", "Standing", "Waiting"]
