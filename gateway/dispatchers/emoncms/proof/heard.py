"""What a running gateway knows that its configuration does not."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gateway.present.asking import RunningGateway
from gateway.present.exchange import from_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.conf.config import Configuration
    from gateway.frame import Frame


class Heard(NamedTuple):
    """The last frame of each node, and the nodes that each dispatcher's server refuses, with the reason."""

    frames: Sequence[Frame] = ()
    refused: Mapping[str, Mapping[str, str]] = MappingProxyType({})


def heard(configuration: Configuration) -> Heard:
    """Ask the gateway that runs with this file; empty if none answers.

    Raises PermissionError if this user may not ask it.
    """
    gateway = RunningGateway(configuration.path, configuration.gateway.find_socket())
    try:
        status = gateway.status()
        if not gateway.runs_with(configuration.path, status):
            return Heard()
        frames = [from_object(frame) for frames in gateway.ask("nodes").values() for frame in frames]
        refused = {
            name: {node: about.reason for node, about in each.refused_nodes.items()}
            for name, each in status.dispatchers.items()
        }
        return Heard(frames, refused)
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Heard()
