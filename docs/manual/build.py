"""`build.py FOLDER [SHIPPED]` writes oemgateway(1), oemgateway.conf(5) and the completion for bash there.

SHIPPED is where the configuration as shipped will be; without it, where the Debian package has it.

Run it where the package `gateway` can be imported; it needs argparse-manpage and shtab.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import shtab

from gateway.commands.main import parser
from gateway.version import MADE, VERSION

HERE = Path(__file__).parent


def complete_paths(tree: argparse.ArgumentParser) -> None:
    """Have shtab complete the names of files and directories where an argument is a path."""
    for action in tree._actions:  # noqa: SLF001  (argparse has no public way to list them)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                complete_paths(command)
        elif action.metavar in ("FILE", "DIR"):
            action.complete = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]


def main(folder: Path, shipped: str = "/usr/share/oemgateway/oemgateway.conf") -> None:
    """Write the three files; the folder is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.fromtimestamp(MADE, UTC).date().isoformat()
    subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-P", "-c", "from argparse_manpage.cli import main; main()"),
            *("--module", "gateway.commands.main", "--function", "parser", "--prog", "oemgateway"),
            *("--project-name", "oemgateway", "--version", VERSION, "--manual-title", "User Commands"),
            *("--description", "sensor and radio readings, by index, to Emoncms"),
            *("--include", HERE / "oemgateway.1.include", "--output", folder / "oemgateway.1"),
        ],
        # argparse-manpage writes the date of the local zone.
        env={**os.environ, "SOURCE_DATE_EPOCH": f"{MADE:.0f}", "TZ": "UTC", "COLUMNS": "80", "NO_COLOR": "1"},
        check=True,
    )
    page = (HERE / "oemgateway.conf.5").read_text(encoding="utf-8")
    page = page.replace("@DATE@", date).replace("@VERSION@", VERSION).replace("@SHIPPED@", shipped)
    (folder / "oemgateway.conf.5").write_text(page, encoding="utf-8")
    tree = parser()
    complete_paths(tree)
    (folder / "oemgateway").write_text(shtab.complete(tree, "bash"), encoding="utf-8")


main(Path(sys.argv[1]), *sys.argv[2:])
