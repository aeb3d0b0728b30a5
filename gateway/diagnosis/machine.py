"""The machine that the gateway runs on, as one user may use it."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from gateway.diagnosis.finding import Finding, bad, good
from gateway.paths import closed_above
from gateway.process.holders import Holder, of_file, text_of, user_name

SERVICE = "oemgateway"
"""The user of the service."""

READ, READ_WRITE, SEARCH, WRITE_SEARCH = 0o4, 0o6, 0o1, 0o3
"""Permission bits that a user needs: for a file, for a device, and for a directory."""

_ELSEWHERE = "keep the file itself in another directory, such as /etc"
"""The cure where a user may not enter a directory above a file, or above what it links to."""


def to_read(user: str, file: Path) -> str:
    """Return the commands that let a user read a file by the group of the same name; its owner still may."""
    return f"sudo chgrp {user} {file}, then sudo chmod g+r {file}"


def cure_to_read(file: Path) -> str:
    """Return how this user can get to read the configuration after all: sudo does not help a service."""
    if user_name(os.geteuid()) != SERVICE:
        return "put sudo before the command, as it holds a key"
    if closed := closed_above(file):
        return f"{SERVICE} may not enter {closed}: {_ELSEWHERE}"
    return f"{SERVICE} may not read it: {to_read(SERVICE, file)}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The system below `root`, for a user with a name, an id and the ids of the user's groups.

    `live`: this is the machine itself, so that its buses and servers can be asked. `running` are the sections
    of the running gateway, of the process `gateway`: their hardware is in use.
    """

    root: Path
    user: str
    uid: int
    gids: frozenset[int]
    live: bool
    running: frozenset[str] = frozenset()
    gateway: int = 0

    @classmethod
    def below(cls, root: Path) -> Machine:
        """Return the machine below a directory for the user of this process; OSError if there is none.

        For root it is the machine for the service's user, if there is one, as root may do anything.
        """
        if not root.is_dir():
            raise NotADirectoryError(f"{root}: the directory that a system is in expected, and there is none")
        live = root.resolve() == Path("/")
        uid = os.geteuid()
        with suppress(KeyError):
            if uid == 0 and live:
                service = pwd.getpwnam(SERVICE)
                gids = frozenset(os.getgrouplist(SERVICE, service.pw_gid))
                return cls(root=root, user=SERVICE, uid=service.pw_uid, gids=gids, live=live)
        gids = frozenset((os.getegid(), *os.getgroups()))
        return cls(root=root, user=user_name(uid), uid=uid, gids=gids, live=live)

    def path(self, path: str | Path) -> Path:
        """Return where an absolute path of the machine is."""
        return self.root / str(path).lstrip("/")

    def exists(self, path: str | Path) -> bool:
        """Tell whether the path exists, as far as the user may see."""
        return os.path.exists(self.path(path))  # noqa: PTH110  (Path's raises where a mount is dead)

    def text(self, path: str | Path) -> str:
        """Return the text of a file, "" if it cannot be read."""
        return text_of(self.path(path))

    def lines(self, path: str | Path) -> list[str]:
        """Return the lines of a file without comments, blanks at the ends, and empty lines."""
        stripped = (line.partition("#")[0].strip() for line in self.text(path).splitlines())
        return [line for line in stripped if line]

    def names(self, pattern: str) -> list[str]:
        """Return the last parts of the paths that match, sorted, also of links that lead to nothing here."""
        folder, _, name = pattern.strip("/").rpartition("/")
        found: set[str] = set()
        for directory in self.root.glob(folder) if folder else [self.root]:
            with suppress(OSError):
                found.update(path.name for path in directory.iterdir() if fnmatchcase(path.name, name))
        return sorted(found)

    def link(self, path: str | Path) -> str:
        """Return the last part of the target of a symbolic link, or of the path if it is not one."""
        try:
            return self.path(path).readlink().name
        except OSError:
            return Path(path).name

    def boot(self, name: str) -> str:
        """Return the path of a file of the Pi's firmware: in /boot/firmware, before 2023 in /boot."""
        newer = f"/boot/firmware/{name}"
        return newer if self.exists(newer) else f"/boot/{name}"

    def loaded(self, module: str) -> bool:
        """Tell whether a module of the kernel is loaded."""
        return any(line.split()[0] == module for line in self.lines("/proc/modules"))

    def rival(self, path: str) -> Holder | None:
        """Return which process has a device open, as far as is seen, unless it is the running gateway."""
        holder = of_file(path) if self.live else None
        return None if holder and holder.pid == self.gateway else holder

    def programs(self) -> set[str]:
        """Return the names of all running programs."""
        return {self.text(f"/proc/{pid}/comm").strip() for pid in self.names("/proc/[0-9]*")}

    def allows(self, path: str | Path, wanted: int) -> bool:
        """Tell whether the user has these permissions, by owner, group and mode."""
        about = self.path(path).stat()
        if self.uid == 0:
            return True
        shift = 6 if self.uid == about.st_uid else 3 if about.st_gid in self.gids else 0
        return about.st_mode >> shift & wanted == wanted

    def unreadable(self, *files: Path | None) -> list[Finding]:
        """Return a fault for each of these files that is there and that the user may not read."""
        faults = []
        for file in files:
            if not file or not self.exists(file):
                continue
            if unreachable := self.unreachable(file, _ELSEWHERE):
                faults.append(unreachable)
            elif not self.allows(file, READ):
                faults.append(bad(f"{self.user} may not read {file}", to_read(self.user, file)))
        return faults

    def unreachable(self, file: Path, cure: str) -> Finding | None:
        """Return a fault where the user may not enter a directory above a file: no right of its own helps."""
        closed = self._closed_above(file)
        return bad(f"{self.user} may not enter {closed}, where {file} is", cure) if closed else None

    def _closed_above(self, file: Path) -> Path | None:
        """Return the first directory above a file, or above what it links to, that the user may not enter."""
        place = self.path(file)
        for above in (*reversed(place.parents), *reversed(place.resolve().parents)):
            if above != self.root and above.is_relative_to(self.root):
                directory = Path("/") / above.relative_to(self.root)
                if not self.allows(directory, SEARCH):
                    return directory
        return None

    def examine_rights(self, path: str, usual: str) -> Finding:
        """Return whether the user may use a device; on most machines the group `usual` may."""
        if self.allows(path, READ_WRITE):
            return good(f"{self.user} may read and write {path}")
        about = self.path(path).stat()
        group = self._group(about.st_gid)
        if about.st_mode >> 3 & READ_WRITE != READ_WRITE or about.st_gid == 0:
            return bad(f"only root may use {path}", f"a rule of udev has to give it to the group {usual}")
        return bad(
            f"{self.user} is not in the group {group}, which {path} belongs to",
            f"sudo usermod -aG {group} {self.user}, then log in again (and restart the gateway)",
        )

    def _group(self, gid: int) -> str:
        entries = (line.split(":") for line in self.lines("/etc/group"))
        return next((entry[0] for entry in entries if entry[2:3] == [str(gid)]), str(gid))
