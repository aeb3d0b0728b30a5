"""What `oemgateway doctor` finds around a serial port: each check where it fails, and where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulators.pi import CONFIG, GROUP, ailing, fault, plugin, well

RASPI_CONFIG = "run raspi-config, Interface Options, Serial Port (login shell: no, hardware: yes), and reboot"


def test_a_port_that_can_be_used(pi):
    assert well(plugin("rfm12pi").examine(pi.machine)) == [
        "/dev/ttyAMA0 is there",
        "pi may read and write /dev/ttyAMA0",
        "no console is on /dev/ttyAMA0",
    ]


def test_a_port_of_the_pi_that_is_missing(pi):
    pi.remove("/dev/ttyAMA0")
    assert fault(plugin("rfm12pi").examine(pi.machine)) == ("/dev/ttyAMA0 is missing", RASPI_CONFIG)


def test_a_board_on_usb_that_is_missing(pi):
    board = plugin("rfm12pi", port="/dev/ttyUSB0")
    assert fault(board.examine(pi.machine)) == ("/dev/ttyUSB0 is missing", "plug the board in")
    pi.device("/dev/ttyUSB1")
    pi.link("/dev/serial/by-id/usb-FTDI-port0", "../../ttyUSB1")
    assert fault(board.examine(pi.machine)) == (
        "/dev/ttyUSB0 is missing",
        "set port to one of these: /dev/serial/by-id/usb-FTDI-port0, /dev/ttyUSB1",
    )
    assert not ailing(plugin("rfm12pi", port="/dev/serial/by-id/usb-FTDI-port0").examine(pi.machine))


def test_a_port_in_the_root_directory(pi):
    assert fault(plugin("rfm12pi", port="/ttyUSB0").examine(pi.machine)) == (
        "/ttyUSB0 is missing",
        "plug the board in",
    )


def test_a_link_to_a_port_in_a_home_that_may_not_be_entered(pi):
    # given a link that socat has made, in a directory that only its owner may enter
    pi.device("/dev/pts/3")
    pi.link("/home/other/tty", "../../dev/pts/3")
    pi.machine.path("/home/other").chmod(0o700)
    # when the doctor looks at it, then no group is the cure
    assert fault(plugin("rfm12pi", port="/home/other/tty").examine(replace(pi.machine, uid=990))) == (
        "pi may not enter /home/other, where /home/other/tty is",
        "put the port, or its link, into another directory",
    )


def test_a_user_who_is_not_in_the_group_of_the_port(pi):
    pi.put("/etc/group", f"dialout:x:{GROUP}:\n")
    assert fault(plugin("rfm12pi").examine(replace(pi.machine, gids=frozenset()))) == (
        "pi is not in the group dialout, which /dev/ttyAMA0 belongs to",
        "sudo usermod -aG dialout pi, then log in again (and restart the gateway)",
    )


@pytest.mark.parametrize("file", ["/proc/cmdline", "/boot/firmware/cmdline.txt"])
@pytest.mark.parametrize("console", ["serial0", "ttyAMA0"])
def test_a_console_of_the_kernel_on_the_port(pi, file, console):
    pi.put(file, f"console={console},115200 console=tty1 rootwait\n")
    assert fault(plugin("rfm12pi").examine(pi.machine)) == (
        f"it is the kernel's console, by console={console},115200 in {file}",
        RASPI_CONFIG,
    )


def test_a_console_on_another_port(pi):
    pi.link("/dev/serial0", "ttyS0")
    pi.put("/proc/cmdline", "console=serial0,115200\n")
    assert not ailing(plugin("rfm12pi").examine(pi.machine))
    pi.device("/dev/ttyS0")
    assert ailing(plugin("rfm12pi", port="/dev/serial0").examine(pi.machine))


def test_a_login_by_inittab(pi):
    line = "T0:23:respawn:/sbin/getty -L ttyAMA0 115200 vt100\n"
    pi.put("/etc/inittab", f"#{line}")
    assert not ailing(plugin("rfm12pi").examine(pi.machine))
    pi.put("/etc/inittab", line)
    assert fault(plugin("rfm12pi").examine(pi.machine)) == (
        "it is used for logins, by /etc/inittab",
        "put a # before the line with ttyAMA0 there, then sudo init q",
    )


@pytest.mark.parametrize("there", [True, False])
def test_a_login_by_systemd(pi, there):
    # given a link as it is on a card, to what is on the card, or not even there
    unit, target = "serial-getty@ttyAMA0.service", "/lib/systemd/system/serial-getty@pi.service"
    pi.link(f"/etc/systemd/system/getty.target.wants/{unit}", pi.path(target) if there else target)
    if there:
        pi.put(target)
    assert fault(plugin("rfm12pi").examine(pi.machine)) == (
        f"it is used for logins, by {unit}",
        f"sudo systemctl disable --now {unit}",
    )


def test_bluetooth_on_the_port(pi):
    pi.put("/proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2\0")
    assert fault(plugin("rfm12pi").examine(pi.machine)) == (
        "Bluetooth uses ttyAMA0 on a Raspberry Pi 3 Model B Rev 1.2",
        f"add the line dtoverlay=disable-bt to {CONFIG} and reboot",
    )
    for overlay in ("disable-bt", "pi3-miniuart-bt"):
        pi.put(CONFIG, f"dtoverlay={overlay}\n")
        findings = list(plugin("rfm12pi").examine(pi.machine))
        assert not ailing(findings)
        assert f"Bluetooth does not use ttyAMA0, by {CONFIG}" in well(findings)


def test_a_simulated_board_needs_nothing(pi):
    assert not list(plugin("rfm12pi", port="simulated").examine(pi.machine))
