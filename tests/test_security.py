"""What must never be: a key in a wrong place, a request to a wrong host, a state others read, a shell."""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import re
import socket
import ssl
import stat
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

import gateway
import listeners
from gateway import paths
from gateway.dispatchers.emoncms.dispatcher import Emoncms
from gateway.plugin import DeliveryFailure, HoldEverything, OutcomeUnknown, TryLater
from tests.at_emoncms import KEY, dispatcher, failure_of, frame, prepare, send
from tests.certificates import make_certificate
from tests.gateway_process import GatewayProcess, command, state
from tests.ports import free_port
from tests.simulators.emoncms import FAULTS, Answer, FakeEmoncms
from tests.waiting import wait_until


class TestTheKeyIsNowhere:
    @pytest.mark.parametrize(
        "prepare",
        [
            lambda server: setattr(server, "wrong_key", 1),
            lambda server: setattr(server, "reset_before", 1),
            lambda server: setattr(server, "hang", 1),
            lambda server: server.stop(),
            lambda server: server.canned.append(Answer(200, f"{KEY} is no good")),
            lambda server: server.canned.append(Answer(200, f"Error: {KEY}")),
            lambda server: server.canned.append(Answer(500, "x" * 70 + KEY)),
            lambda server: server.canned.append(Answer(302, "", {"Location": f"http://x/?apikey={KEY}"})),
        ],
    )
    def test_in_log_message_traceback_and_what_hangs_on_it(self, server, prepare, caplog):
        prepare(server)
        with caplog.at_level(logging.DEBUG), dispatcher(server.url, timeout=0.2) as emoncms:
            failure = failure_of(emoncms)
            logging.getLogger("oemgateway").error("failed", exc_info=failure)
        assert KEY[:10] not in "".join(traceback.format_exception(failure))
        assert KEY[:10] not in repr(failure) + repr(emoncms)
        assert KEY[:10] not in caplog.text
        assert (failure.__cause__, failure.__context__, vars(failure)) == (None, None, {})

    def test_in_address_and_body(self, server):
        with dispatcher(server.url) as emoncms:
            send(emoncms, [frame(1.0)])
        (request,) = server.requests
        assert KEY not in request.path
        assert KEY.encode() not in request.body


QUOTED = (
    Answer(200, f"{KEY} is no good"),
    Answer(500, f"<h1>{KEY}</h1>"),
    Answer(302, "", {"Location": f"http://x/?apikey={KEY}"}),
    Answer(200, f'{{"success": false, "message": "Format error, {KEY}"}}'),
)


def push(port: int, line: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"{line}\r\n".encode())


@pytest.fixture
def everybody_may_read():
    """Let files be made as they are asked for."""
    mask = os.umask(0)
    yield
    os.umask(mask)


def test_after_every_failure_of_the_server_the_key_is_nowhere_and_nobody_else_may_read_the_state(
    tmp_path, written, server, everybody_may_read
):
    # given a daemon that says all it can, and takes readings from devices that know the key
    port, pushed = free_port(), free_port()
    file = written(
        f"{state(tmp_path)}loglevel = DEBUG\n"
        f"[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        f"[[devices]]\ntype = http\nport = {pushed}\napikey = {KEY}\n"
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {KEY}\n"
        "interval = 0\ntimeout = 1\n"
    )
    with GatewayProcess(file) as running:
        # when the server fails in every way, one after the other
        for number, fault in enumerate(FAULTS):
            setattr(server, fault, 1)
            push(port, f"15 {number}")
            wait_until(lambda number=number: number in [kept.value for kept in server.stored], 20)
            server.release()
        for number, answer in enumerate(QUOTED, len(FAULTS)):
            server.canned.append(answer)
            push(port, f"15 {number}")
            wait_until(lambda number=number: number in [kept.value for kept in server.stored], 20)
        with urlopen(f"http://127.0.0.1:{pushed}/input/post?node=16&csv=1&apikey={KEY}") as answer:
            assert answer.read() == b"ok"
        wait_until(lambda: server.values("16"))
        server.stop()
        push(port, "15 99")
        wait_until(lambda: "not reached" in running.log)
        # then the key is not in what it says, what is to be seen of it, and what it writes
        said = [
            command(*line, "--config-file", file) for line in (["status"], ["queue"], ["check"], ["doctor"])
        ]
        status, arguments = str(running.status()), f"/proc/{running.process.pid}/cmdline"
        assert KEY not in status + Path(arguments).read_text()
        assert [KEY in ran.stdout + ran.stderr for ran in said] == [False] * 4
        kept = [path for path in (tmp_path / "state").iterdir() if not path.is_socket()]
        assert {path.name for path in kept} >= {"queue.db", "queue.db-wal", "last-time", "indices.json"}
        assert [path for path in kept if KEY.encode() in path.read_bytes()] == []
        assert [path for path in kept if stat.S_IMODE(path.stat().st_mode) != 0o600] == []
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o750
        running.stop()
    assert KEY not in running.log
    # nor in an address, whatever was asked
    assert {request.method for request in server.requests} >= {"POST", "GET"}
    assert [request.path for request in server.requests if KEY in request.path] == []


