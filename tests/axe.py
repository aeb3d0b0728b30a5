"""axe-core, which finds what people who see badly or use no mouse cannot use; from npm, kept in a cache."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers import missing, need

if TYPE_CHECKING:
    from tests.browser import Browser

VERSION = "4.12.1"
FILE = Path(os.environ.get("AXE", Path.home() / f".cache/oemgateway/axe-core-{VERSION}/axe.min.js"))


def install() -> None:
    """Put it into the cache."""
    npm = need("npm", "npm")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"axe-core@{VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            missing(f"npm cannot fetch axe-core: {done.stderr[-500:]}", large=True)
        (packed,) = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script
            FILE.parent.mkdir(parents=True, exist_ok=True)
            FILE.write_bytes(script.read())


def violations(browser: Browser) -> list[str]:
    """Return what it finds wrong with the page, a line for each element; its best practices as well."""
    if not FILE.exists():
        if os.environ.get("REQUIRE_PEERS") != "all":
            missing("axe-core is missing: make peers installs it", large=True)
        install()
    browser.evaluate(f"{FILE.read_text(encoding='utf-8')};0")
    found = browser.evaluate(
        "axe.run(document).then(({violations, passes}) => ({passes: passes.length, wrong: violations.flatMap("
        "(each) => each.nodes.map((node) => `${each.id}: ${node.html}: ${node.failureSummary}`))}))"
    )
    assert found["passes"] > 5, "it has looked at nothing"
    return found["wrong"]
