"""Reads each line of a log file once, however the file is rotated.

An inode is not an identity: it is reused at once (20 times out of 20 on ext4). A file is known by its
beginning and by the bytes before the offset, which no rotation changes. By these a rotated file is found
again, under another name or compressed, even after a restart. A file that is written anew, as by an editor or
by rsync, is known by the lines that were read last.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from listeners.lograte.files import read, rotated_files
from listeners.lograte.position import START, Position
from listeners.lograte.source import BEGINNING, NOTHING, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LATE = 10.0
"""Seconds for which a rotated file is still read after its last line: its program may not know yet."""
_KNOWN = 500
"""Rotated files that are remembered."""
_WANTED = 20
"""Positions that are remembered while their files are missing."""


class Follower:
    """What is new in a log file since the last look; `now` is by the monotonic clock.

    `has_rotated` says that a file was rotated since `state` was asked for: files that it names may be gone.
    Without a state of an earlier run it `is_first`, and begins at the end of the file. Rotated files are
    beside the file, or in `olddir`. `lost` counts those that were not found, and `unreadable` says which one
    could not be read last, and why.
    """

    def __init__(
        self, path: Path, state: dict[str, Any], now: Callable[[], float], olddir: Path | None = None
    ) -> None:
        self.lost = 0
        self.unreadable = ""
        self.has_rotated = False
        self._path = path
        self._folders = {path.parent, olddir or path.parent}
        self._now = now
        self._sources: list[Source] = []
        self._is_over: Callable[[], bool] = lambda: False
        # By their keys, those that earlier versions know.
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._held: dict[Position, list[bool]] = {}
        self._wanted: dict[Position, float | None] = {}
        self._looked_at: set[tuple[int, int, int]] = set()
        self.is_first = not self._recall(state)

    def _recall(self, state: dict[str, Any]) -> bool:
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            given_up = state.get("given_up", [])
            for each in (*given_up, *state["positions"]):
                position = Position(*map(int, each))
                if not 0 <= position.start <= position.offset < 1 << 63:
                    return False
                if position.is_begun:
                    self._wanted[position] = None if each in given_up else self._now()
            known = [(int(length), int(crc)) for length, crc in state["known"]]
            longer = [(int(length), int(crc)) for length, crc in state.get("longer", known)]
            self._known = dict(zip(longer, known, strict=True))
            return True
        return False

    def state(self) -> dict[str, Any]:
        """Return where it is, as JSON can have it."""
        self.has_rotated = False
        wanted = [position for position, since in self._wanted.items() if since is not None]
        positions = [*wanted, *(source.position for source in self._sources if not source.is_replaced)]
        known = [
            (longer, key)
            for longer, key in self._known.items()
            if all(each.position.is_begun or each.key(longer[0]) != longer for each in self._sources)
        ]
        return {
            "positions": [position.numbers for position in positions],
            "given_up": [each.numbers for each, since in self._wanted.items() if since is None],
            "known": [[*key] for _, key in known],
            "longer": [[*longer] for longer, _ in known],
        }

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()
        self._sources = []

    def begin(self) -> None:
        """Find out where to begin, if there is a file that can be read."""
        with suppress(OSError):
            self._look()

    @property
    def is_behind(self) -> bool:
        """Whether the last poll left lines for the next one."""
        return any(source.is_behind for source in self._sources)

    def poll(self, is_over: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        """Yield the new lines, some at a time; those yielded last count as read when it resumes.

        When the time `is_over`, the rest is for the next poll: a file may grow as fast as it is read. Raises
        OSError if the file cannot be read.
        """
        self._is_over = is_over
        for source in [*self._sources]:
            yield from self._read(source)
        missing = self._look()
        for source in [*self._sources]:
            yield from self._read(source)
        if missing:
            raise missing
        yield from self._finish()
        for position, since in self._wanted.items():
            if since is not None and self._now() >= since + LATE:
                self._wanted[position] = None
                self.lost += 1

    def _read(self, source: Source, *, rest: bool = False) -> Iterator[bytes]:
        with suppress(*[OSError] if source.final else []):
            for lines in source.lines(self._is_over, rest=rest or source.final):
                yield lines
                source.since = self._now()

    def _finish(self) -> Iterator[bytes]:
        """Close the rotated files that are no longer written to."""
        for source in self._sources[:-1]:
            if source.final or self._now() >= source.since + LATE:
                yield from self._read(source, rest=True)
                if not source.is_behind:
                    source.close()
                    self._sources.remove(source)
                    self.has_rotated = True

    def _look(self) -> FileNotFoundError | None:
        """Find out whether the file was rotated, and if so open what there is to read.

        Return the error if the file itself is missing and was not open before.
        """
        current = self._sources[-1] if self._sources else None
        is_truncated = current is not None and not current.position.holds(current.file)
        self._held.clear()
        if current and is_truncated:
            if place := self._place_in(current, current):
                current.begin(place)
                self.has_rotated, is_truncated = True, False
            else:
                self._wanted[current.position] = self._now()
                self._wanted = dict([*self._wanted.items()][-_WANTED:])
                current.begin(START)
        new = missing = None
        try:
            new = self._open_new(current)
        except FileNotFoundError as error:
            missing = error
        added = self._open_rotated(new or (None if is_truncated else current))
        self.has_rotated |= is_truncated or bool(new or added)
        if new:
            if current:
                current.since = self._now()
            self._sources += [*added, new]
        elif current:
            self._sources[-1:] = [*added, current]
        else:
            self._sources += added
        self.is_first = False
        return missing

    def _open_new(self, current: Source | None) -> Source | None:
        """Return the file that is there now, where it is not the current one."""
        try:
            about = self._path.stat()
        except FileNotFoundError:
            if current or self.is_first:
                return None  # it is between two names, or not there yet
            raise
        if current and current.inode == (about.st_dev, about.st_ino):
            return None
        new = Source(self._path, self._now())
        if self.is_first:
            new.begin_at_end()
        elif current and (place := self._place_in(new, current)):
            new.begin_beside(current, place)
            current.is_replaced = True
        else:
            self._go_on(new, is_log=True)
        return new

    def _place_in(self, log: Source, left: Source) -> Position | None:
        """Return where a log that was written anew goes on after what was read, unless that was rotated."""
        place = left.place_in(log.file)
        return None if place and self._holders(left.position) else place

    def _go_on(self, source: Source, *, is_log: bool = False) -> None:
        """Move a source to where its file was left; a power cut may have cut off the end of the log."""
        found = self._left_in_log(source) if is_log else self._left_in(source)
        if found and is_log and not found.holds(source.file):
            source.begin_after_cut(found)
        elif found:
            source.begin(found)
        if found:
            del self._wanted[found]

    def _left_in_log(self, log: Source) -> Position | None:
        """Return the position at which the log was left, unless that is one of a rotated file."""
        begun = [each for each in self._by_offset() if each.begins(log.file)]
        for each in begun:
            if each.holds(log.file) and all(self._holders(each, log)):
                return each
        return next((each for each in begun if not self._holders(each, log)), None)

    def _by_offset(self) -> list[Position]:
        return sorted(self._wanted, key=lambda each: each.offset, reverse=True)

    def _left_in(self, source: Source) -> Position | None:
        """Return the position at which a rotated file was left, if it is one of those wanted.

        A copy may have been made before all was read. One that is known has the position if no other file has
        it: each may have the same header.
        """
        wanted = self._by_offset()
        if found := next((each for each in wanted if each.holds(source.file)), None):
            is_known = source.begins_with(self._known)
            return None if is_known and not all(self._holders(found)) else found
        return next((each for each in wanted if each.fits(source.file) and not self._holders(each)), None)

    def _holders(self, position: Position, log: Source | None = None) -> list[bool]:
        """Return of each rotated file that has a position, and is no copy of the log, whether it is known."""
        if log is None and position in self._held:
            return self._held[position]
        held = []
        for path, _, ending in rotated_files(self._path, self._folders):
            with suppress(OSError), closing(Source(path, 0.0, ending)) as rotated:
                if position.holds(rotated.file) and not (log and log.begins_like(rotated)):
                    held.append(rotated.begins_with(self._known))
        if log is None:
            self._held[position] = held
        return held

    def _open_rotated(self, written: Source | None) -> list[Source]:
        """Return the rotated files that are not known yet, the oldest first.

        `written` is the file itself, None if it was truncated since the last look.
        """
        added, looked_at = [], set()
        open_now = [each for each in (*self._sources, written) if each and not each.is_replaced]
        for path, about, ending in rotated_files(self._path, self._folders):
            signature = (about.st_ino, about.st_mtime_ns, about.st_size)
            if signature in self._looked_at:
                looked_at.add(signature)
                continue
            looked_at.add(signature)
            with self._unread(path), ExitStack() as opened:
                source = Source(path, self._now(), ending)
                opened.callback(source.close)
                if source.inode != (about.st_dev, about.st_ino):  # it has been renamed by now
                    looked_at.remove(signature)
                    continue
                key, is_new = source.key(BEGINNING), self._is_new(source)
                same = [each for each in open_now if each.begins_like(source)]
                if is_new and written and (written in same or not written.position.holds(written.file)):
                    # It was copied, and is about to be truncated: the next poll shows it.
                    looked_at.remove(signature)
                    continue
                left = next((each for each in open_now if each.is_left_in(source)), None)
                if is_new and left and same in ([], [left]):
                    source.begin_beside(left, left.position)
                    is_new = bool(read(source.file, source.position.offset, 1))
                elif is_new and not same and not self.is_first:  # what is open was renamed, or compressed
                    self._go_on(source)
                else:
                    is_new = False
                if key != NOTHING:
                    self._known[key] = source.key()
                if is_new:
                    added.append(source)
                    opened.pop_all()
        self._looked_at = looked_at
        for key in [*self._known][:-_KNOWN]:
            del self._known[key]
        return added

    def _is_new(self, source: Source) -> bool:
        """Tell whether a rotated file is to be read; a short one that was seen may have grown since.

        One that was seen, and was open when the last run ended, is read on from there.
        """
        found = self._left_in(source)
        if found and self._wanted[found] is not None:
            return True
        return source.key() != NOTHING and not source.begins_with(self._known)

    @contextmanager
    def _unread(self, path: Path) -> Iterator[None]:
        """Note that a rotated file cannot be read."""
        try:
            yield
        except OSError as error:
            self.unreadable = f"{path.name}: {error.strerror or error}"