@pytest.mark.parametrize("named", [True, False])
def test_a_directory_that_is_made_for_the_state_is_for_its_owner_and_group(
    tmp_path, monkeypatch, everybody_may_read, named
):
    monkeypatch.setattr(paths, "STATE", tmp_path / "var" / "oemgateway")
    directory = paths.make_state_dir(tmp_path / "named" if named else None)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


class TestTls:
    def test_a_certificate_of_its_own_is_refused(self, certificate):
        with FakeEmoncms(key=KEY, tls=certificate) as server, dispatcher(server.url) as emoncms:
            failure = failure_of(emoncms)
            assert type(failure) is TryLater
            assert "certificate is not accepted (self" in str(failure)
            assert "ca_file" in str(failure)
            assert server.requests == []

    def test_and_accepted_with_its_authority_in_ca_file(self, certificate):
        with FakeEmoncms(key=KEY, tls=certificate) as server:
            with dispatcher(server.url, ca_file=certificate[0]) as emoncms:
                send(emoncms, [frame(1.0)])
                send(emoncms, [frame(2.0)])
            assert [stored.value for stored in server.stored] == [1.0, 2.0]
            assert server.connections == 1

    def test_but_not_for_another_host(self, certificate):
        with FakeEmoncms(key=KEY, tls=certificate) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            with dispatcher(url, ca_file=certificate[0]) as emoncms:
                failure = failure_of(emoncms)
            assert type(failure) is TryLater
            assert "'localhost'" in str(failure)
            assert "write the name that it has into url" in str(failure)

    @pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_server_that_wants_a_certificate_is_one_line_without_a_place_in_a_library(
        self, certificate, newest
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.maximum_version, context.verify_mode = newest, ssl.CERT_REQUIRED

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with contextlib.suppress(ssl.SSLError), listening.accept()[0] as plain:
                        context.wrap_socket(plain, server_side=True).recv(100)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=refuse, daemon=True).start()
            url = f"https://127.0.0.1:{listening.getsockname()[1]}"
            with dispatcher(url, ca_file=certificate[0]) as emoncms:
                words = {str(failure_of(emoncms)) for _ in range(5)}
            listening.shutdown(socket.SHUT_RDWR)
        for each in words:
            assert "ssl.c" not in each
            assert "Pool" not in each
            assert "SSL" not in each.replace("no https", "")

    def test_a_reset_after_the_handshake_leaves_the_outcome_unknown(self, certificate):
        with FakeEmoncms(key=KEY, tls=certificate, reset_after=1) as server:
            with dispatcher(server.url, ca_file=certificate[0]) as emoncms:
                assert type(failure_of(emoncms)) is OutcomeUnknown
            wait_until(lambda: server.stored)

    @pytest.mark.parametrize("text", [None, "no certificate\n"])
    def test_a_ca_file_that_is_none_is_a_trouble(self, tmp_path, text):
        path = tmp_path / "authority.pem"
        if text is not None:
            path.write_text(text)
        with pytest.raises(OSError, match=r"ca_file .*authority.pem: PEM certificates expected: ") as caught:
            Emoncms(apikey=KEY, ca_file=path).open()
        assert not isinstance(caught.value, ssl.SSLError)

    @pytest.mark.parametrize("text", [None, "no certificate\n"])
    def test_a_ca_file_that_is_none_any_more_is_named_and_not_the_server(self, certificate, tmp_path, text):
        path = tmp_path / "authority.pem"
        path.write_text(certificate[0].read_text())
        with (
            FakeEmoncms(key=KEY, tls=certificate) as server,
            dispatcher(server.url, ca_file=path) as emoncms,
        ):
            path.unlink() if text is None else path.write_text(text)
            failure = failure_of(emoncms)
        assert type(failure) is TryLater
        assert f"ca_file {path}: PEM certificates expected: " in str(failure)
        assert "server up" not in str(failure)


