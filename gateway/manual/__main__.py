"""`python -m gateway.manual FOLDER` writes the manual pages and the completion; run it beside etc/."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.command import parser
from gateway.manual import command_page, commands, file_page, shipped_file
from gateway.manual.completion import completion
from gateway.version import MADE, VERSION

_SHIPPED = Path("etc/oemgateway.conf")


def main() -> str | None:
    """Write the three files; return what is wrong where they cannot be written."""
    own = argparse.ArgumentParser(prog="python -m gateway.manual", description=__doc__)
    own.add_argument("folder", type=Path, metavar="FOLDER", help="where to; it is made where it is missing")
    folder: Path = own.parse_args().folder
    oemgateway = commands.read(parser())
    date = datetime.fromtimestamp(MADE, UTC).date().isoformat()
    try:
        sections = shipped_file.read(_SHIPPED.read_text(encoding="utf-8"))
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "oemgateway.1": command_page.page(oemgateway, date, VERSION),
            "oemgateway.conf.5": file_page.page(sections, date, VERSION),
            "oemgateway": completion(oemgateway),
        }.items():
            (folder / name).write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        return f"oemgateway manual: {error}"
    return None


sys.exit(main())
