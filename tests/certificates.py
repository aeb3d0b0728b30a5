"""A certificate as openssl makes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.peers import need


def make_certificate(
    folder: Path, hosts: str = "DNS:localhost,IP:127.0.0.1", days: int = 10
) -> tuple[Path, Path]:
    """Return the files of a certificate for these hosts, signed by itself, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [need("openssl", "openssl"), "req", "-x509", "-nodes", "-days", str(days)]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=test"]
    for extension in (f"subjectAltName={hosts}", "keyUsage=critical,digitalSignature,keyCertSign"):
        command += ["-addext", extension]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key
