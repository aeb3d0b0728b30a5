"""The listener `owserver`: Debian's owserver, and servers that misbehave."""

from __future__ import annotations

import logging
import signal
import struct

import pytest
from pyownet import protocol

from gateway.clock import Clock
from gateway.registry import find
from gateway.settings import SettingsFault, build
from listeners.onewire.bus import BusFault
from listeners.onewire.drivers import owserver as owserver_driver
from listeners.onewire.drivers.owfs import Owfs, Owserver
from listeners.onewire.drivers.owserver import Address, Server
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom
from listeners.simulated.clock import VirtualFlag
from listeners.simulated.ds2482 import Ds2482
from tests.ports import free_port
from tests.simulators.owfs_peers import owserver, owserver_process
from tests.simulators.peer import answering
from tests.ways import QuickClock, quick, sweep

FLOW, RETURN, STORE = "28.33F749050000", "28.DB564A050000", "28.AB1663050000"


def listener(port, **entries):
    made = build(Owserver, {"node": "9", "server": f"127.0.0.1:{port}", "resolution": "9", **entries})
    made.name = "cellar"
    made.clock = QuickClock()
    return made


def test_the_type_is_registered():
    assert find("listeners", "owserver") is Owserver


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pi", "pi:4304"),
        ("192.168.0.7:4305", "192.168.0.7:4305"),
        ("[::1]", "[::1]:4304"),
        ("[fe80::1]:99", "[fe80::1]:99"),
    ],
)
def test_an_address_has_a_host_and_may_have_a_port(text, shown):
    assert str(build(Owserver, {"node": "9", "server": text}).server) == shown


@pytest.mark.parametrize("text", ["pi:0", "pi:65536", "pi:x", "::1", "a b", "http://pi"])
def test_another_address_is_refused(text):
    with pytest.raises(SettingsFault, match=f"host or host:port expected, as localhost:4304, not {text}"):
        build(Owserver, {"node": "9", "server": text})


def test_the_address_is_this_machine_unless_named():
    assert str(build(Owserver, {"node": "9"}).server) == "localhost:4304"


def test_a_wrong_id_is_answered_with_the_one_that_is_there(tmp_path, caplog):
    with owserver(Ds2482(Clock(), [quick(FLOW, 21.5)]), tmp_path) as port:
        bus = listener(port, sensor1="28.33F749050001")
        bus.open()

        bus.read(VirtualFlag(bus.clock))

    assert f"{FLOW} is on the bus, which differs in character 15" in caplog.text


def test_the_bus_is_searched_and_says_when_it_cannot_be(tmp_path):
    bridge = Ds2482(Clock(), [quick(FLOW, 21.5), quick(RETURN, 18.0)])
    with owserver(bridge, tmp_path) as port:
        bus = listener(port)
        bus.open()

        assert bus.search() == {Rom.parse(FLOW), Rom.parse(RETURN)}

        bridge.shorted = True
        with pytest.raises(BusFault, match=f"owserver at 127.0.0.1:{port}: the bus cannot be searched"):
            bus.search()


@pytest.mark.parametrize("alias", [b"tank.top", "Küche".encode(), "Küche".encode("latin-1"), b"a\x1b[31m"])
def test_a_sensor_with_an_alias_is_read_and_found_by_its_id(tmp_path, alias):
    with owserver(Ds2482(Clock(), [quick(FLOW, 21.5)]), tmp_path) as port:
        protocol.proxy("127.0.0.1", port).write(f"/{FLOW}/alias", alias)
        bus = listener(port)
        bus.open()

        assert sweep(bus, FLOW) == [21.5]
        assert bus.search() == {Rom.parse(FLOW)}


def test_a_server_that_is_read_only_is_named_as_such(tmp_path):
    with owserver(Ds2482(Clock(), [quick(FLOW, 21.5)]), tmp_path, "--readonly") as port:
        bus = listener(port, sensor1=FLOW)
        bus.open()

        with pytest.raises(BusFault, match="as OWFS is read-only: take readonly out"):
            bus.sweep([Rom.parse(FLOW)])


def test_a_simulated_bus_is_read_by_its_latest_temperature(tmp_path, caplog):
    port = free_port()
    with owserver_process(port, tmp_path, [f"--mock={FLOW},{RETURN}"]):
        proxy = protocol.proxy("127.0.0.1", port)
        for text, value in ((FLOW, b"-12.5"), (RETURN, b"126")):
            with pytest.raises(protocol.OwnetError):  # it says that it cannot be set, and keeps it
                proxy.write(f"/{text}/latesttemp", value)
        bus = listener(port)
        bus.open()

        assert sweep(bus, FLOW, RETURN, STORE) == [-12.5, Fault.RANGE, Fault.NO_ANSWER]

    assert "serves simulated sensors (Simulated-Mock)" in caplog.text


