"""TLS with a broker that wants a certificate of its clients, and what is wrong with the files for that."""

from __future__ import annotations

import subprocess

import pytest

from gateway.mqtt.broker import Broker, Unreachable
from gateway.mqtt.session import Session
from tests.certificates import make_certificate
from tests.simulators.mosquitto import Mosquitto


@pytest.fixture
def two(tmp_path):
    """Two certificates that do not know each other, each with its key."""
    for name in "ab":
        (tmp_path / name).mkdir()
    return make_certificate(tmp_path / "a"), make_certificate(tmp_path / "b")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_broker_that_wants_a_certificate_says_so_and_which_it_takes(tmp_path, two, version):
    # given a broker that lets in only who has a certificate that it knows
    (known, key), (other, its_key) = two
    limit = tmp_path / "openssl.cnf"
    limit.write_text(
        f"openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = TLSv{version}\n"
    )
    lines = f"certfile {known}\nkeyfile {key}\ncafile {known}\nrequire_certificate true"
    limited = {"OPENSSL_CONF": str(limit)}
    with Mosquitto(tmp_path, f"allow_anonymous true\n{lines}", environment=limited) as broker:

        def session(**files):
            return Session(Broker(host="127.0.0.1", port=broker.port, ca_file=known, **files), "x")

        def refused(**files):
            with pytest.raises(Unreachable) as caught:
                session(**files).open()
            return f"{caught.value}: {caught.value.cure}"

        # when one with it connects, then it may
        accepted = session(cert_file=known, key_file=key)
        accepted.open()
        accepted.close()
        # and when one without it, or with another, connects, then it is told
        for _ in range(3):  # the refusal may come before we have sent anything, or after
            assert "a certificate of this machine" in (said := refused())
            assert said.endswith("name one, and its key, in cert_file and key_file")
            assert "it refuses the certificate in cert_file: unknown ca" in refused(
                cert_file=other, key_file=its_key
            )


def test_which_of_a_certificate_and_its_key_is_wrong_is_said(tmp_path, two):
    (cert, key), (_, its_key) = two
    secret = tmp_path / "secret.pem"
    subprocess.run(["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", secret], check=True)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    for settings, words in (
        (
            {"cert_file": cert, "key_file": its_key},
            f"key_file {its_key} cannot be used: it is not the key of",
        ),
        (
            {"cert_file": cert, "key_file": tmp_path / "no"},
            f"key_file {tmp_path / 'no'} cannot be used: No such",
        ),
        ({"cert_file": cert, "key_file": cert}, f"key_file {cert} cannot be used: there is no key in it"),
        (
            {"cert_file": cert, "key_file": secret},
            f"key_file {secret} cannot be used: the key needs a password",
        ),
        ({"cert_file": cert}, f"cert_file {cert} cannot be used: there is no key in it"),
        ({"cert_file": key, "key_file": key}, f"cert_file {key} cannot be used: no "),
        ({"cert_file": garbage, "key_file": key}, f"cert_file {garbage} cannot be used: "),
        ({"ca_file": key}, f"ca_file {key} cannot be used: no certificate or crl found"),
    ):
        with pytest.raises(Unreachable) as caught:
            Broker(**settings).context()
        assert str(caught.value).startswith(words)
        assert "_ssl" not in str(caught.value)
