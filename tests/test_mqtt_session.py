"""A connection to Debian's mosquitto: what it promises, what it refuses, how it ends."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.mqtt.broker import FAILED, Broker, Lost, Unreachable
from gateway.mqtt.message import Message
from gateway.mqtt.session import TOO_LARGE, Session
from gateway.settings import SettingsFault
from tests.certificates import make_certificate
from tests.gateway_process import run
from tests.peers import need
from tests.ports import free_port
from tests.simulators.mosquitto import Mosquitto, Subscriber, old, publish
from tests.simulators.peer import answering, passing_on, silence
from tests.waiting import wait_until


def connected(broker, name="x", **more):
    settings = {
        key: more.pop(key)
        for key in list(more)
        if key in ("user", "password", "ca_file", "tls", "host", "timeout")
    }
    session = Session(Broker(**{"host": "127.0.0.1", "port": broker.port, **settings}), name, **more)
    session.open()
    return session


def test_messages_arrive_in_order_and_are_acknowledged_one_by_one(broker):
    session, codes = connected(broker), []
    with Subscriber(broker, "home/#") as subscriber:
        session.deliver([Message(f"home/{number % 3}", b"%d" % number) for number in range(500)], codes)
        wait_until(lambda: len(subscriber.messages) == 500)
        assert [int(payload) for _, payload, _ in subscriber.messages] == [*range(500)]
    session.close()
    assert (session.version, codes) == (5, [0] * 500)


@pytest.mark.parametrize(("options", "expected"), [("max_keepalive 10", 2.5), ("", 15.0)])
def test_a_broker_may_want_to_hear_of_us_more_often(tmp_path, options, expected):
    with Mosquitto(tmp_path, options=options) as broker:
        session = connected(broker)
        assert session.patience == expected
        session.close()


def test_a_broker_that_retains_nothing_is_one_line_with_a_cure(tmp_path):
    with Mosquitto(tmp_path, options="retain_available false") as broker:
        with pytest.raises(Unreachable, match="refuses: Retain not supported") as caught:
            connected(broker, will=Message("home/status", b"offline", retain=True))
        assert "retain_available true" in caught.value.cure


def test_a_port_at_which_no_tls_is_spoken_is_said_with_its_cure(broker):
    session = Session(Broker(host="127.0.0.1", port=broker.port, tls=True), "x")
    with pytest.raises(Unreachable, match="no TLS there, or another kind of it: ") as caught:
        session.open()
    assert "give the port for TLS, 8883 as a rule, or take tls" in caught.value.cure


def test_a_message_that_nobody_reads_is_known_to_be_one(broker):
    session, codes = connected(broker), []
    session.deliver([Message("nobody", b"1")], codes)
    session.close()
    assert codes == [0x10]


def test_what_the_user_may_not_publish_is_refused_and_the_rest_taken(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite home/#\n")
    with Mosquitto(tmp_path, "allow_anonymous true", options=f"acl_file {acl}") as broker:
        session, codes = connected(broker), []
        session.deliver([Message("home/a", b"1"), Message("else/a", b"2"), Message("home/b", b"3")], codes)
        session.close()
    assert [code >= FAILED for code in codes] == [False, True, False]
    assert codes[1] == 0x87


def test_a_wrong_password_is_one_line_with_a_cure(tmp_path):
    need("mosquitto_passwd", "mosquitto")
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", passwords, "me", "right"], check=True, capture_output=True
    )
    passwords.chmod(0o644)
    with Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as broker:
        connected(broker, user="me", password="right").close()
        with pytest.raises(Unreachable, match="refuses user me: Not authorized") as caught:
            connected(broker, user="me", password="wrong")
        assert "wrong" not in str(caught.value)
        assert "password" in caught.value.cure
        with pytest.raises(Unreachable, match="refuses a client without a user name: Not authorized"):
            connected(broker)


def test_no_broker_and_no_such_host_are_one_line():
    with pytest.raises(
        Unreachable, match=r"^127\.0\.0\.1:[0-9]+: connection refused: no broker listens there$"
    ):
        Session(Broker(host="127.0.0.1", port=free_port()), "x").open()
    with pytest.raises(Unreachable, match=r"^no\.such\.host\.invalid:1883: "):
        Session(Broker(host="no.such.host.invalid"), "x").open()


def test_a_port_for_tls_is_tried_without_it_and_the_setting_is_named(tmp_path):
    certificate, key = make_certificate(tmp_path)
    tls = f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}"
    with Mosquitto(tmp_path, tls) as broker:
        with pytest.raises(Unreachable, match=r"closed the connection: is it a broker\? .* add tls = yes"):
            connected(broker)
        connected(broker, tls=True, ca_file=certificate).close()


def test_a_certificate_that_has_ended_may_be_due_to_the_clock():
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 10, "certificate has expired"
    assert "see that this machine's clock is right" in Broker().unreachable(error).cure


def test_something_that_is_no_broker_is_said_so(peer):
    with pytest.raises(Unreachable, match="no answer within 1 s"):
        Session(Broker(host="127.0.0.1", port=peer(silence).port, timeout=1.0), "x").open()
    with pytest.raises(Unreachable, match=r"no TLS there, .*: The handshake operation timed out$") as caught:
        Session(Broker(host="127.0.0.1", port=peer(silence).port, timeout=1.0, tls=True), "x").open()
    assert "or take tls" in caught.value.cure
    with pytest.raises(Unreachable, match="it closed the connection: is it a broker"):
        Session(Broker(host="127.0.0.1", port=peer(answering(b"")).port), "x").open()
    port = peer(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50)).port
    with pytest.raises(OSError, match=f"^127.0.0.1:{port}[: ]"):
        Session(Broker(host="127.0.0.1", port=port, timeout=2.0), "x").open()


def test_a_broker_that_is_killed_ends_the_connection_and_nothing_is_taken_for_acknowledged(broker):
    session, codes = connected(broker), []
    broker.kill()
    with pytest.raises(Lost, match=f"^127.0.0.1:{broker.port}: "):
        session.deliver([Message("home/a", b"1")], codes)
    assert codes == []
    session.close()
    broker.start()
    connected(broker).close()


def test_what_is_acknowledged_together_with_the_end_of_the_connection_is_known(peer):
    def ends(_, connection):
        connection.recv(4096)
        connection.sendall(b"\x20\x03\x00\x00\x00")
        connection.recv(4096)
        connection.sendall(b"\x40\x02\x00\x01\x40\x03\x00\x02\x95")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    session, codes = connected(peer(ends)), []
    with pytest.raises(Lost):
        session.deliver([Message("home/a", b"1"), Message("home/b", b"2"), Message("home/c", b"3")], codes)
    session.close()
    assert codes == [0, TOO_LARGE]


def test_a_last_will_is_published_at_a_kill_and_not_at_a_good_end(broker):
    with Subscriber(broker, "home/status") as subscriber:
        will = Message("home/status", b"offline", retain=True)
        connected(broker, will=will).close()
        session = connected(broker, "y", will=will)
        session._client.socket().shutdown(socket.SHUT_RDWR)
        wait_until(lambda: subscriber.of("home/status") == ["offline"])
        session.close()


def test_a_message_that_ends_the_connection_is_known_by_being_alone(broker, peer):
    session, codes = connected(peer(passing_on(broker.port, refused=b"xxx"))), []
    session.deliver([Message("home/a", b"1")], codes)
    with pytest.raises(Lost) as caught:
        session.deliver([Message("home/a", b"x" * 5000)], [])
    assert (codes, caught.value.unacknowledged) == ([0x10], 1)
    session.close()


@pytest.mark.parametrize("limit", ["max_packet_size", "message_size_limit"])
def test_a_message_that_is_too_large_is_refused_whether_that_is_announced_or_not(tmp_path, limit):
    with Mosquitto(tmp_path, options=f"{limit} 2000") as broker:
        session, codes = connected(broker), []
        messages = [Message("home/a", b"1"), Message("home/a", b"x" * 5000), Message("home/a", b"3")]
        session.deliver(messages, codes)
        session.close()
    assert codes == [0x10, TOO_LARGE, 0x10]


def test_a_retained_message_expires(broker):
    session, codes = connected(broker), []
    session.deliver([Message("home/a", b"1", retain=True, expiry=1.0)], codes)
    session.close()

    def is_gone():
        with Subscriber(broker, "home/a") as subscriber:
            return subscriber.of("home/a") == []

    wait_until(is_gone)


def test_a_session_keeps_what_comes_while_nobody_is_there_until_it_is_acknowledged(broker):
    def kept():
        return connected(broker, "keeper", session_expiry=3600, receive_maximum=300)

    session = kept()
    session.subscribe(["home/#"])
    session.close()
    publish(broker, "home/a", "1")
    session = kept()
    assert session.is_resumed
    wait_until(lambda: session.wait(0.1) or session.received)
    session.close()
    session = kept()
    wait_until(lambda: session.wait(0.1) or session.received)
    session.acknowledge(session.received[0])
    session.wait()
    session.close()
    session = kept()
    session.subscribe(["home/#"], retained=False)
    publish(broker, "home/a", "2")
    wait_until(lambda: session.wait(0.1) or session.received)
    assert [message.payload for message in session.received] == [b"2"]
    session.close()


def test_who_shares_its_id_with_another_is_told(broker):
    first, second = connected(broker, "same"), connected(broker, "same")
    with pytest.raises(Lost, match="another client has the id same, too"):
        first.wait(5)
    second.close()


def test_a_subscription_that_is_refused_is_said(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite home/#\n")
    with Mosquitto(tmp_path, options=f"acl_file {acl}") as broker:
        session = connected(broker)
        session.subscribe(["home/a"])
        publish(broker, "home/a", "1")
        wait_until(lambda: session.wait(0.1) or session.received)
        session.close()


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b""])
def test_an_old_broker_is_spoken_to_as_it_understands(broker, peer, answer):
    session, codes = connected(peer(old(broker, answer))), []
    with Subscriber(broker, "home/#") as subscriber:
        session.deliver([Message("home/a", b"1", retain=True, expiry=5.0)], codes)
        wait_until(lambda: subscriber.of("home/a") == ["1"])
    assert (session.version, codes) == (4, [0])
    session.close()


def with_tls(tmp_path):
    cert, key = make_certificate(tmp_path, "DNS:localhost")
    return Mosquitto(tmp_path, f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}"), cert


def test_tls_with_the_certificate_that_is_trusted_and_without(tmp_path):
    broker, cert = with_tls(tmp_path)
    with broker:
        session, codes = connected(broker, host="localhost", ca_file=cert), []
        session.deliver([Message("home/a", b"x" * 60_000)] * 40, codes)
        assert len(codes) == 40
        assert session.certificate_ends
        session.close()
        with pytest.raises(Unreachable, match="certificate is refused: self-signed certificate") as caught:
            Session(Broker(host="localhost", port=broker.port, tls=True), "x").open()
        assert "ca_file" in caught.value.cure
        with pytest.raises(Unreachable, match="mismatch"):
            Session(Broker(host="127.0.0.1", port=broker.port, ca_file=cert), "x").open()
        with pytest.raises(Unreachable, match=f"^127.0.0.1:{broker.port}: "):
            Session(Broker(host="127.0.0.1", port=broker.port, timeout=3.0), "x").open()


class Wrong1970:
    def wall(self):
        return 5.0

    def monotonic(self):
        return 5.0


def test_a_certificate_that_has_ended_is_one_line_and_so_is_a_clock_in_1970(tmp_path, faketime):
    broker, cert = with_tls(tmp_path)
    with broker:
        code = (
            "from gateway.mqtt.broker import Broker; from gateway.mqtt.session import Session\n"
            f"try: Session(Broker(host='localhost', port={broker.port}, ca_file='{cert}'), 'x').open()\n"
            "except OSError as error: print(error, error.cure, sep='|')"
        )

        def said(when):
            done = run(sys.executable, "-c", code, LD_PRELOAD=faketime, FAKETIME=when)
            return done.stdout + done.stderr

        assert "certificate is refused: certificate has expired" in said("+40d")
        then = said("@1970-01-02 00:00:00")
        # OpenSSL 3.6 adds "or the system clock is incorrect".
        assert "certificate is not yet valid" in then
        assert "; the clock of this machine shows 1970-01-0" in then
        assert "set the clock" in then


def test_a_plain_broker_where_tls_is_expected(broker):
    with pytest.raises(Unreachable, match=f"^127.0.0.1:{broker.port}: "):
        Session(Broker(host="127.0.0.1", port=broker.port, tls=True), "x").open()


def test_files_that_cannot_be_used_are_named(broker, tmp_path):
    for settings, name in (
        ({"ca_file": tmp_path / "no"}, "ca_file"),
        ({"cert_file": tmp_path / "no"}, "cert_file"),
    ):
        with pytest.raises(Unreachable, match=f"^{name} {tmp_path}/no cannot be used: No such file"):
            Session(Broker(host="127.0.0.1", port=broker.port, **settings), "x").open()


def test_files_in_a_home_that_may_not_be_entered_say_so(broker, tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.paths.os.access", lambda place, mode: mode == os.F_OK or place != tmp_path)
    for settings in (
        {"ca_file": tmp_path / "ca"},
        {"cert_file": tmp_path / "crt", "key_file": tmp_path / "key"},
    ):
        with pytest.raises(Unreachable, match=f"cannot be used: this user may not enter {tmp_path}: use"):
            Session(Broker(host="127.0.0.1", port=broker.port, **settings), "x").open()


def test_settings_that_need_another():
    with pytest.raises(SettingsFault, match="key_file: a cert_file expected"):
        Broker(key_file=Path("/k"))
    with pytest.raises(SettingsFault, match="password: a user expected"):
        Broker(password="p")
    assert "p4ss" not in repr(Broker(user="u", password="p4ss"))
    assert Broker(tls=True).address == ("localhost", 8883)
    assert [key for key, _ in Broker(host="far", user="u", password="p").remarks()] == ["password"]
