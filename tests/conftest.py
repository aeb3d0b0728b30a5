"""What holds for all tests, and the fixtures that several files share."""

from __future__ import annotations

import getpass
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway.flag import Flag
from gateway.paths import check_socket
from gateway.spool import Spool
from listeners.probe import icmp
from listeners.simulated.clock import VirtualClock
from listeners.simulated.rfm12pi import SimulatedRfm12pi
from tests.once import made_once
from tests.peers import missing
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.mosquitto import Mosquitto
from tests.simulators.peer import Peer, Speak
from tests.simulators.pi import Pi
from tests.spools import Opener, open_queue, opener
from tests.throwaway import Throwaway
from tests.wire import Wire

# Who is started with & inherits that Ctrl-C is ignored, and with nohup a hangup; so would the programs here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Tests of rights make files that others may read, which a umask of 077 would not.
os.umask(0o022)

SHARED_MEMORY = Path("/dev/shm")
LONGEST = [
    *("test_install", "test_salvage", "test_couplers", "test_slow_bus", "test_a_week_later", "test_service"),
    *("test_onewire_fuzz", "test_end_to_end", "test_ending", "test_kill_loop", "test_mqtt_outage"),
    *("test_install_setup", "test_wheel"),
]


def pytest_configure(config: pytest.Config) -> None:
    """Put the tests' files in memory, where there is room for them and programs may be run from there.

    Most tests sync what they write, and would wait for a disk most of the time. What a killed process leaves
    is the same in memory.
    """
    if not hasattr(config, "workerinput"):
        check_room(config.option.basetemp)
    if "TMPDIR" in os.environ or config.option.basetemp or not os.access(SHARED_MEMORY, os.W_OK):
        return
    about = os.statvfs(SHARED_MEMORY)
    if about.f_bavail * about.f_frsize > 1 << 30 and not about.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(SHARED_MEMORY)


def check_room(basetemp: Path | str | None) -> None:
    """End at once where the tests' files would be so deep that no socket can be among them."""
    user = "unknown"
    with suppress(ImportError, OSError, KeyError):
        user = getpass.getuser()
    folder = Path(basetemp or f"{tempfile.gettempdir()}/pytest-of-{user}/pytest-999").absolute()
    try:
        check_socket(folder / "popen-gw9" / ("x" * 31) / "state" / "control")
    except ValueError:
        named = basetemp or tempfile.gettempdir()
        pytest.exit(f"{named}: too long for the paths of the tests' sockets: TMPDIR=/tmp make test", 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that at the end no worker waits for another."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what only root can do."""
    if os.geteuid() and item.get_closest_marker("needs_root"):
        pytest.skip("needs root")


# How long an example takes says something of the machine's other work, and nothing of the code.
settings.register_profile(
    "oemgateway",
    max_examples=int(os.environ.get("EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("oemgateway")


@pytest.fixture
def at_end() -> Iterator[ExitStack]:
    """Take what is to be closed at the end of the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a queue, in a folder that is not there yet."""
    return tmp_path / "state" / "queue.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    """A queue for one dispatcher, a."""
    spool = open_queue(path)
    yield spool
    spool.close()


@pytest.fixture
def opened(path: Path) -> Iterator[Opener]:
    """Open the queue again and again, with other limits."""
    with opener(path) as start:
        yield start


@pytest.fixture
def boot(opened: Opener) -> Callable[..., Spool]:
    """Return what opens the queue in a boot of this name, for these dispatchers (a), with these limits."""

    def start(name: str = "now", *who: str, **limits: float) -> Spool:
        clock = VirtualClock(boottime=5000.0)
        clock.boot = name
        return opened(*who, clock=clock, **limits)

    return start


@pytest.fixture
def stop() -> Flag:
    """The flag by which a listener is asked to stop."""
    return Flag()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A serial line, with the test at its far end."""
    wire = Wire()
    yield wire
    wire.cut()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SimulatedRfm12pi]:
    """An RFM12Pi that hears nothing by itself."""
    board = SimulatedRfm12pi(tmp_path / "ttyRADIO", period=0)
    yield board
    board.close()


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    """The folders and the boot configuration of a Raspberry Pi."""
    return Pi(tmp_path / "pi")


@pytest.fixture
def peer(at_end: ExitStack) -> Callable[[Speak], Peer]:
    """Return a function that starts a server which does this with each connection."""
    return lambda speak: at_end.enter_context(Peer(speak))


@pytest.fixture
def full_port(at_end: ExitStack) -> int:
    """A port of this machine whose queue of connections is full: nobody who connects gets an answer."""
    listening = at_end.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        waiting = at_end.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listening.getsockname())
    return int(listening.getsockname()[1])


@pytest.fixture
def may_ping() -> None:
    """Skip the test where this user may send no echo requests."""
    try:
        icmp._open(socket.AF_INET)[0].close()
    except OSError:
        pytest.skip("this user may send no echo requests")


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a configuration, for its owner alone."""

    def write(text: str) -> Path:
        file = tmp_path / "oemgateway.conf"
        file.touch(0o600)
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def server() -> Iterator[FakeEmoncms]:
    """An Emoncms that is there."""
    with FakeEmoncms() as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is there."""
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def faketime() -> str:
    """The library that lends a program another clock."""
    found = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketime is missing: apt install libfaketime")
    return str(found[0])


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines that a listener `cellar` has logged since this was last asked."""
    caplog.set_level(logging.INFO, logger="oemgateway.cellar")

    def lines() -> list[str]:
        new = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return new

    return lines


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Throwaway]:
    """A Debian of its own, in which the gateway can be installed."""
    folder = tmp_path / "machine"
    folder.mkdir()
    with Throwaway(folder) as machine:
        yield machine


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` puts into /opt, as an archive, for tests of what follows: to make it takes long."""
    from tests.installed import PREFIX, FromSources

    def install(folder: Path) -> None:
        (folder / "machine").mkdir()
        with Throwaway(folder / "machine") as machine:
            FromSources(machine).make("install")
            files = (PREFIX[1:], "usr/local/bin/oemgateway")
            archived = machine("tar", "-C", "/", "-cf", "/tmp/program.tar", *files)
            assert archived.returncode == 0, archived.stdout
            shutil.copy(machine.path("/tmp/program.tar"), folder)

    return made_once(tmp_path_factory, "program", install) / "program.tar"
