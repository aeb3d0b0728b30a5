"""listeners/lograte/follower.py: every line once, whatever rotates the file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listeners.lograte.follower import LATE, Follower
from listeners.lograte.source import CHUNK

LINE = len("000000 a line of some length, as they are\n")


class Log:
    """A log file whose lines are numbered, and what was read of it."""

    def __init__(self, directory):
        self.path = directory / "mail.log"
        self.written = 0
        self.read = []
        self.now = 0.0
        self.late = False
        self.touched = 1_700_000_000
        self.state = {}
        self.olddir = None
        self.offset = None
        self.begin()

    def begin(self):
        self.follower = Follower(self.path, self.state, lambda: self.now, self.olddir)

    def restart(self):
        self.state = self.follower.state()
        self.follower.close()
        self.begin()

    def write(self, count=1, to=None):
        with (to or self.path).open("a" if to or self.offset is None else "r+") as file:
            if not to and self.offset is not None:
                file.seek(self.offset)
                self.offset += count * LINE
            for _ in range(count):
                file.write(f"{self.written:06} a line of some length, as they are\n")
                self.written += 1
        self.touch(to or self.path)

    def keep_offset(self):
        """Have its program write on at its own offset, as `program > mail.log` does."""
        self.path.touch()
        self.offset = self.path.stat().st_size

    def begin_file(self):
        self.path.touch()
        if self.offset is not None:
            self.offset = 0

    def touch(self, path):
        """Give a file a time of its own: the clock of a file system is coarse, and these tests are quick."""
        self.touched += 1
        os.utime(path, (self.touched, self.touched))

    def poll(self):
        for lines in self.follower.poll():
            self.read += [int(line[:6]) for line in lines.decode().splitlines()]

    def shift(self):
        for number in range(30, 0, -1):
            for ending in ("", ".gz"):
                old = self.path.with_name(f"mail.log.{number}{ending}")
                if old.exists():
                    old.rename(self.path.with_name(f"mail.log.{number + 1}{ending}"))

    def rename(self):
        self.shift()
        self.path.rename(self.path.with_name("mail.log.1"))
        self.begin_file()

    def restart_without_a_file(self):
        """Have the file missing at a start; its rotated ones are there."""
        self.shift()
        self.path.rename(self.path.with_name("mail.log.1"))
        self.restart()
        with suppress(FileNotFoundError):
            self.poll()
        self.begin_file()

    def copytruncate(self, *, restart=False):
        self.shift()
        shutil.copyfile(self.path, self.path.with_name("mail.log.1"))
        if restart:
            self.restart()
            self.follower.begin()
        os.truncate(self.path, 0)
        self.touch(self.path.with_name("mail.log.1"))

    def compress(self, ending=".gz", compress=gzip.compress):
        for file in self.path.parent.glob("mail.log.*"):
            if file.suffix != ending:
                about = file.stat()
                packed = file.with_name(f"{file.name}{ending}")
                packed.write_bytes(compress(file.read_bytes()))
                os.utime(packed, ns=(about.st_atime_ns, about.st_mtime_ns))
                file.unlink()

    def assert_all_once(self, after=0):
        assert sorted(self.read) == list(range(after, self.written))


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    yield log
    log.follower.close()


@pytest.fixture
def begun(log):
    """A log with ten lines of before."""
    log.write(10)
    log.poll()
    assert log.read == []
    return log


ROTATIONS = [Log.rename, Log.copytruncate]


def test_it_begins_at_the_end(begun):
    begun.write(3)
    begun.poll()
    assert begun.read == [10, 11, 12]


def test_a_file_that_comes_later_is_read_from_its_beginning(log):
    log.poll()
    with pytest.raises(FileNotFoundError):
        log.poll()
    log.write(3)
    log.poll()
    log.assert_all_once()


def test_a_line_is_read_when_it_is_whole(begun):
    with begun.path.open("a") as file:
        file.write("000010 half")
        file.flush()
        begun.poll()
        assert begun.read == []
        file.write(" and half\r\n")
    begun.poll()
    assert begun.read == [10]


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("more", [1, 500])
def test_what_was_written_before_and_after_a_rotation_is_read_once(begun, rotate, more):
    begun.write(2)
    begun.poll()
    begun.write(3)
    rotate(begun)
    begun.write(more)
    begun.poll()
    begun.poll()
    begun.assert_all_once(10)


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize(("lines", "compress"), [(300, False), (4000, True)])
def test_several_rotations_between_two_looks_compressed_at_once_or_not(begun, rotate, lines, compress):
    for _ in range(4):
        begun.write(lines)
        rotate(begun)
        if compress:
            begun.compress()
    begun.write(1)
    begun.poll()
    begun.poll()
    begun.assert_all_once(10)


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize(("rotations", "compress"), [(0, False), (3, False), (3, True)])
def test_a_restart_goes_on_where_it_was_however_often_it_was_rotated_meanwhile(
    begun, rotate, rotations, compress
):
    begun.write(5)
    begun.poll()
    begun.restart()
    for _ in range(rotations):
        begun.write(100)
        rotate(begun)
        if compress:
            begun.compress()
    begun.write(5)
    begun.poll()
    begun.assert_all_once(10)


@pytest.mark.parametrize("more", [0, 1, 30])
def test_a_log_that_lost_its_end_in_a_power_cut_is_not_read_again(begun, more):
    # given a log of which the last lines were read, and not on the disk yet when the power went
    begun.write(100)
    begun.poll()
    os.truncate(begun.path, 90 * LINE)
    # when others have come before the gateway starts again
    begun.write(more)
    begun.restart()
    begun.poll()
    # then no line counts twice, and each that comes from now on counts
    seen = begun.written
    begun.write(5)
    begun.poll()
    assert len(begun.read) == len(set(begun.read))
    assert set(range(seen, begun.written)) <= set(begun.read)
    # nor is a file missing
    begun.now += 2 * LATE
    begun.poll()
    assert begun.follower.lost == 0


@pytest.mark.parametrize("count", [1, 300])
def test_a_new_log_that_begins_as_the_rotated_one_is_not_taken_for_one_that_lost_its_end(log, count):
    # given a log whose program writes a long line without a time first
    banner = f"000000 {'x' * 1200}\n"
    log.path.write_text(banner)
    log.written = 1
    log.write(100)
    log.poll()
    log.write(9)
    log.poll()
    # when it is rotated while the gateway is stopped
    log.rename()
    log.path.write_text(banner)
    log.write(count)
    log.restart()
    log.poll()
    log.poll()
    # then its lines are read, and those of the rotated one not again
    log.read.remove(0)
    log.assert_all_once(101)


def replace(log, text):
    """Write a text to another file, and give it the name of the log, as rsync does."""
    new = log.path.with_name("new")
    new.write_text(text)
    new.replace(log.path)


def write_over(log, text):
    log.path.write_text(text)


def edit(log, text):
    """Write a text as some editors do, which keep the file under another name."""
    log.path.rename(log.path.with_name("mail.log~"))
    log.path.write_text(text)


def without_its_beginning(text):
    return "".join(text.splitlines(keepends=True)[-50:])


def without_a_line(text):
    first, _, rest = text.partition("\n")
    return f"{first}\n{rest.partition(chr(10))[2]}"


@pytest.mark.parametrize("rewrite", [replace, write_over, edit])
@pytest.mark.parametrize("change", [str, without_its_beginning, without_a_line])
@pytest.mark.parametrize("count", [8, 100, 3000])
@pytest.mark.parametrize("is_behind", [False, True])
def test_a_file_that_is_written_anew_is_not_read_again(begun, rewrite, change, count, is_behind):
    for _ in range(3):
        # given lines that were read, all or not
        begun.write(count)
        if is_behind:
            begun.poll()
            begun.write(1)
        else:
            begun.poll()
        # when the same text is written once more, or some of it
        rewrite(begun, change(begun.path.read_text()))
        begun.poll()
        begun.write(5)
        begun.poll()
        begun.now += 2 * LATE
        begun.poll()
    # then each line is read once, and nothing is missing
    begun.assert_all_once(10)
    assert begun.follower.lost == 0


@pytest.mark.parametrize("count", [20, 3000])
def test_a_mirror_of_a_log_that_is_rotated(begun, tmp_path, count):
    # given a log and its rotated files that are copied from elsewhere, as by rsync
    source = tmp_path / "source"
    source.mkdir()
    there = Log(source)
    there.path.write_text(begun.path.read_text())
    there.written = begun.written
    for _ in range(4):
        for number in (count, 7):
            there.write(number)
            if number == 7:
                there.rename()
                there.write(2)
            # when
            for file in source.iterdir():
                copy = tmp_path / "new"
                shutil.copy2(file, copy)
                copy.replace(begun.path.with_name(file.name))
            begun.poll()
            begun.now += 2 * LATE
            begun.poll()
    # then
    begun.written = there.written
    begun.assert_all_once(10)
    assert begun.follower.lost == 0


def test_a_deleted_log_whose_lines_are_all_alike_is_not_taken_for_its_copy(begun):
    begun.path.write_text("000000 alike\n" * 100)
    begun.poll()
    begun.read.clear()
    begun.path.unlink()
    begun.path.write_text("000000 alike\n" * 300)
    begun.poll()
    assert begun.read == [0] * 300


HEADER = "000000 the same in each log\n" * 50


@pytest.mark.parametrize("rotations", [1, 3])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("is_stopped", [False, True])
@pytest.mark.parametrize("count", [5, 100])
def test_logs_with_the_same_header_are_told_apart(log, rotations, compress, is_stopped, count):
    # given logs each of which begins with a header that is longer than the beginning by which one is known
    log.path.write_text(HEADER)
    log.written = 1
    log.poll()
    for _ in range(2):
        log.write(17)
        log.poll()
        # when they are rotated while the gateway is stopped, or between two looks
        if is_stopped:
            log.restart()
        for _ in range(rotations):
            log.write(100)
            log.rename()
            log.path.write_text(HEADER)
            log.write(count)
            if compress:
                log.compress()
        for _ in range(3):
            log.poll()
            log.now += LATE
    # then each line is read once
    log.read = [number for number in log.read if number]
    log.assert_all_once(1)
    assert log.follower.lost == 0


def test_lines_that_come_late_into_the_renamed_file_are_read(begun):
    begun.rename()
    begun.write(2)
    begun.poll()
    begun.now += LATE - 1
    begun.write(3, to=begun.path.with_name("mail.log.1"))
    begun.poll()
    begun.now += LATE - 1
    begun.write(1, to=begun.path.with_name("mail.log.1"))
    begun.poll()
    begun.assert_all_once(10)


def test_a_renamed_file_is_closed_after_a_while_and_not_read_again(begun):
    begun.rename()
    begun.write(2)
    begun.poll()
    begun.now += LATE
    begun.poll()
    begun.poll()
    assert len(begun.follower._sources) == 1
    begun.compress()
    begun.restart()
    begun.poll()
    begun.assert_all_once(10)


def test_a_file_that_was_deleted_is_read_to_its_end_and_the_new_one_from_its_beginning(begun):
    for _ in range(20):
        begun.write(3)
        begun.path.unlink()
        begun.poll()
        begun.write(4)
        begun.poll()
    begun.assert_all_once(10)


def test_a_new_file_with_the_inode_of_the_old_one_is_read_from_its_beginning(begun):
    begun.write(200)
    begun.poll()
    for _ in range(20):
        begun.restart()
        inode = begun.path.stat().st_ino
        begun.path.unlink()
        begun.write(300)
        if begun.path.stat().st_ino == inode:
            break
    else:
        pytest.skip("this file system does not use an inode again")
    begun.read.clear()
    begun.poll()
    assert begun.read == list(range(begun.written - 300, begun.written))


def test_a_file_that_grew_beyond_the_old_offset_after_it_was_truncated(begun):
    # given a file whose size and inode say nothing
    begun.write(5)
    begun.poll()
    begun.copytruncate()
    begun.write(100)
    # when
    begun.poll()
    # then
    begun.assert_all_once(10)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("restart", [True, False])
def test_a_program_that_writes_on_at_its_own_offset_after_a_truncation(begun, compress, restart):
    # given NULs before its lines, more than are read at a time, from the first rotation on
    begun.keep_offset()
    begun.write(2 * CHUNK // LINE)
    begun.poll()
    for size in (100, 40, 1):
        # when
        begun.copytruncate()
        begun.write(size)
        if restart:
            begun.restart()
        begun.poll()
        begun.write(3)
        if compress:
            begun.compress()
    begun.poll()
    begun.now += 2 * LATE
    begun.poll()
    # then
    begun.assert_all_once(10)
    assert begun.follower.lost == 0


def test_a_program_that_begins_its_file_anew_before_there_is_a_whole_line_behind_the_nuls(begun):
    # given half a line behind NULs
    begun.keep_offset()
    begun.write(100)
    begun.poll()
    begun.copytruncate()
    begun.poll()
    with begun.path.open("r+") as file:
        file.seek(begun.offset)
        file.write("half a line")
    begun.poll()
    # when its program starts again, and writes less than was there
    begun.path.write_text("")
    begun.offset = 0
    begun.write(5)
    begun.poll()
    # then
    begun.assert_all_once(10)


@pytest.mark.parametrize("is_read", [True, False])
def test_a_copy_that_is_not_complete_yet_is_left_alone(begun, is_read):
    # given a log that is copied after it was read, or before
    begun.write(100)
    if is_read:
        begun.poll()
    shutil.copyfile(begun.path, begun.path.with_name("mail.log.1"))
    # when it is read on, and truncated only then
    begun.write(50)
    begun.poll()
    os.truncate(begun.path, 0)
    begun.write(7)
    begun.poll()
    # then each line is read once
    begun.assert_all_once(10)


@pytest.mark.parametrize(
    "name", ["mail.1.log", "mail-20261128.log", "mail-2026-11-28-1.log", "mail.1795961204.log"]
)
@pytest.mark.parametrize("compress", [False, True])
def test_a_rotated_file_that_keeps_its_suffix_is_found(begun, name, compress):
    begun.write(2)
    begun.poll()
    begun.write(300)
    begun.restart()
    rotated = begun.path.with_name(name)
    begun.path.rename(rotated)
    if compress:
        rotated.with_name(f"{name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    begun.write(3)
    begun.poll()
    begun.assert_all_once(10)


def test_lines_that_come_after_the_compression_count_once_also_after_a_restart(begun):
    # given a program that writes on to the file that was compressed under another name meanwhile, and removed
    with begun.path.open("a") as file:
        begun.rename()
        begun.write(3, to=begun.path.with_name("mail.log.1"))
        begun.compress()
        file.write("000013 late\n")
        begun.written += 1
        file.flush()
        begun.poll()
    # when
    begun.restart()
    begun.poll()
    # then
    begun.assert_all_once(10)


def test_a_file_of_which_only_the_first_line_was_read_is_not_taken_for_another(begun):
    # given two files with the same first line, of which the newer one has nothing else yet
    for lines in (5, 0):
        begun.rename()
        begun.path.write_text("000000 the first line of each file\n")
        begun.write(lines)
        begun.poll()
    # when the gateway is started again, after one more rotation
    begun.restart()
    begun.write(2)
    begun.rename()
    begun.poll()
    # then
    begun.read = [number for number in begun.read if number]
    begun.assert_all_once(10)


def test_rotated_files_of_before_the_first_start_are_not_read(log):
    log.write(5)
    log.rename()
    log.write(5)
    log.rename()
    log.compress()
    log.write(5)
    log.poll()
    log.write(2)
    log.poll()
    assert log.read == [15, 16]


def test_other_files_beside_it_are_left_alone(begun):
    for name in ("mail.log.bak", "mail.log~", "mail.logs.1", "other.log.1", "mail.log.1.xz", "mail-2.log"):
        begun.path.with_name(name).write_text("000999 not ours\n")
    begun.poll()
    assert begun.read == []


def test_a_line_without_an_end_fills_no_memory_and_counts_once(begun):
    with begun.path.open("a") as file:
        file.write("000010 " + "x" * 3 * CHUNK)
        file.flush()
        begun.poll()
        file.write("000099 its end\n")
    begun.write(0)
    begun.written += 1
    begun.write(2)
    begun.poll()
    begun.assert_all_once(10)


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_start_while_a_log_is_copied_leaves_the_copy_alone(begun, is_read, is_whole):
    # given a log that is being copied while the gateway starts
    begun.write(100)
    begun.poll()
    begun.write(5)
    copy = begun.path.with_name("mail.log.1")
    shutil.copyfile(begun.path, copy)
    if not is_whole:
        os.truncate(copy, 500)
    begun.restart()
    begun.follower.begin()
    if is_read:
        begun.poll()
    # when the copy is complete, and the log is truncated
    begun.write(5)
    shutil.copyfile(begun.path, copy)
    begun.touch(copy)
    os.truncate(begun.path, 0)
    begun.write(2)
    begun.poll()
    # then
    begun.assert_all_once(10)


@pytest.mark.parametrize("rotate", ["rename", "copytruncate", "no"])
def test_what_cannot_be_read_in_time_is_read_at_the_next_looks_and_once(begun, rotate):
    # given a file that is longer than what is read at a time, and is rotated before it is read
    first = begun.written
    begun.write(3 * CHUNK // 43)
    for _ in pieces(begun):
        if rotate != "no":
            begun.write(10)
            getattr(begun, rotate)()
            begun.write(10)
            rotate = "no"
    # then each look ends when its time is over, and no line is lost or read twice
    assert begun.read == list(range(first, begun.written))
    assert not begun.follower.is_behind


def pieces(log):
    """Look as long as there is more, with no time for more than a piece of each file."""
    while True:
        for lines in log.follower.poll(lambda: True):
            assert len(lines) <= CHUNK
            log.read += [int(line[:6]) for line in lines.decode().splitlines()]
        if not log.follower.is_behind:
            log.read.sort()  # the pieces of two files alternate
            return
        log.now += LATE
        yield


def test_damaged_gzip_and_a_pipe_are_left_alone(begun):
    begun.path.with_name("mail.log.1.gz").write_bytes(b"\x1f\x8b damaged")
    os.mkfifo(begun.path.with_name("mail.log.2"))
    begun.write(1)
    begun.poll()
    begun.assert_all_once(10)


def test_a_rotated_file_whose_compression_breaks_off_is_read_so_far(begun):
    begun.write(4000)
    begun.copytruncate()
    begun.compress()
    packed = begun.path.with_name("mail.log.1.gz")
    packed.write_bytes(packed.read_bytes()[:-100])
    begun.write(3)
    begun.poll()
    begun.poll()
    assert begun.read[-3:] == [4010, 4011, 4012]
    assert begun.read[:1000] == list(range(10, 1010))
    assert len(begun.follower._sources) == 1


@pytest.mark.parametrize(
    "state", [{}, {"positions": 5}, {"positions": [[1]], "known": []}, {"positions": []}]
)
def test_a_damaged_state_is_as_none(tmp_path, state):
    log = Log(tmp_path)
    log.write(3)
    log.state = state
    log.begin()
    log.poll()
    assert log.read == []
    log.follower.close()


def test_an_earlier_version_can_read_where_it_was(begun):
    begun.write(5)
    begun.poll()
    begun.restart()
    assert [len(position) for position in begun.state["positions"]] == [3]  # it begins anew with four
    begun.write(5)
    begun.poll()
    begun.assert_all_once(10)


def test_what_an_earlier_version_has_read_is_not_read_again(begun):
    # given rotated files that an earlier version knows, by shorter beginnings
    for _ in range(3):
        begun.write(100)
        begun.poll()
        begun.rename()
        begun.poll()
        begun.now += LATE
        begun.poll()
    begun.restart()
    del begun.state["longer"]
    assert {length for length, _ in begun.state["known"]} == {1024}
    begun.begin()
    # when
    begun.compress()
    begun.write(5)
    begun.poll()
    # then
    begun.assert_all_once(10)


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize(("ending", "compress"), [(".bz2", bz2.compress), (".xz", lzma.compress)])
def test_what_another_program_compressed_is_read(begun, rotate, ending, compress):
    begun.write(5)
    begun.poll()
    begun.restart()
    begun.write(4000)
    rotate(begun)
    begun.compress(ending, compress)
    begun.write(5)
    begun.poll()
    begun.now += LATE
    begun.poll()
    begun.assert_all_once(10)
    assert begun.follower.lost == 0


@pytest.mark.parametrize("ending", [".xz", ".bz2", ".gz"])
def test_what_is_damaged_is_named(begun, ending):
    begun.write(5)
    begun.poll()
    begun.copytruncate()
    begun.compress(ending, lambda _: b"not compressed at all")
    begun.write(2)
    begun.poll()
    begun.now += LATE
    begun.poll()
    assert begun.follower.lost == 1
    assert begun.follower.unreadable.startswith(f"mail.log.1{ending}: ")


@pytest.mark.parametrize("ending", [".lz4", ".Z"])
def test_what_nothing_here_can_read_is_counted_once_and_named(begun, ending):
    # given what was written before a rotation, and compressed by a program of another kind
    begun.write(5)
    begun.poll()
    begun.write(5)
    begun.copytruncate()
    begun.compress(ending, bytes)
    begun.write(2)
    # when
    for _ in range(3):
        begun.poll()
        begun.now += LATE
    # then it is lost, once, also after a restart, and all else is read
    assert begun.follower.lost == 1
    assert begun.follower.unreadable == f"mail.log.1{ending}: this Python cannot read {ending}"
    assert begun.read == [*range(10, 15), 20, 21]
    begun.restart()
    begun.now += 2 * LATE
    begun.poll()
    assert begun.follower.lost == 0


def test_what_cannot_be_read_and_was_read_before_is_no_loss(begun):
    begun.write(5)
    begun.rename()
    begun.poll()
    begun.now += LATE
    begun.poll()
    begun.compress(".lz4", bytes)
    begun.restart()
    begun.write(5)
    for _ in range(3):
        begun.poll()
        begun.now += LATE
    begun.assert_all_once(10)
    assert begun.follower.lost == 0


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("is_named", [True, False])
def test_rotated_files_of_another_folder(begun, tmp_path, rotate, is_named):
    # given what was written while nothing ran, in a folder that is named or not
    folder = tmp_path / "old"
    folder.mkdir()
    begun.olddir = folder if is_named else None
    begun.write(5)
    begun.poll()
    begun.restart()
    begun.write(100)
    rotate(begun)
    begun.path.with_name("mail.log.1").rename(folder / "mail.log-20261128")
    begun.write(5)
    # when
    for _ in range(3):
        begun.poll()
        begun.now += LATE
    # then
    if is_named:
        begun.assert_all_once(10)
    else:
        assert begun.read == [*range(10, 15), *range(115, 120)]
    assert (begun.follower.lost, begun.follower.unreadable) == (int(not is_named), "")


@pytest.mark.parametrize(
    "name",
    [
        "mail.log-20261128",
        "mail.log-1764000000",
        "mail.log.2026-11-28",
        "mail.log_20261128-13:05",
        "mail.log-2026-W48",
        "mail.log.14",
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_whatever_date_is_in_its_name_a_rotated_file_is_found(begun, name, ending):
    begun.write(5)
    begun.poll()
    begun.restart()
    begun.write(100)
    begun.rename()
    if ending:
        begun.compress()
    begun.path.with_name(f"mail.log.1{ending}").rename(begun.path.with_name(f"{name}{ending}"))
    begun.write(5)
    begun.poll()
    begun.assert_all_once(10)


def test_what_was_not_taken_is_yielded_again(begun):
    begun.write(3)
    for _ in begun.follower.poll():
        break
    begun.poll()
    begun.assert_all_once(10)


def test_lines_that_come_late_into_a_file_that_was_not_seen_before_it_was_rotated(begun):
    begun.rename()
    begun.write(2)
    begun.rename()
    begun.poll()
    begun.write(3, to=begun.path.with_name("mail.log.1"))
    begun.poll()
    begun.assert_all_once(10)


def test_a_restart_while_a_renamed_file_is_still_read(begun):
    begun.rename()
    begun.write(2)
    begun.poll()
    begun.restart()
    begun.write(3, to=begun.path.with_name("mail.log.1"))
    begun.write(3)
    begun.poll()
    begun.assert_all_once(10)


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_that_is_missing_at_the_start_does_not_delay_its_rotated_ones(begun, compress):
    begun.write(3)
    begun.path.rename(begun.path.with_name("mail.log.1"))
    if compress:
        begun.compress()
    begun.restart()
    with pytest.raises(FileNotFoundError):
        begun.poll()
    begun.assert_all_once(10)
    # when it is there again, and a late line came to the renamed one
    begun.write(2)
    begun.poll()
    begun.assert_all_once(10)


ACTS = [
    "write",
    "write",
    "late",
    "poll",
    "poll",
    "rename",
    "copytruncate",
    "compress",
    "restart",
    "later",
    "missing",
    "truncate at a start",
    "replace",
    "trim",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(ACTS), max_size=25),
    st.lists(st.integers(1, 60), min_size=25, max_size=25),
    st.booleans(),
)
def test_whatever_happens_each_line_is_read_once(tmp_path_factory, acts, sizes, keeps_offset):
    log = Log(tmp_path_factory.mktemp("log"))
    if keeps_offset:
        log.keep_offset()
    log.write(1)
    log.poll()
    for act, size in zip(acts, sizes, strict=False):
        match act:
            case "write":
                log.write(size)
            case "late" if log.path.with_name("mail.log.1").exists() and log.late:
                log.write(size, to=log.path.with_name("mail.log.1"))
            case "late":
                pass
            case "later":
                log.now += LATE
            case "replace" | "trim" if keeps_offset or not log.path.exists():
                pass
            case "replace" | "trim":
                log.poll()
                text = log.path.read_text()
                write_over(log, without_its_beginning(text)) if act == "trim" else replace(log, text)
                log.poll()
            case "missing":
                log.restart_without_a_file()
            case "truncate at a start":
                log.copytruncate(restart=True)
            case _:
                getattr(log, act)()
        if act not in ("write", "late", "poll", "restart"):
            log.late = act == "rename"  # while its program has not noticed
    log.poll()
    log.poll()
    log.now += 2 * LATE
    log.poll()
    log.follower.close()
    log.assert_all_once(1)
    assert log.follower.lost == 0
