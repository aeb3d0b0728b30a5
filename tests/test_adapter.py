"""USB adapters that come back at another port: no line of one goes to the node of another."""

from __future__ import annotations

import shutil
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

    def plug_in(self, number, serial, product="6001", socket=None, interface=0):
        """Plug an adapter in, each number into its own socket if none is given; return its line."""
        wire = Wire()
        self._at_end.callback(wire.cut)
        place = f"1-1.{number + 1 if socket is None else socket}"
        usb = self.dev / "devices" / place
        port = usb / f"{place}:1.{interface}" / f"ttyUSB{number}"
        port.mkdir(parents=True)
        (usb / "idVendor").write_text("0403\n")
        (usb / "idProduct").write_text(f"{product}\n")
        (usb / "serial").write_text(f"{serial}\n")
        if not serial:
            (usb / "serial").unlink()
        tty = self.ttys / Path(wire.port).name
        tty.mkdir()
        (tty / "device").symlink_to(port)
        (self.dev / f"ttyUSB{number}").symlink_to(wire.port)
        return wire

    def pull_out(self, number, wire):
        (self.dev / f"ttyUSB{number}").unlink()
        tty = self.ttys / Path(wire.port).name
        shutil.rmtree((tty / "device").resolve())
        (tty / "device").unlink()
        tty.rmdir()
        wire.cut()


@pytest.fixture
def usb(tmp_path, monkeypatch, at_end):
    made = Usb(tmp_path, at_end)
    monkeypatch.setattr(adapter, "TTYS", made.ttys)
    monkeypatch.setattr(adapter, "DEVICES", Path("/dev/pts"))
    monkeypatch.setattr(adapter, "_memories", [])
    monkeypatch.setattr(adapter, "_shared", set())
    return made


@pytest.fixture
def listening(usb, at_end):
    """Open a listener on ttyUSB0 or another port."""

    def start(port="ttyUSB0", section="meter"):
        return at_end.enter_context(
            opened(KeyValue(port=str(usb.dev / port), node=section), section, VirtualClock())
        )

    return start


def pull_out(listener, usb, number, wire, stop):
    usb.pull_out(number, wire)
    with pytest.raises(OSError, match=r"ttyUSB|/dev/pts|by-id"):
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
    first, second = listening("ttyUSB0"), listening("ttyUSB1", section="other")
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


GONE = r"0403:6001 A1, interface 1.0, socket 1-1.1\) is gone, and another .* restart the gateway"


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
    with pytest.raises(OSError, match="is the one that the section other reads"):
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


NOT_ITS_OWN = pytest.mark.parametrize("serial", ["", "0001", "00000000", "0123456789ABCDEF"])


@NOT_ITS_OWN
def test_without_a_serial_number_of_its_own_it_is_followed_in_its_socket(usb, listening, stop, serial):
    listener = gone(usb, listening, stop, serial=serial)
    # when it comes back as another number, and another of its kind as its own
    other, one = usb.plug_in(0, serial, socket=2), usb.plug_in(1, serial, socket=1)
    listener.open()
    assert value(listener, stop, one, 2) == (2,)
    assert listener.remark.endswith(": a name in /dev/serial/by-path would always mean its socket")
    other.send(b"half a line\r\nP1:9\r\n")


@NOT_ITS_OWN
@pytest.mark.parametrize("port", ["ttyUSB0", "ttyUSB*", "by-id"])
def test_one_that_was_plugged_in_beside_it_is_not_read_once_it_has_gone(usb, listening, stop, serial, port):
    # given an adapter that was the only one of its kind when it was opened
    one = usb.plug_in(0, serial)
    link = usb.dev / "by-id"
    link.symlink_to(usb.dev / "ttyUSB0")
    listener = listening(port)
    assert value(listener, stop, one, 1) == (1,)
    usb.plug_in(1, serial)
    assert value(listener, stop, one, 2) == (2,)
    # when it is pulled out, and udev has the name of both mean the other
    pull_out(listener, usb, 0, one, stop)
    link.unlink()
    link.symlink_to(usb.dev / "ttyUSB1")
    with pytest.raises(OSError, match=r"No such file|is gone, and another"):
        listener.open()
    # then it is read once it is back
    one = usb.plug_in(2, serial, socket=1)
    if port != "ttyUSB*":
        listener.open()
        assert value(listener, stop, one, 3) == (3,)


@NOT_ITS_OWN
def test_in_another_socket_it_may_be_another_and_is_not_read(usb, listening, stop, serial):
    listener = gone(usb, listening, stop, serial=serial)
    usb.plug_in(0, serial, socket=2)
    with pytest.raises(OSError, match=r"is gone, and another .* into its socket"):
        listener.open()


def test_one_that_has_said_nothing_yet_is_not_confused_either(usb, listening, stop):
    # given two adapters alike, of which one is silent
    one = usb.plug_in(0, "")
    listener = listening()
    pull_out(listener, usb, 0, one, stop)
    # when they come back swapped
    other, one = usb.plug_in(0, "", socket=2), usb.plug_in(1, "", socket=1)
    listener.open()
    assert value(listener, stop, one, 1) == (1,)
    other.cut()


def test_a_serial_number_that_two_have_is_the_own_of_neither(usb, listening, stop):
    # given a copy of an adapter, with its serial number, that is plugged in later and noticed with its lines
    one = usb.plug_in(0, "A50285BI")
    listener = listening()
    assert value(listener, stop, one, 1) == (1,)
    usb.plug_in(1, "A50285BI")
    listener.clock.sleep(60)
    assert value(listener, stop, one, 2) == (2,)
    pull_out(listener, usb, 0, one, stop)
    with pytest.raises(OSError, match="No such file"):
        listener.open()


def test_each_port_of_an_adapter_is_read_as_before(usb, listening, stop):
    # given an adapter with two ports, one of which is read
    one, beside = usb.plug_in(0, ""), usb.plug_in(1, "", socket=1, interface=1)
    listener = listening()
    assert value(listener, stop, one, 1) == (1,)
    usb.pull_out(1, beside)
    pull_out(listener, usb, 0, one, stop)
    # when they get each other's numbers
    usb.plug_in(0, "", socket=1, interface=1)
    one = usb.plug_in(1, "", socket=1)
    listener.open()
    assert value(listener, stop, one, 2) == (2,)


def test_a_section_that_has_read_nothing_does_not_take_the_adapter_of_another(usb, listening, stop):
    # given one that is read, and comes back under the number for which another section waits
    listener = gone(usb, listening, stop)
    usb.plug_in(1, "A1")
    with pytest.raises(OSError, match=r"ttyUSB1: its adapter .* is the one that the section meter reads"):
        listening("ttyUSB1", section="other")
    listener.open()
    # then another may have it once that section has been stopped, as after a change of its name
    listener.close()
    stop.set()
    listening("ttyUSB1", section="other")


def test_nor_one_that_has_given_nothing_yet(usb, listening, stop):
    one = usb.plug_in(0, "")
    listener = listening()
    one.send(b"half a line\r\nnothing\r\n")
    assert listener.read(stop) == []
    pull_out(listener, usb, 0, one, stop)
    # when it is back under the number for which another section waits
    one = usb.plug_in(1, "", socket=1)
    with pytest.raises(OSError, match="is the one that the section meter reads"):
        listening("ttyUSB1", section="other")
    listener.open()
    assert value(listener, stop, one, 1) == (1,)


def test_a_new_one_of_the_same_kind_in_its_socket_has_replaced_it(usb, listening, stop):
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
