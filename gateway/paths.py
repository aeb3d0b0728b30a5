"""Where the daemon has its file, its state and its socket, for the daemon and for those who look for it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

DEFAULT_FILE = Path("/etc/oemgateway.conf")
STATE = Path("/var/lib/oemgateway")
SOCKET = Path("/run/oemgateway/control")

_FLEETING = ("tmpfs", "ramfs", "overlay")


def own_state() -> Path:
    """Return the directory for a user who may not write to /var/lib."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "oemgateway"


def make_state_dir(named: Path | None) -> Path:
    """Return the directory of queue and indices, made where it is missing.

    It is the one that the configuration names; otherwise /var/lib/oemgateway, or the user's own where that
    cannot be written. Raises OSError where there is none to be had.
    """
    for directory in [named] if named else [STATE, own_state()]:
        if _writable(directory, 0o750):
            return directory
    raise OSError(f"{named or own_state()} cannot be written; name another directory: [gateway] state_dir")


def find_state_dir(named: Path | None) -> Path:
    """Return the directory that a daemon with this setting uses, as far as can be seen from outside."""
    if named:
        return named
    return own_state() if (own_state() / "queue.db").exists() and not os.access(STATE, os.W_OK) else STATE


def make_socket_path(named: Path | None, state_dir: Path) -> Path:
    """Return where to put the socket: named, in /run/oemgateway, or beside the queue."""
    if named:
        return named
    return SOCKET if _writable(SOCKET.parent) else state_dir / "control"


def find_socket(named: Path | None, state_dir: Path) -> Path:
    """Return where the socket of a daemon with these settings is."""
    beside = state_dir / "control"
    return named or (SOCKET if SOCKET.exists() or not os.access(beside, os.F_OK) else beside)


def _writable(directory: Path, mode: int = 0o755) -> bool:
    try:
        directory.mkdir(mode, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def give_to_owner(path: Path) -> None:
    """Have what root has made belong to whom its directory does: the service has to read it afterwards."""
    if os.geteuid() == 0:
        about = path.parent.stat()
        with suppress(OSError):
            os.chown(path, about.st_uid, about.st_gid)


def fleeting(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system there if it is one that a power cut empties, "" otherwise.

    An overlay is one where its upper layer is in memory, as on a Pi whose card is protected.
    """
    kinds = {}
    try:
        for line in mounts.read_text(encoding="utf-8").splitlines():
            place, _, kind = line.partition(" - ")
            kinds[Path(place.split()[4])] = kind.split()[0]
    except (OSError, IndexError):
        return ""
    resolved = directory.resolve()
    kind = next((kinds[path] for path in (resolved, *resolved.parents) if path in kinds), "")
    return kind if kind in _FLEETING else ""
