"""`make machine`: build the image where it is missing, run the scenarios, print what was measured."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from tests.machine.guest import GuestError
from tests.machine.image import Missing, image
from tests.machine.lab import Lab
from tests.machine.report import Report, Rows

SCENARIOS = ("smoke", "ways", "power", "clock", "upgrade", "disk", "watchdog", "plug")
"""The long ones first, so that no guest runs alone at the end."""

FROM_THE_IMAGE = {"smoke", "upgrade"}
"""Those that install the package themselves."""

NEEDED = {"qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs"}
"""Programs, and the packages that they are in."""

NEEDED_FOR = {
    "amd64": {"qemu-system-x86_64": "qemu-system-x86 seabios"},
    "arm64": {
        "qemu-system-aarch64": "qemu-system-arm",
        "qemu-aarch64-static": "qemu-user-static",
        "update-binfmts": "binfmt-support",
        "arch-test": "arch-test",
    },
}


def main() -> int:
    """Run the scenarios that are named, or all."""
    parser = argparse.ArgumentParser(prog="make machine", description=__doc__)
    parser.add_argument("package", type=Path, help="the Debian package to test")
    parser.add_argument("only", nargs="*", choices=[*SCENARIOS, []], help="these scenarios (default: all)")
    parser.add_argument("--full", action="store_true", help="the long form: many power cuts")
    parser.add_argument("--arch", choices=NEEDED_FOR, default="amd64", help="what the machine is")
    parser.add_argument("--jobs", type=int, default=2, help="how many guests at a time")
    options = parser.parse_intermixed_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to switch off and clean up, as at Ctrl-C
    report = Report()
    try:
        _look_for(NEEDED | NEEDED_FOR[options.arch])
        with tempfile.TemporaryDirectory(prefix="machine-", dir="/var/tmp") as folder:
            rows = Rows(report, "image")
            made = image(options.arch)
            lab = Lab(made, options.package, Path(folder), rows, arch=options.arch, full=options.full)
            rows.row("the image is there", rows.took())
            _run_all(options.only or SCENARIOS, lab, report, options.jobs)
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return report.end()


def _look_for(needed: dict[str, str]) -> None:
    """Raise Missing where one of these programs is not here."""
    missing = " ".join(packages for program, packages in needed.items() if shutil.which(program) is None)
    if missing:
        raise Missing(f"The machine needs more: sudo apt-get install --no-install-recommends {missing}")


def _run_all(scenarios: Sequence[str], lab: Lab, report: Report, jobs: int) -> None:
    """Run them, some at a time; Ctrl-C switches their guests off, at which they end."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            if not set(scenarios) <= FROM_THE_IMAGE:
                lab.installed = pool.submit(lab.install)
            list(pool.map(lambda name: _run(name, lab.of(Rows(report, name))), scenarios))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            lab.end()
            raise


def _run(scenario: str, lab: Lab) -> None:
    """Run one; whatever goes wrong in it is a row, and the next one runs."""
    try:
        import_module(f"tests.machine.scenarios.{scenario}").run(lab)
    except (GuestError, Missing) as error:
        lab.report.row("to the end", "", ok=False, details=f"{_place()}{error}")
    except Exception:
        lab.report.row("to the end", "", ok=False, details=traceback.format_exc())
    lab.report.row("the scenario took", lab.report.took())


def _place() -> str:
    """Return the line of the scenario that an error came through."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    return "".join(
        f"{Path(each.filename).name}:{each.lineno}: {each.line}\n"
        for each in frames
        if "scenarios" in each.filename
    )


if __name__ == "__main__":
    raise SystemExit(main())
