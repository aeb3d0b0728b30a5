"""A radio and an I2C adapter on USB are pulled out and put back while the gateway runs."""

from __future__ import annotations

import time

from tests.machine.arrivals import frames, packets
from tests.machine.guest import Guest
from tests.machine.hardware import Hardware
from tests.machine.lab import Lab
from tests.machine.service import CELLAR, UNIT, configuration, start
from tests.simulators.emoncms import FakeEmoncms

USB_RADIO = "[[usbradio]]\n    type = rfm12pi\n    port = /dev/ttyUSB*\n"

AGAIN_WITHIN_S = 30
"""A listener tries again after 10 seconds at most."""


def run(lab: Lab) -> None:
    """Pull out, put back, wait for readings."""
    hardware = Hardware()
    with FakeEmoncms() as server, lab.boot(hardware=hardware) as guest:
        start(guest, configuration(server, CELLAR, USB_RADIO, every=0))
        pid = guest.run(f"systemctl show -P MainPID {UNIT}")
        _radio(lab, guest, server, hardware)
        _adapter(lab, guest, server, hardware)
        same = guest.run(f"systemctl show -P MainPID {UNIT}") == pid
        lab.report.row("the process is the one of before", "yes" if same else "no", ok=same)


def _radio(lab: Lab, guest: Guest, server: FakeEmoncms, hardware: Hardware) -> None:
    radio = hardware.usb_radio
    radio.start()
    guest.wait(lambda: packets(server, radio.node), "packets of the radio on USB")
    radio.stop()
    # Another program that holds on to the port keeps its name from being given again. It ignores SIGHUP: a
    # session's leader that opens a terminal gets one when that is unplugged.
    guest.run("""systemd-run --unit=holder sh -c "trap '' HUP; exec sleep 1000 </dev/ttyUSB0" """)
    held = "ls -l /proc/$(systemctl show -P MainPID holder)/fd/0 | grep ttyUSB0"
    guest.wait(lambda: guest.succeeds(held), "the port is held open")
    hardware.unplug_usb_radio(guest)
    guest.wait(lambda: not guest.succeeds("ls /dev/ttyUSB*"), "the port is gone")
    time.sleep(5)
    hardware.plug_usb_radio(guest)
    began = time.monotonic()
    name = guest.wait(lambda: guest.run("ls /dev/ttyUSB* 2>/dev/null; true").strip(), "the port is back")
    lab.report.row("the radio is back as", name, ok=name == "/dev/ttyUSB1")
    before = len(packets(server, radio.node))
    radio.start()
    guest.wait(lambda: len(packets(server, radio.node)) > before, "packets again")
    radio.stop()
    took = time.monotonic() - began
    lab.report.row("radio plugged in to its packet at the server", f"{took:.1f} s", ok=took <= AGAIN_WITHIN_S)
    _let_go(lab, guest, "tty")


def _adapter(lab: Lab, guest: Guest, server: FakeEmoncms, hardware: Hardware) -> None:
    guest.wait(lambda: frames(server, "9", time.time() - 5), "values of the sensors")
    hardware.i2c.unplug()
    guest.wait(lambda: not guest.succeeds("test -e /dev/i2c-1"), "the adapter is gone", 60)
    time.sleep(15)
    _let_go(lab, guest, "i2c")
    hardware.i2c.plug()
    began = time.monotonic()
    guest.wait(lambda: guest.succeeds("test -e /dev/i2c-1"), "the adapter is back as i2c-1", 60)
    lab.report.row("adapter plugged in to its name", f"{time.monotonic() - began:.1f} s")
    since = time.time() + 1
    guest.wait(lambda: frames(server, "9", since), "values of the sensors again")
    took = time.monotonic() - began
    lab.report.row("adapter plugged in to values at the server", f"{took:.1f} s", ok=took <= AGAIN_WITHIN_S)
    _let_go(lab, guest, "i2c")


def _let_go(lab: Lab, guest: Guest, kind: str) -> None:
    """See that no device is held open that is not there any more."""
    held = guest.run(f"ls -l /proc/$(systemctl show -P MainPID {UNIT})/fd | grep '{kind}.*(deleted)'; true")
    lab.report.row(f"dead {kind} devices held open", str(len(held.splitlines())), ok=not held, details=held)
