"""USB adapters that come back at another port: no line of one goes to the node of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from listeners.ports import adapter
from listeners.ports.adapter import AdapterMemory, adapter_of
from listeners.simulated.clock import VirtualClock
from listeners.textlines.keyvalue import KeyValue
from tests.opened import opened
from tests.reading import read_frames
from tests.wire import Wire


class Usb:
    """Ports by the numbers that the kernel gives them, and the USB devices that they are on."""

    def __init__(self, directory, at_end):
        self.ttys = directory / "class"
        self.ttys.mkdir()
        self.dev = directory
        self._at_end = at_end
        self._devices = 0

    def plug_in(self, number, serial, product="6001"):
        """Plug an adapter in; return its line."""
        wire = Wire()
        self._at_end.callback(wire.cut)
        self._devices += 1
        usb = self.dev / f"devices/1-1.{self._devices}"
        interface = usb / f"1-1.{self._devices}:1.0" / f"ttyUSB{number}"
        interface.mkdir(parents=True)
        (usb / "idVendor").write_text("0403\n")
        (usb / "idProduct").write_text(f"{product}\n")
        if serial:
            (usb / "serial").write_text(f"{serial}\n")
        tty = self.ttys / Path(wire.port).name
        tty.mkdir()
        (tty / "device").symlink_to(interface)
        (self.dev / f"ttyUSB{number}").symlink_to(wire.port)
        return wire

    def pull_out(self, number, wire):
        (self.dev / f"ttyUSB{number}").unlink()
        tty = self.ttys / Path(wire.port).name
        (tty / "device").unlink()
        tty.rmdir()
        wire.cut()


@pytest.fixture
def usb(tmp_path, monkeypatch, at_end):
    made = Usb(tmp_path, at_end)
    monkeypatch.setattr(adapter, "TTYS", made.ttys)
    monkeypatch.setattr(adapter, "DEVICES", Path("/dev/pts"))
    monkeypatch.setattr(adapter, "_memories", [])
    return made


@pytest.fixture
def listening(usb, at_end):
    """Open a listener on ttyUSB0 or another port."""

    def start(port="ttyUSB0"):
        return at_end.enter_context(
            opened(KeyValue(port=str(usb.dev / port), node="meter"), "meter", VirtualClock())
        )

    return start


def pull_out(listener, usb, number, wire, stop):
    usb.pull_out(number, wire)
    with pytest.raises(OSError, match=r"ttyUSB|/dev/pts"):
        listener.read(stop)
    listener.close()


def value(listener, stop, wire, number):
    wire.send(b"half a line\r\nP1:%d\r\n" % number)
    (frame,) = read_frames(listener, stop, 1)
    return frame.values


def gone(usb, listening, stop, serial="A1", port="ttyUSB0"):
    """Return a listener that has read an adapter, which was pulled out then."""
    one = usb.plug_in(0, serial)
    listener = listening(port)
    value(listener, stop, one, 1)
    pull_out(listener, usb, 0, one, stop)
    return listener


@pytest.fixture
def two_gone(usb, listening, stop):
    """Two listeners that have read adapters A1 and B2, whose hub has no power now."""
    one, other = usb.plug_in(0, "A1"), usb.plug_in(1, "B2")
    first, second = listening("ttyUSB0"), listening("ttyUSB1")
    assert (value(first, stop, one, 1), value(second, stop, other, 2)) == ((1,), (2,))
    pull_out(first, usb, 0, one, stop)
    pull_out(second, usb, 1, other, stop)
    return first, second


def test_two_adapters_that_come_back_swapped_are_each_read_as_before(usb, two_gone, stop):
    first, second = two_gone
    one, other = usb.plug_in(1, "A1"), usb.plug_in(0, "B2")
    first.open()
    second.open()
    assert (value(first, stop, one, 3), value(second, stop, other, 4)) == ((3,), (4,))


GONE = r"0403:6001 A1, interface 1.0\) is gone, and another .* restart the gateway"


@pytest.mark.parametrize("port", ["ttyUSB0", "ttyUSB*"])
def test_an_adapter_of_another_kind_in_its_place_is_not_read(usb, listening, stop, port):
    listener = gone(usb, listening, stop, port=port)
    other = usb.plug_in(0, "B2", product="6015")
    with pytest.raises(OSError, match=GONE):
        listener.open()
    usb.pull_out(0, other)
    one = usb.plug_in(0, "A1")
    listener.open()
    assert value(listener, stop, one, 2) == (2,)


def test_the_adapter_of_another_section_is_not_read_in_its_place(usb, two_gone, stop):
    first, second = two_gone
    # when the second alone comes back, as the first that was found
    other = usb.plug_in(0, "B2")
    with pytest.raises(OSError, match=GONE):
        first.open()
    second.open()
    assert value(second, stop, other, 3) == (3,)


def test_an_adapter_that_comes_back_under_another_number_is_read_there(usb, listening, stop):
    listener = gone(usb, listening, stop)
    with pytest.raises(OSError, match=r"ttyUSB0: No such file or directory \(is the board plugged in\?\)"):
        listener.open()
    one = usb.plug_in(1, "A1")
    listener.open()
    assert value(listener, stop, one, 2) == (2,)
    assert listener.remark.startswith(f"its adapter is at {one.port} now: ")
    # and under its own number it is read without a remark
    pull_out(listener, usb, 1, one, stop)
    one = usb.plug_in(0, "A1")
    listener.open()
    assert (value(listener, stop, one, 3), listener.remark) == ((3,), "")


def test_an_adapter_that_has_given_nothing_yet_may_become_another(usb, listening, stop):
    boot_loader = usb.plug_in(0, "", product="0036")
    listener = listening()
    boot_loader.send(b"half a line\r\n|boot loader\r\n")
    assert listener.read(stop) == []
    pull_out(listener, usb, 0, boot_loader, stop)
    board = usb.plug_in(0, "", product="8036")
    listener.open()
    assert value(listener, stop, board, 1) == (1,)


def test_one_of_the_same_kind_without_a_serial_number_is_taken_for_the_same(usb, listening, stop):
    listener = gone(usb, listening, stop, serial="")
    other = usb.plug_in(0, "")
    listener.open()
    assert value(listener, stop, other, 2) == (2,)


def test_a_new_one_of_the_same_kind_has_replaced_it(usb, listening, stop):
    listener = gone(usb, listening, stop)
    other = usb.plug_in(0, "B2")
    listener.open()
    assert value(listener, stop, other, 2) == (2,)
    # and is the one that is followed from then on
    pull_out(listener, usb, 0, other, stop)
    other = usb.plug_in(1, "B2")
    listener.open()
    assert value(listener, stop, other, 3) == (3,)


@pytest.mark.parametrize("serial", ["", "0001"])
def test_of_two_that_are_alike_one_is_not_read_for_the_other(usb, listening, stop, serial):
    usb.plug_in(1, serial)
    listener = gone(usb, listening, stop, serial=serial)
    with pytest.raises(OSError, match="ttyUSB0: No such file or directory"):
        listener.open()


def test_a_port_that_is_not_on_usb_has_no_adapter(usb, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    ports = ["/dev/null", "/dev/nothing", str(tmp_path / "loop")]
    assert [adapter_of(port) for port in ports] == [None, None, None]


def test_a_machine_without_usb_has_no_adapters(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter, "TTYS", tmp_path / "nothing")
    assert adapter_of("/dev/ttyUSB0") is None
    assert adapter.follow("/dev/ttyUSB0", AdapterMemory()) == "/dev/ttyUSB0"
