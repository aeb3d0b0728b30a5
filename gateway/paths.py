"""Where the configuration, the state directory and the socket are, for the daemon and for the commands."""

from __future__ import annotations

import os
import pwd
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path

DEFAULT_FILE = Path("/etc/oemgateway.conf")
DEFAULTS = Path("/etc/default/oemgateway")
STATE = Path("/var/lib/oemgateway")
SOCKET = Path("/run/oemgateway/control")
LONGEST_SOCKET = 107
"""Bytes of the path of a socket (man 7 unix)."""


def file_of_service() -> Path:
    """Return the configuration file that the service reads, which its defaults may name."""
    with suppress(OSError):
        text = DEFAULTS.read_text(encoding="utf-8", errors="surrogateescape")
        if named := re.findall(r"""(?m)^\s*CONFIG=["']?([^"'#\n]*[^"'#\s])""", text):
            return Path(named[-1])
    return DEFAULT_FILE


def own_state() -> Path:
    """Return the directory for a user who may not write to /var/lib."""
    return Path(os.environ.get("XDG_STATE_HOME") or _home() / ".local/state") / "oemgateway"


def _home() -> Path:
    """Return the user's home: HOME is that of another user where sudo keeps it."""
    with suppress(KeyError, RuntimeError, OSError):
        home, user = Path.home(), os.geteuid()
        may_write = user and os.access(home, os.W_OK | os.X_OK)  # root may write to any
        return home if may_write or home.stat().st_uid == user else Path(pwd.getpwuid(user).pw_dir)
    return Path("/")


def closed_above(path: Path) -> Path | None:
    """Return the first directory above a path that this user may not enter, None if there is none."""
    above = [*reversed(path.absolute().parents), *reversed(path.resolve().parents)]
    return next((each for each in above if os.access(each, os.F_OK) and not os.access(each, os.X_OK)), None)


def hidden(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return why this process cannot reach a path that others can, and what to do; "" if it is not known."""
    if closed := closed_above(path):
        return f"this user may not enter {closed}: use another directory"
    with suppress(OSError):
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            source, place = line.split()[3:5]
            if "systemd-private-" in source and path.is_relative_to(place):
                return f"the service has a {place} of its own (PrivateTmp): use another directory"
    return ""


def make_state_dir(named: Path | None) -> Path:
    """Return the directory of queue and indices, made where it is missing.

    It is the one that the configuration names; otherwise /var/lib/oemgateway, or the user's own if that
    cannot be written. Raises OSError if none can be written.
    """
    for directory in [named] if named else [STATE, own_state()]:
        if _writable(directory, 0o750):
            return directory
    raise OSError(f"{named or own_state()} cannot be written; name another directory: [gateway] state_dir")


def find_state_dir(named: Path | None, file: Path | None = None, socket_named: Path | None = None) -> Path:
    """Return the directory that a daemon with these settings uses, as far as can be seen from outside.

    With the file of the service that is the service's, even for a user who once ran the gateway by hand with
    it, unless it runs so now.
    """
    if named:
        return named
    own = own_state()
    if os.access(STATE, os.W_OK) or not os.access(own / "queue.db", os.F_OK):
        return STATE
    is_services = os.access(STATE, os.F_OK) and file and file.resolve() == file_of_service().resolve()
    return STATE if is_services and not _is_answered_by_us(find_socket(socket_named, own)) else own


def check_socket(path: Path) -> None:
    """Raise ValueError for a path that a socket cannot have."""
    if (length := len(os.fsencode(path))) > LONGEST_SOCKET:
        raise ValueError(f"a path of at most {LONGEST_SOCKET} bytes expected, not of {length}")


def make_socket_path(named: Path | None, state_dir: Path) -> Path:
    """Return where to put the socket: as configured, in /run/oemgateway, or next to the queue."""
    if named:
        return named
    return SOCKET if _writable(SOCKET.parent) else state_dir / "control"


def find_socket(named: Path | None, state_dir: Path) -> Path:
    """Return where the socket of a daemon with these settings is."""
    beside = state_dir / "control"
    return named or (SOCKET if SOCKET.exists() or not os.access(beside, os.F_OK) else beside)


def _is_answered_by_us(path: Path) -> bool:
    """Tell whether a process of this user listens at a socket."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(os.fspath(path))
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return bool(struct.unpack("3i", peer)[1] == os.geteuid())
    return False


def _writable(directory: Path, mode: int = 0o755) -> bool:
    try:
        directory.mkdir(mode, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)
