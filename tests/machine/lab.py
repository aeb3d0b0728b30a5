"""What every scenario is given: machines to switch on, and a table to write into."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from tests.machine.guest import Guest, overlay
from tests.machine.hardware import Hardware
from tests.machine.image import Image
from tests.machine.report import Rows
from tests.machine.service import install


class Lab:
    """`package` is the Debian package under test, `arch` the machine; `full` asks for the long form.

    `report` has the rows of the scenario, and `installed` what `install` returns.
    """

    installed: Future[Path]

    def __init__(
        self, image: Image, package: Path, folder: Path, report: Rows, *, arch: str, full: bool
    ) -> None:
        self.image = image
        self.package = package
        self.folder = folder
        self.report = report
        self.arch = arch
        self.full = full
        self._running: set[Guest] = set()
        self._over = threading.Event()
        self._numbers = itertools.count(1)

    def of(self, report: Rows) -> Lab:
        """Return the same for another scenario."""
        other = copy.copy(self)
        other.report = report
        return other

    def end(self) -> None:
        """Switch off the guests of all scenarios, and switch none on any more."""
        self._over.set()
        for guest in list(self._running):
            guest.cut()

    def disk(self, base: Path | None = None) -> Path:
        """Return a new disk: the image with the package installed, unless another is named."""
        base = base or self.installed.result()
        return overlay(self.folder / f"disk{next(self._numbers)}.qcow2", base)

    def install(self) -> Path:
        """Return a disk with the package installed, and nothing configured."""
        disk = self.disk(self.image.disk)
        with self.boot(disk) as guest:
            install(guest, self.package)
            guest.power_off()
        self.report.row("the package is installed for all", self.report.took())
        return disk

    @contextmanager
    def boot(
        self,
        disk: Path | None = None,
        hardware: Hardware | None = None,
        rtc: str = "base=utc",
        cmdline: str = "",
    ) -> Iterator[Guest]:
        """Switch a machine on, with this disk and hardware or new ones; the end is a power cut."""
        disk = disk or self.disk()
        attached = hardware or Hardware()
        try:
            guest = Guest(
                self.image,
                disk,
                arch=self.arch,
                rtc=rtc,
                cmdline=cmdline,
                extra=attached.options(self.arch),
                sockets=attached.sockets,
            )
            self._running.add(guest)
            if self._over.is_set():
                guest.cut()
            with guest:
                yield guest
            self._running.remove(guest)
        finally:
            attached.close()
