"""What root does in a directory that is another user's: no more than that user could."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway import paths, version
from gateway.commands.main import main
from gateway.conf.config import read
from gateway.conf.indices import Memory
from gateway.daemon import Daemon
from gateway.dispatchers.page.history.blocks import Point
from gateway.dispatchers.page.history.history import History
from gateway.dispatchers.page.history.keeper import Keeper
from gateway.present.state import State
from gateway.process.holders import user_name
from gateway.process.logs import log_to
from gateway.process.state_files import as_owner, open_file, read_file, refusal, write_file
from gateway.spool import Spool, SpoolUnusable
from gateway.times.dating import TimeNote
from tests.gateway_process import GatewayProcess, command
from tests.ports import free_port
from tests.spools import finish_rescue, frame, leave_queue, open_queue
from tests.waiting import wait_until

USER = 1234


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory of root's that every user can reach, with one of another user's in it."""
    if os.geteuid():
        pytest.skip("only root can give a file to another user")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    state = folder / "state"
    state.mkdir(0o750)
    os.chown(state, USER, USER)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def state(folder) -> Path:
    return folder / "state"


@pytest.fixture
def precious(folder) -> Path:
    """Return a file of root's."""
    precious = folder / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    return precious


def configured(folder: Path) -> Path:
    file = folder / "oemgateway.conf"
    file.write_text(
        f"[gateway]\nstate_dir = {folder / 'state'}\nsocket = {folder / 'state' / 'control'}\n"
        f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n[dispatchers]\n[[log]]\ntype = log\n"
    )
    return file


def untouched(precious: Path) -> bool:
    about = precious.stat()
    return precious.read_text() == "precious" and (about.st_uid, stat.S_IMODE(about.st_mode)) == (0, 0o600)


@pytest.mark.needs_root
def test_a_thread_is_the_owner_and_the_others_stay_root(state, precious):
    inside, after = threading.Event(), threading.Event()
    read: list[str] = []

    def other() -> None:
        inside.wait()
        read.append(precious.read_text())
        after.set()

    thread = threading.Thread(target=other)
    thread.start()
    with as_owner(state):
        with pytest.raises(PermissionError):
            precious.read_text()
        inside.set()
        after.wait()
        with as_owner(state / "new" / "one"):
            (state / "made").touch()
    thread.join()
    assert read == ["precious"]
    assert ((state / "made").stat().st_uid, (state / "made").stat().st_gid) == (USER, USER)
    assert precious.read_text() == "precious"


@pytest.mark.needs_root
def test_a_directory_that_is_a_link_of_a_users_is_that_users(folder, state):
    (state / "elsewhere").symlink_to(folder)
    os.lchown(state / "elsewhere", USER, USER)
    with as_owner(state / "elsewhere"), pytest.raises(PermissionError):
        (state / "elsewhere" / "made").touch()


def test_what_is_no_file_is_not_opened(tmp_path):
    (tmp_path / "file").write_text("there")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match="plain file"):
            open_file(tmp_path / name, os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError):
        open_file(tmp_path, os.O_RDONLY)
    write_file(tmp_path / "link", "new")
    assert ((tmp_path / "file").read_text(), (tmp_path / "link").read_text()) == ("there", "new")
    assert stat.S_IMODE((tmp_path / "link").stat().st_mode) == 0o600


