"""C libraries for LD_PRELOAD, which replace functions of the system in a program under test."""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.peers import need

SOURCES = Path(__file__).parent / "preload"

_FOLDERS: list[tempfile.TemporaryDirectory] = []  # as long as this process lives


@cache
def preloaded(source: Path) -> Path:
    """Return the library that a C source makes, for LD_PRELOAD: there a space or a colon ends its path."""
    compiler = need("cc", "gcc libc6-dev")
    usual = tempfile.gettempdir()
    folder = tempfile.TemporaryDirectory(
        prefix="oemgateway-preload-", dir="/tmp" if re.search("[ :]", usual) else usual
    )
    _FOLDERS.append(folder)
    library = Path(folder.name) / f"{source.stem}.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