class TestNoOtherHost:
    @pytest.fixture
    def connected(self, monkeypatch) -> list[object]:
        """Return the list of addresses that were connected to."""
        addresses: list[object] = []
        connect = socket.socket.connect

        def noting(self: socket.socket, address: object) -> None:
            addresses.append(address)
            connect(self, address)

        monkeypatch.setattr(socket.socket, "connect", noting)
        return addresses

    @pytest.fixture
    def elsewhere(self, tmp_path, monkeypatch) -> Iterator[FakeEmoncms]:
        """Return a server that the environment wants to be asked instead, and to be given a password."""
        with FakeEmoncms(key=KEY) as other:
            for name in ("http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, other.url)
                monkeypatch.setenv(name.upper(), other.url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.setenv("HOME", str(tmp_path))
            (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
            (tmp_path / ".netrc").chmod(0o600)
            yield other

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, server, elsewhere, connected, status):
        away = Answer(
            status, "", {"Location": f"{elsewhere.url}/input/bulk", "Refresh": f"0; {elsewhere.url}"}
        )
        with dispatcher(server.url) as emoncms:
            server.canned, server.clock_ahead = [away] * 4, 60
            failure = failure_of(emoncms)
            with pytest.raises(HoldEverything):
                prepare(emoncms, [frame(1.0)]).delivered()
            assert emoncms.time() is not None
        assert isinstance(failure, HoldEverything)
        assert f"redirects to {elsewhere.url}: put that address in url" in str(failure)
        assert elsewhere.requests == []
        assert set(connected) == {("127.0.0.1", server.port)}

    @pytest.mark.parametrize("fault", ["", *FAULTS])
    def test_no_proxy_and_no_failure_leads_elsewhere(self, server, elsewhere, connected, fault):
        if fault:
            setattr(server, fault, 1)
        with dispatcher(server.url, timeout=0.2) as emoncms:
            post = prepare(emoncms, [frame(1.0)])
            for ask in (post.send, post.delivered, emoncms.time):
                try:
                    ask()
                except DeliveryFailure:
                    continue
        assert elsewhere.requests == []
        assert set(connected) == {("127.0.0.1", server.port)}
        # and the key that is sent is ours
        assert {request.headers.get("authorization") for request in server.requests} <= {
            f"Bearer {KEY}",
            None,
        }

    def test_what_a_server_says_of_itself_changes_no_address(self, server, elsewhere, connected):
        cookie = {"Set-Cookie": "a=b", "Alt-Svc": f'h2="{elsewhere.url}"', "Content-Location": elsewhere.url}
        server.canned = [Answer(200, "ok", cookie)]
        with dispatcher(server.url) as emoncms:
            send(emoncms, [frame(1.0)])
            send(emoncms, [frame(2.0)])
        assert "cookie" not in server.requests[-1].headers
        assert set(connected) == {("127.0.0.1", server.port)}

    def test_the_one_request_in_the_program_names_the_configured_address_and_follows_nothing(self):
        # given all calls of the library that makes requests
        calls = {
            path.name: call
            for path in SOURCES
            for call in ast.walk(ast.parse(path.read_text()))
            if isinstance(call, ast.Call) and REQUEST.fullmatch(ast.unparse(call.func))
        }
        assert list(calls) == ["session.py"]
        call = calls["session.py"]
        assert ast.unparse(call.args[1]) == "f'{self._url}{path}'"
        # and what follows the address is a path, which leads to no other host
        source = Path(gateway.__file__).parent / "dispatchers" / "emoncms"
        paths = [
            ast.unparse(call.args[position])
            for file in source.rglob("*.py")
            for call in ast.walk(ast.parse(file.read_text()))
            if isinstance(call, ast.Call)
            for name, position in (("erver.ask", 1), ("self._read", 0), ("self._understood", 0))
            if ast.unparse(call.func).endswith(name)
        ]
        assert len(paths) > 5
        assert [
            path for path in paths if path not in ("path", "''") and not re.match("f?'/[a-z]", path)
        ] == []


REQUEST = re.compile(r"requests\.\w+|.*session\.(get|post|head|request|put|patch|delete|options)")


SOURCES = [
    path for package in (gateway, listeners) for path in sorted(Path(package.__file__).parent.rglob("*.py"))
]
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "spawn"}
"""Functions, of whatever module, that hand a line to a shell."""


def lines_with_a_shell(text: str) -> list[int]:
    """Return the lines of a program that run something through a shell."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            shell = "shell" in keywords and ast.unparse(keywords["shell"]) != "False"
            if name in SHELLS or shell or (None in keywords and name == "Popen"):
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and SHELLS & {alias.name for alias in node.names}:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "os.system('ls')",
        "os.popen(x)",
        "subprocess.run(x, shell=True)",
        "Popen(x, shell=y)",
        "Popen(x, **how)",
        "subprocess.getoutput('ls')",
        "from os import system as run",
    ],
)
def test_a_shell_would_be_seen(text):
    assert lines_with_a_shell(text) == [1]


def test_nothing_is_run_through_a_shell():
    assert len(SOURCES) > 60
    assert [path for path in SOURCES if lines_with_a_shell(path.read_text())] == []
