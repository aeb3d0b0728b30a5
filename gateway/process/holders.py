"""Which program has a TCP port or a file, as far as this user may see in /proc."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
UNSEEN = "another program has it open (`sudo oemgateway doctor` says which): stop that one"

_LISTENS = "0A"
"""The state of a socket in /proc/net/tcp (include/net/tcp_states.h)."""
_SERVICE = re.compile(r"/system\.slice/(?:.*/)?([\w@.-]+)\.service$", re.MULTILINE)


@dataclass(frozen=True)
class Holder:
    """A process (0: this user may not see which), with its program, user, and service of systemd.

    `is_command` is one of ours on the queue. It ends by itself; killing it could leave work half done.
    """

    pid: int = 0
    program: str = ""
    user: str = ""
    service: str = ""
    is_command: bool = False

    def __str__(self) -> str:
        if self.pid:
            return f"{self.program or 'a process'} (pid {self.pid})"
        return (
            f"a program of {self.user} (`sudo oemgateway doctor` says which)"
            if self.user
            else "another program"
        )

    @property
    def cure(self) -> str:
        """What ends it."""
        if self.is_command:
            return "wait until it has ended"
        if self.service:
            return f"sudo systemctl stop {self.service}"
        if self.pid and self.user == "oemgateway":
            return "sudo service oemgateway stop"
        return f"sudo kill {self.pid}" if self.pid else "stop that program"

    @property
    def restart(self) -> str:
        """What ends a gateway and starts it again."""
        if self.service:
            return f"sudo systemctl restart {self.service}"
        if self.pid and self.user != "oemgateway":
            return f"sudo kill {self.pid}, and start it again"
        return "sudo service oemgateway restart"


def of_process(pid: int, proc: Path = PROC) -> Holder:
    """Return what is known of a process."""
    folder = proc / str(pid)
    try:
        user = user_name(folder.stat().st_uid)
    except OSError:
        return Holder(pid)
    service = _SERVICE.search(text_of(folder / "cgroup"))
    words = text_of(folder / "cmdline").split("\0")
    is_command = "queue" in words and any(Path(word).name in ("gateway", "oemgateway") for word in words)
    program = "oemgateway queue" if is_command else text_of(folder / "comm").strip()
    return Holder(pid, program, user, service[1] if service else "", is_command)


def of_port(host: str, number: int, proc: Path = PROC) -> Holder | None:
    """Return who occupies this address and TCP port; None if nobody is seen to listen there."""
    for name in ("tcp", "tcp6"):
        for line in text_of(proc / "net" / name).splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == _LISTENS and int(port, 16) == number and _collides(host, address):
                return _opener(f"socket:[{fields[9]}]", proc) or Holder(user=user_name(int(fields[7])))
    return None


def of_file(path: Path | str) -> Holder | None:
    """Return which other process has a file or device open; None if none is seen to."""
    return _opener(os.path.realpath(path), PROC, but=os.getpid())


def is_ours(path: Path | str, proc: Path = PROC) -> bool:
    """Tell whether this process has a file or device open, perhaps by another name."""
    return os.getpid() in _openers(os.path.realpath(path), proc)


def user_name(uid: int) -> str:
    """Return the name of a user, or the number if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _collides(host: str, listening: str) -> bool:
    """Tell whether a server on `host` conflicts with one that listens at this address of /proc/net/tcp."""
    words = [struct.pack("=I", int(listening[at : at + 8], 16)) for at in range(0, len(listening), 8)]
    theirs = ipaddress.ip_address(b"".join(words))
    try:
        ours = ipaddress.ip_address(host)
    except ValueError:  # a name
        return True
    return ours.is_unspecified or theirs.is_unspecified or ours == theirs


def of_pipe(fd: int, proc: Path = PROC) -> list[int]:
    """Return the numbers of the other processes that have the pipe of a descriptor of ours open."""
    return [pid for pid in _openers(f"pipe:[{os.fstat(fd).st_ino}]", proc) if pid != os.getpid()]


def _opener(target: str, proc: Path, but: int = 0) -> Holder | None:
    """Return the first process with a descriptor that leads there."""
    pid = next((pid for pid in _openers(target, proc) if pid != but), None)
    return None if pid is None else of_process(pid, proc)


def _openers(target: str, proc: Path) -> Iterator[int]:
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError):  # it has gone, or is another user's
            if any(_leads_to(target, each) for each in (folder / "fd").iterdir()):
                yield int(folder.name)


def _leads_to(target: str, descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == target
    except OSError:  # closed meanwhile, as the one that this process lists its own with
        return False


def text_of(path: Path) -> str:
    """Return the text of a file, "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