def test_debians_random_sensors_are_named_as_such_once(tmp_path, caplog):
    port = free_port()
    with owserver_process(port, tmp_path, ["--fake=DS18S20,DS2405"]):
        bus = listener(port)
        bus.open()
        sweep(bus, FLOW)
        sweep(bus, FLOW)
        bus.close()
        bus.open()

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"owserver at 127.0.0.1:{port} serves FAKE SENSORS with random values" in caplog.text


def test_a_fake_bus_beside_a_real_one_gives_no_value(tmp_path, caplog):
    port = free_port()
    with (
        owserver(Ds2482(Clock(), [quick(FLOW, 21.5)]), tmp_path) as real,
        owserver_process(port, tmp_path, [f"--fake={RETURN}", "-s", f"127.0.0.1:{real}"]),
    ):
        bus = listener(port)
        bus.open()

        assert sweep(bus, FLOW, RETURN) == [21.5, Fault.NO_ANSWER]

    assert "FAKE SENSORS" in caplog.text


def test_a_server_that_is_not_there_is_an_oserror():
    port = free_port()

    with pytest.raises(OSError, match=f"owserver at 127.0.0.1:{port}: Connection refused; is it running"):
        listener(port).open()


def test_a_host_that_nobody_knows_is_an_oserror():
    with pytest.raises(OSError, match="owserver at nowhere"):
        listener(0, server="nowhere.invalid").open()


def test_a_restart_between_two_sweeps_goes_unnoticed(tmp_path):
    port = free_port()
    bus = listener(port)
    with owserver_process(port, tmp_path, [f"--fake={FLOW}"]):
        bus.open()
        assert isinstance(sweep(bus, FLOW)[0], float)

    with owserver_process(port, tmp_path, [f"--fake={FLOW}"]):
        assert isinstance(sweep(bus, FLOW)[0], float)


def test_a_bus_that_owserver_did_not_have_at_first_is_found_by_the_next_search(tmp_path, monkeypatch):
    port = free_port()
    with (
        owserver(Ds2482(Clock(), [quick(FLOW, 21.5)]), tmp_path) as first,
        owserver(Ds2482(Clock(), [quick(RETURN, 18.0)]), tmp_path) as second,
    ):
        servers = [["-s", f"127.0.0.1:{each}"] for each in (first, second)]
        # given an owserver with one bus
        bus = listener(port)
        with owserver_process(port, tmp_path, servers[0]) as process:
            bus.open()
            assert sweep(bus, FLOW, RETURN) == [21.5, Fault.NO_ANSWER]
            process.kill()
            process.wait()

        # when it is started anew with a second one between two sweeps, then a search finds its sensors
        with owserver_process(port, tmp_path, [*servers[0], *servers[1]]) as process:
            assert Rom.parse(RETURN) in bus.search()
            assert [21.5, 18.0] in (sweep(bus, FLOW, RETURN) for _ in range(3))
            process.kill()
            process.wait()

        # and where that bus is missing during a search, no other is looked for, and they are read as soon as
        # it is back
        with owserver_process(port, tmp_path, servers[0]) as process:
            asked = []
            monkeypatch.setattr(bus, "_find_buses", asked.append)
            assert bus.search() == {Rom.parse(FLOW)}
            assert not asked
            monkeypatch.undo()
            assert sweep(bus, FLOW, RETURN) == [21.5, Fault.BUS]
            process.kill()
            process.wait()
        with owserver_process(port, tmp_path, [*servers[0], *servers[1]]):
            assert [21.5, 18.0] in (sweep(bus, FLOW, RETURN) for _ in range(3))


def test_an_owserver_at_another_port_is_another_one(tmp_path):
    ports = free_port(), free_port()
    with (
        owserver_process(ports[0], tmp_path, [f"--fake={FLOW}"]),
        owserver_process(ports[1], tmp_path, [f"--fake={FLOW}"]),
    ):
        roots = []
        for port in (*ports, ports[0]):
            server = Server(Address("localhost", port))
            server.open()
            roots.append(server.root)

    assert roots[0] == roots[2] != roots[1]


def test_a_server_that_is_killed_is_an_oserror(tmp_path):
    port = free_port()
    with owserver_process(port, tmp_path, [f"--mock={FLOW}"]) as process:
        bus = listener(port)
        bus.open()

        process.kill()
        process.wait()

        with pytest.raises(OSError, match=f"owserver at 127.0.0.1:{port}: Connection refused"):
            sweep(bus, FLOW)