@pytest.mark.parametrize("hostile", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
@pytest.mark.timeout(20)
def test_a_small_file_that_cannot_be_read_is_as_none(tmp_path, hostile):
    # given a pipe, a device or a directory where the state is noted
    for name in ("last-time", "indices.json"):
        hostile(tmp_path / name)
    # then reading it neither waits nor fails
    assert TimeNote(tmp_path).read() == version.MADE
    assert Memory(tmp_path).recall() == {}


def test_where_a_state_file_cannot_be_replaced_nothing_is_left(tmp_path):
    (tmp_path / "last-time").mkdir()
    with pytest.raises(OSError):
        write_file(tmp_path / "last-time", "1")
    assert [path.name for path in tmp_path.iterdir()] == ["last-time"]


def test_of_a_state_file_no_more_is_read_than_it_can_hold(tmp_path):
    with (tmp_path / "last-time").open("wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(ValueError, match="at most 1048576 bytes"):
        read_file(tmp_path / "last-time")
    assert TimeNote(tmp_path).read() == version.MADE


NAMES = (
    "queue.db",
    "queue.db-wal",
    "queue.db-journal",
    "queue.ballast",
    "queue.db.rescue",
    "queue.db.rescue-wal",
    "last-time",
    "last-time.new",
    "indices.json",
    "indices.json.new",
    "control",
)


@pytest.mark.needs_root
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hard", [False, True])
def test_root_does_nothing_to_what_a_link_in_the_state_directory_leads_to(
    folder, state, precious, name, hard, caplog
):
    # given a link that the service's user has put there
    (state / name).hardlink_to(precious) if hard else (state / name).symlink_to(precious)
    file = configured(folder)
    # when root asks the queue, and runs the gateway
    caplog.set_level(logging.INFO, "oemgateway")
    main(["--config-file", str(file), "queue"])
    gateway = Daemon(read(file))
    thread = threading.Thread(target=gateway.run)
    thread.start()
    wait_until(lambda: "listens on" in caplog.text)
    gateway.stop.set()
    thread.join(60)
    assert not thread.is_alive()
    # then what it leads to is as it was
    assert untouched(precious)


@pytest.mark.needs_root
@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("name", ["queue.db-wal", "queue.db-journal"])
@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_root_does_nothing_to_what_stands_for_the_log_of_a_queue(state, precious, is_damaged, name, mode):
    # given a queue of the service's user, damaged or not, and a file of root's as its log
    leave_queue(state / "queue.db", [frame(1)])
    os.chown(state / "queue.db", USER, USER)
    if is_damaged:
        with (state / "queue.db").open("r+b") as file:
            file.write(b"x" * 100)
    precious.write_text("precious" * 1000)
    precious.chmod(mode)
    (state / name).unlink(missing_ok=True)
    (state / name).hardlink_to(precious)
    # when root uses it
    with suppress(OSError):
        spool = open_queue(state / "queue.db")
        spool.tend()
        spool.close()
    # then that file is as it was
    about = precious.stat()
    assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (0, mode)
    assert precious.read_text() == "precious" * 1000


@pytest.mark.needs_root
@pytest.mark.parametrize("name", NAMES)
def test_a_second_name_of_a_file_that_everybody_may_write_is_not_written_either(state, precious, name):
    precious.chmod(0o666)
    (state / name).hardlink_to(precious)
    with suppress(OSError, SpoolUnusable):
        Spool(state / "queue.db").close()
    for note in (
        lambda: TimeNote(state).write(1e9),
        lambda: Memory(state).note({("10", 1): "28.000000000001"}),
    ):
        with suppress(OSError):
            note()
    about = precious.stat()
    assert (precious.read_text(), about.st_uid, stat.S_IMODE(about.st_mode)) == ("precious", 0, 0o666)


def test_to_its_owner_a_second_name_is_no_trouble(tmp_path):
    # given a backup by hard links
    Spool(tmp_path / "queue.db").close()
    (tmp_path / "backup").hardlink_to(tmp_path / "queue.db")
    spool = Spool(tmp_path / "queue.db")
    assert spool.trouble == ""
    spool.close()


@pytest.mark.needs_root
def test_what_root_makes_there_is_the_owners(folder, state):
    file = configured(folder)
    running = GatewayProcess(file)
    with running:
        assert {path.stat().st_uid for path in state.iterdir()} == {USER}
        assert {path.stat().st_gid for path in state.iterdir()} == {USER}
        running.stop()
    assert {path.name for path in state.iterdir()} == {
        "queue.db",
        "queue.ballast",
        "last-time",
        "indices.json",
    }
    assert {path.stat().st_uid for path in state.iterdir()} == {USER}


@pytest.mark.needs_root
@pytest.mark.parametrize("is_damaged", [False, True])
def test_the_history_of_a_page_is_the_owners_and_no_link_is_followed(state, precious, is_damaged):
    file = state / "history-page.db"
    if is_damaged:
        file.write_bytes(b"no history" * 1000)
        os.chown(file, USER, USER)
    Keeper(file, State(), logging.getLogger("oemgateway.page")).open()
    History(file).put("9", "1", [Point(1_700_000_000.0 // 60 * 60, 1.0, 1.0, 1.0, 1)], 60)
    assert {path.stat().st_uid for path in state.iterdir()} == {USER}
    file.unlink()
    file.symlink_to(precious)
    Keeper(file, State(), logging.getLogger("oemgateway.page")).open()
    assert untouched(precious)


@pytest.mark.needs_root
@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_history_that_may_not_be_opened_is_named_with_its_cure(state, caplog, end):
    # given a history of another user's, as from a backup
    file = state / "history-page.db"
    History(file).open()
    place = file.with_name(file.name + end)
    place.touch()
    place.chmod(0o600)
    os.chown(place, 0, 0)
    # when it is opened
    Keeper(file, State(), logging.getLogger("oemgateway.page")).open()
    # then it is said which file it is, and what gives it to the owner
    cure = f"{place}: Permission denied: sudo chown {user_name(USER)} {place}"
    assert f"the history cannot be opened: {cure}" in caplog.text


@pytest.mark.needs_root
def test_a_damaged_file_that_root_comes_upon_is_rescued_for_its_owner(state):
    path = state / "queue.db"
    leave_queue(path, [frame(n) for n in range(300)])
    os.truncate(path, path.stat().st_size - 4096)
    spool = open_queue(path)
    finish_rescue(spool)
    assert len(spool.peek("a", 1000)) > 150
    spool.close()
    assert len(list(state.glob("queue.db.damaged-*"))) == 1
    assert {(each.stat().st_uid, stat.S_IMODE(each.stat().st_mode)) for each in state.iterdir()} == {
        (USER, 0o600)
    }


@pytest.mark.needs_root
def test_root_writes_no_log_and_no_export_through_a_link(folder, state, precious):
    leave_queue(state / "queue.db", [frame(1)], "log")
    file = configured(folder)
    (state / "log").symlink_to(precious)
    running = command("--config-file", file, "--logfile", state / "log")
    assert running.returncode == 1
    (state / "out").symlink_to(precious)
    command("--config-file", file, "queue", "export", state / "out")
    assert untouched(precious)
    # where there is no link it is the user's own
    assert command("--config-file", file, "queue", "export", state / "fine").returncode == 0
    assert ((state / "fine").stat().st_uid, len((state / "fine").read_text().splitlines())) == (USER, 1)
    # and so are the files of the queue afterwards
    left = {path for path in state.iterdir() if not path.is_symlink()}
    assert {path.name for path in left} == {"queue.db", "queue.ballast", "fine"}
    assert {(path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in left} == {(USER, 0o600)}


@pytest.mark.needs_root
def test_the_small_files_are_the_owners_too(state):
    TimeNote(state).write(1e9)
    Memory(state).note({("10", 1): "28.000000000001"})
    assert {path.name: path.stat().st_uid for path in state.iterdir()} == {
        "last-time": USER,
        "indices.json": USER,
    }


@pytest.mark.needs_root
def test_the_log_that_root_begins_is_the_owners(state, monkeypatch):
    log_to(state / "log")
    assert (state / "log").stat().st_uid == USER
    log_to(None)


@pytest.mark.parametrize(
    ("kind", "number", "made", "said"),
    [
        ("a file of another user", 13, True, "{place}: Permission denied: sudo chown {user} {place}"),
        (
            "a directory that may not be made",
            13,
            False,
            "{place}: Permission denied: sudo install -d -o {user} {folder}, once its disk is mounted",
        ),
        (
            "read-only for the service",
            30,
            True,
            "{place}: Read-only file system; if for the service only: {edit} ReadWritePaths=-{folder}",
        ),
        ("full", 28, True, "{place}: No space left on device"),
    ],
)
def test_what_refuses_a_file_comes_with_the_command_that_opens_it(
    tmp_path, monkeypatch, kind, number, made, said
):
    monkeypatch.setenv("INVOCATION_ID", "0")
    folder = tmp_path / "state"
    if made:
        folder.mkdir()
    place = folder / "queue.db"
    error = OSError(number, os.strerror(number), str(place))
    assert refusal(error, folder) == said.format(
        place=place,
        folder=folder,
        user=user_name(os.geteuid()),
        edit="sudo systemctl edit oemgateway, and below [Service] the line",
    ), kind


def test_where_no_systemd_has_started_it_a_read_only_disk_is_no_setting_of_it(tmp_path, monkeypatch):
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    error = OSError(30, os.strerror(30), str(tmp_path))
    assert refusal(error, tmp_path) == f"{tmp_path}: Read-only file system"


@pytest.mark.needs_root
def test_a_directory_that_takes_no_file_is_named_where_sqlite_does_not_say_why(state):
    # given a directory that the owner may not write to
    state.chmod(0o500)
    # when SQLite says only that it cannot write, then it is said why, with the cure
    said = refusal(sqlite3.OperationalError("attempt to write a readonly database"), state)
    assert said == f"{state}: Permission denied: sudo chown {user_name(USER)} {state}"
    # but not of a file that is in trouble by itself
    state.chmod(0o700)
    assert refusal(sqlite3.OperationalError("disk I/O error"), state) == "disk I/O error"


def test_a_full_disk_is_said_where_sqlite_does_not_say_why(tmp_path, monkeypatch):
    # given a disk that has room for the name of a new file, and none for its bytes
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    # when SQLite cannot make its index of the log
    said = refusal(sqlite3.OperationalError("disk I/O error"), tmp_path)
    assert said == f"{tmp_path}: No space left on device"


def test_a_file_of_roots_is_given_to_the_owner_of_the_state_that_root_goes_on_with(folder):
    # given a state directory of another user's, and in it a file that is root's alone
    place = folder / "state" / "queue.db"
    place.touch(0o600)
    # when a gateway that root runs opens it
    with pytest.raises(PermissionError) as refused:
        open_file(place, os.O_RDWR)
    # then the cure gives it to that user, and not to root, whose it is
    words = f"{place}: Permission denied: sudo chown {user_name(USER)} {place}"
    assert refusal(refused.value, folder / "state") == words


def test_a_closed_directory_above_the_state_is_named_and_no_owner_changed(tmp_path, monkeypatch):
    # given a state directory in a home that this user may not enter
    monkeypatch.setattr(paths.os, "access", lambda place, mode: mode == os.F_OK or place != tmp_path)
    place = tmp_path / "state" / "queue.db"
    said = refusal(PermissionError(13, os.strerror(13), str(place)), place.parent)
    assert said == (
        f"{place}: Permission denied: {user_name(os.geteuid())} may not enter {tmp_path}: "
        "name another directory, [gateway] state_dir"
    )


def test_a_power_cut_leaves_a_file_as_it_was_or_as_it_is_to_be(tmp_path, monkeypatch):
    # given a disk that keeps the names of files at once, and of what is in them only what is synced
    kept = {}
    monkeypatch.setattr(os, "fsync", lambda fd: kept.update({os.fstat(fd).st_ino: os.fstat(fd).st_size}))
    note = tmp_path / "last-time"
    for text in ("1700000000\n", "1700000600\n"):
        # when a file is written
        write_file(note, text)
        # then all of what has its name is there after a power cut
        assert kept.get(note.stat().st_ino) == len(text)


def test_a_note_of_the_indices_that_the_user_may_not_read_is_not_replaced(state):
    # given a note that root has put back from a backup
    memory, file = Memory(state), state / "indices.json"
    memory.note({("9", 1): "28.33F749050000"})
    os.chown(file, 0, 0)
    # when the daemon notes what is there now, then that is refused
    assert memory.recall() == {}
    with pytest.raises(PermissionError):
        memory.note({("9", 2): "28.DB564A050000"})
    # and the note is known once it is the user's again
    os.chown(file, USER, USER)
    assert memory.recall() == {("9", 1): "28.33F749050000"}
