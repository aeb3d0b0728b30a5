"""The unit of systemd, as a text; `make machine` runs it."""

from __future__ import annotations

from pathlib import Path

from gateway.text.terminal import CONFIGURATION
from listeners.onewire.drivers.owfs import MOUNT_POINT

UNIT = Path(__file__).parent.parent / "etc/systemd/system/oemgateway.service"


def test_a_dead_mount_of_owfs_does_not_keep_the_service_from_starting():
    # given the paths that systemd opens before it starts the service
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("ReadWritePaths="))
    opened = [Path(word.removeprefix("-")) for word in line.partition("=")[2].split()]
    # when owfs was killed, its mount point can be opened no more: it is not among them, but below one of them
    assert MOUNT_POINT not in opened
    assert any(MOUNT_POINT.is_relative_to(path) for path in opened)


def test_wrong_arguments_are_not_tried_again_and_again():
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("RestartPreventExitStatus="))
    # as a service ends whose arguments are wrong; 2 is that of a Python, too, that cannot read its program
    assert line.partition("=")[2] == str(CONFIGURATION)


def test_a_stop_is_a_signal_to_the_gateway_and_not_to_the_programs_that_it_ends_itself():
    # what an exec listener has started would otherwise end first, as if it had failed
    assert "KillMode=mixed" in UNIT.read_text().splitlines()