def test_a_server_that_hangs_is_an_oserror_after_the_two_seconds_of_one_request(tmp_path, monkeypatch):
    asked = []
    ask = Server._ask
    monkeypatch.setattr(Server, "_ask", lambda self, request: asked.append(request) or ask(self, request))
    port = free_port()
    with owserver_process(port, tmp_path, [f"--mock={FLOW}"]) as process:
        bus = listener(port)
        bus.open()

        process.send_signal(signal.SIGSTOP)
        asked.clear()
        with pytest.raises(OSError, match=f"owserver at 127.0.0.1:{port}: timed out"):
            sweep(bus, FLOW)
        assert len(asked) == 1
        assert protocol._SCK_TIMEOUT == 2

        process.send_signal(signal.SIGCONT)
        assert isinstance(sweep(bus, FLOW)[0], float)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(b"", "hangs up before its answer ends", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "not what an owserver answers", id="a web server"),
        pytest.param(bytes(23), "hangs up before its answer ends", id="half a header"),
        pytest.param(
            struct.pack(">6i", 0, 1, 0, 0, 9, 0) + b"?",
            "not what an owserver answers",
            id="more than it sent",
        ),
        pytest.param(struct.pack(">6i", 0, 0, -5, 0, 0, 0), "owserver refuses", id="refusal of a ping"),
    ],
)
def test_what_is_no_owserver_is_an_oserror(peer, answer, words):
    with pytest.raises(OSError, match=words):
        listener(peer(answering(answer)).port).open()


def cutting_at_first(peer, client):
    asked = client.recv(4096)[24:].rstrip(b"\0")
    peer.seen.append(asked)
    if asked and (asked.endswith(b"gone") or peer.seen.count(asked) == 1):
        client.sendall(bytes(11))
        return
    data = b"21.5" if asked else b""
    client.sendall(struct.pack(">6i", 0, len(data), len(data), 0, len(data), 0) + data)


def test_a_connection_that_is_cut_is_made_once_more(peer):
    server = Server(Address("127.0.0.1", (far := peer(cutting_at_first)).port))
    far.seen.append(b"/settings/return_codes/text.ALL")  # what is asked as it is opened
    server.open()

    assert server.read("latesttemp") == b"21.5"

    with pytest.raises(OSError, match="hangs up before its answer ends"):
        server.read("gone")
    assert far.seen.count(b"/gone") == 2


def refusing_all_but_a_ping(peer, client):
    asked = client.recv(4096)[24:]
    client.sendall(struct.pack(">6i", 0, 0, -5 if asked.rstrip(b"\0") else 0, 0, 0, 0))


def test_a_server_that_refuses_every_request_is_a_fault_of_the_bus(peer):
    bus = listener(peer(refusing_all_but_a_ping).port)
    bus.open()
    with pytest.raises(BusFault, match=r"it cannot be listed \(: 5 \); look at its bus master"):
        sweep(bus, FLOW)


def dripping(before, drop):
    """Return what answers until `before` is asked for; that answer comes drop by drop, for ever."""

    def speak(peer, client):
        asked = client.recv(4096)[24:].rstrip(b"\0").decode()
        if asked != before:
            data = b"DS2482-100" if asked == "/interface/settings/name" else b""
            client.sendall(struct.pack(">6i", 0, len(data), 0, 0, len(data), 0) + data)
            return
        while not peer.over.wait(0.02):
            client.sendall(drop)

    return speak


@pytest.mark.parametrize(
    ("asked", "drop"),
    [
        pytest.param("", b"\0", id="a ping, byte by byte"),
        pytest.param("/settings/return_codes/text.ALL", struct.pack(">6i", 0, -1, 0, 0, 0, 0), id="words"),
        pytest.param("/interface/settings/name", b"\0", id="a name, byte by byte"),
        pytest.param("/interface/settings/name", struct.pack(">6i", 0, -1, 0, 0, 0, 0), id="a name"),
    ],
)
def test_an_answer_that_never_ends_is_an_oserror_in_the_same_words_each_time(peer, asked, drop, monkeypatch):
    monkeypatch.setattr(owserver_driver, "TIMEOUT", 0.3)
    port = peer(dripping(asked, drop)).port

    words = set()
    for _ in range(3):
        with pytest.raises(OSError, match=r"no whole answer within 0\.3 s") as failure:
            listener(port).open()
        words.add(str(failure.value))

    assert len(words) == 1


def test_it_is_the_listener_of_owfs_but_for_a_path():
    assert issubclass(Owserver, Owfs)
    with pytest.raises(SettingsFault, match="path"):
        build(Owserver, {"node": "9", "path": "/mnt/1wire"})
