"""Where the running gateway can be asked, for a command whose user may perhaps not read the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.conf import config
from gateway.conf.config import ConfigFaults, Gateway
from gateway.paths import DEFAULT_FILE, find_socket, find_state_dir

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_gateway(file: Path) -> tuple[Path, ConfigFaults | None]:
    """Return the socket of the gateway that runs with a file, and why that file cannot be read, if it cannot.

    The socket is then taken to be where it is by default. Raises ConfigFaults where a file was named that is
    not there, or is none.
    """
    unread = None
    try:
        gateway = config.read_gateway(file)  # what runs may not follow the rest of the file
    except ConfigFaults as faults:
        usual = file == DEFAULT_FILE and isinstance(faults.__cause__, FileNotFoundError)
        if not usual and not is_secret(faults):
            raise
        gateway, unread = Gateway(), faults
    return find_socket(gateway.socket, find_state_dir(gateway.state_dir)), unread


def is_secret(unread: ConfigFaults) -> bool:
    """Tell whether a file cannot be read because this user may not."""
    return isinstance(unread.__cause__, PermissionError)


def is_another(status: Mapping[str, Any], file: Path) -> bool:
    """Tell whether the gateway that gave this status runs with another file than the one that was meant."""
    return file != DEFAULT_FILE and Path(str(status.get("file", ""))).resolve() != file.resolve()
