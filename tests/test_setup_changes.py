"""What the answers of `oemgateway setup` mean, and what of the file they change; without a terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.commands.main import main
from gateway.conf.edit import Draft
from gateway.settings import build
from listeners.commands.setup import changes, hardware, questions
from listeners.commands.setup.hardware import Attached
from listeners.commands.setup.questions import Questions, Refused
from listeners.commands.setup.reading import Reading
from listeners.commands.setup.sending import Sending, read_broker, read_ways, ways_of
from listeners.onewire.commands.relabel import has_sensor, set_label
from listeners.onewire.commands.roster import roster
from listeners.onewire.commands.survey import OwnListeners, Survey
from listeners.onewire.drivers.ds2482 import Ds2482
from listeners.onewire.drivers.w1 import W1
from listeners.onewire.report import Report, Sighting
from listeners.onewire.rom import Rom
from listeners.ports import adapter
from listeners.ports.examine_serial import examine_serial
from tests.gateway_process import read_only
from tests.simulators.pi import Pi

CELLAR, FLOW, TANK = map(Rom.parse, ("28.33F749050000", "28.DB564A050000", "28.E01A77070000"))
SHIPPED = (Path(__file__).parents[1] / "etc" / "oemgateway.conf").read_text()
SMALL = "[listeners]\n[[bridge]]\ntype = ds2482\nnode = 9\n{}\n[dispatchers]\n[[log]]\ntype = log\n"


@pytest.fixture
def draft_of(written):
    """Return a function that gives a draft of a text."""
    return lambda text: Draft(written(text))


def report(*sensors, node="9", highest=0):
    return Report(
        place="a bus",
        node=node,
        interval=10.0,
        simulated=False,
        highest=highest,
        sweeps=0,
        searched=None,
        faults={},
        sensors=[
            Sighting(id=str(rom), indices=indices, temperature=20.0, heard=True, faults={})
            for rom, *indices in sensors
        ],
    )


# --- The file -------------------------------------------------------------------------------------------


def test_a_file_system_that_is_read_only_is_named_as_such_and_not_the_user(written):
    file = written(SHIPPED)
    done = read_only(file.parent, "--config-file", file, "setup", "--yes")
    assert (done.returncode, done.stderr) == (1, f"oemgateway: {file}: Read-only file system\n")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (1000, "may not be changed by this user: sudo oemgateway setup"),
        (0, "may not be changed even by root: "),
    ],
)
def test_a_file_that_may_not_be_changed_is_another_matter(written, capsys, monkeypatch, user, words):
    file = written(SHIPPED)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert main(["--config-file", str(file), "setup", "--yes"]) == 1
    assert f"oemgateway: {file} {words}" in capsys.readouterr().err


# --- Answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["old", "", ""]),
        ("  ", ["old", "", ""]),
        ("a, b c ,d", ["a", "b c", "d"]),
        (",b", ["old", "b", ""]),
        ("a", ["a", "", ""]),
        ('Tom\'s, , "x"', ["Tom's", "", '"x"']),
    ],
)
def test_names_in_the_order_of_the_sensors(text, names):
    read = changes.read_names(text, {CELLAR: "old", FLOW: "", TANK: ""})
    assert read == dict(zip((CELLAR, FLOW, TANK), names, strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b,c,d", "4 names for 3 sensors"), ("a\x1bb", "printable"), ('"it\'s"', "one kind of quotes")],
)
def test_names_that_cannot_be(text, words):
    with pytest.raises(ValueError, match=words):
        changes.read_names(text, dict.fromkeys((CELLAR, FLOW, TANK), ""))


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("", set()),
        ("none", set()),
        ("1", {"emoncms"}),
        ("1,3", {"emoncms", "page"}),
        (" 4 2 ", {"network", "mqtt"}),
        ("Emoncms;page", {"emoncms", "page"}),
        ("2,2", {"mqtt"}),
    ],
)
def test_ways_by_number_or_word(text, ways):
    assert read_ways(text) == ways


@pytest.mark.parametrize(("text", "words"), [("5", "not 5"), ("1 and 2", "not and"), ("3,4", "not both")])
def test_ways_that_there_are_not(text, words):
    with pytest.raises(ValueError, match=words):
        read_ways(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", ""),
        ("homeassistant.local:1884", "homeassistant.local", "1884"),
        ("[::1]:8883", "::1", "8883"),
        ("192.0.2.7", "192.0.2.7", ""),
    ],
)
def test_a_broker_as_host_and_port(text, host, port):
    assert read_broker(text) == {"host": host, "port": port}


@pytest.mark.parametrize("text", ["a b", "mqtt://house", "house:70000", "house:x", "", "me@house"])
def test_what_is_no_broker(text):
    with pytest.raises(ValueError, match="expected"):
        read_broker(text)


# --- What changes ---------------------------------------------------------------------------------------


def added(draft, survey, remembered=None, listeners=None):
    """Add what a survey has found; return the lines that changed."""
    changes.add_sensors(draft, survey, roster(survey), remembered or {}, listeners or {})
    return [line.strip() for _, line in draft.changes() if line.strip()]


def test_the_dummy_of_the_shipped_file_is_no_place_that_is_kept(draft_of):
    draft = draft_of(SHIPPED)
    lines = added(draft, Survey("x", {"bridge": report([CELLAR], [FLOW], highest=1)}))
    assert lines[0].startswith(f"sensor1 = {CELLAR} ")
    assert lines[1:] == [f"sensor2 = {FLOW}"]


@pytest.mark.parametrize(
    ("entries", "highest", "remembered", "index"),
    [
        (f"sensor1 = {CELLAR}\nsensor4 = Dummy", 4, {}, 5),
        ("sensor1 = Dummy\nsensor2 = Dummy", 2, {}, 3),
        ("sensor1 = Dummy", 1, {("9", 1): str(CELLAR)}, 2),
        (f"sensor1 = {CELLAR}", 1, {("9", 6): str(FLOW), ("10", 8): str(FLOW)}, 7),
    ],
)
def test_a_new_sensor_takes_no_place_that_another_has_or_had(draft_of, entries, highest, remembered, index):
    draft = draft_of(SMALL.format(entries))
    known = [[CELLAR, 1]] if str(CELLAR) in entries else []
    survey = Survey("x", {"bridge": report(*known, [TANK], highest=highest)})
    assert added(draft, survey, remembered) == [f"sensor{index} = {TANK}"]


def test_sensors_of_the_kernel_get_the_section_that_waits_for_them(draft_of):
    draft = draft_of(SHIPPED)
    survey = Survey("x", {"w1": report([CELLAR], node="1")}, types={"w1": "w1"})
    lines = added(draft, survey, listeners={"w1": build(W1, {"node": "1"})})
    assert lines == [
        "[[kernel]]",
        "type = w1",
        "node = 12                  # no default",
        f"sensor1 = {CELLAR}",
    ]
    changes.switch_off_unused(draft)
    assert draft.on("listeners") == ["kernel"]


def test_the_section_that_waits_gets_another_node_where_packets_have_its_own(draft_of):
    draft = draft_of(SHIPPED)
    survey = Survey(
        "x", {"w1": report([CELLAR], node="1")}, types={"w1": "w1"}, nodes=frozenset({"10", "12"})
    )
    lines = added(draft, survey, listeners={"w1": build(W1, {"node": "1"})})
    assert "node = 11                  # no default" in lines


def test_a_bridge_at_another_address_takes_the_section_that_names_no_sensor(draft_of):
    draft = draft_of(SMALL.format("sensor1 = Dummy"))
    bridge = build(Ds2482, {"node": "1", "bus": "3", "address": "0x1b"})
    survey = Survey("x", {"ds2482": report([CELLAR], node="1")}, types={"ds2482": "ds2482"})
    lines = added(draft, survey, listeners={"ds2482": bridge})
    assert sorted(lines) == ["address = 0x1b", "bus = 3", f"sensor1 = {CELLAR}"]


def test_a_sensor_is_only_where_the_file_has_it(draft_of):
    # given a file whose sensor at 1 is not the one that a running gateway has there
    draft = draft_of(SMALL.format(f"sensor1 = {FLOW}, old\nsensor2 = no id"))
    # then only that is found, whatever section and index are asked for
    found = [
        (section, index, rom)
        for section in ("bridge", "gone")
        for index in (1, 2, 3)
        for rom in (CELLAR, FLOW)
        if has_sensor(draft, section, index, rom)
    ]
    assert found == [("bridge", 1, FLOW)]


def test_a_label_changes_and_the_id_stays_as_it_is_written(draft_of):
    draft = draft_of(SMALL.format("sensor1 = 28-00000549f733, old  # mine"))
    set_label(draft, "bridge", "sensor1", "flow")
    assert [line for _, line in draft.changes()] == ["sensor1 = 28-00000549f733, flow  # mine"]
    set_label(draft, "bridge", "sensor1", "")
    assert [line for _, line in draft.changes()] == ["sensor1 = 28-00000549f733  # mine"]


def test_what_is_on_in_the_file_is_the_default(draft_of):
    assert ways_of(draft_of(SHIPPED)) == {"emoncms", "page"}
    page = "[listeners]\n[dispatchers]\n[[web]]\ntype = page\n"
    assert ways_of(draft_of(page)) == {"page"}
    assert ways_of(draft_of(f"{page}host = 0.0.0.0\npassword = none\n")) == {"network"}
    assert ways_of(draft_of(f"{page}active = no\n")) == set()
    assert ways_of(draft_of(SMALL.format(""))) == set()


TWO_PAGES = """[listeners]
[dispatchers]
[[here]]
type = page
[[open]]
type = page
port = 8090
host = 0.0.0.0
password = a-word-of-mine
"""


@pytest.mark.parametrize(
    ("answer", "lines"), [(None, []), ("4", []), ("3", ["active = no"]), ("none", ["active = no"] * 2)]
)
def test_of_two_pages_the_one_that_is_as_wanted_stays_as_it_is(draft_of, tmp_path, answer, lines):
    # given a page of this machine and one for others, when one of them is wanted, or what there is
    draft = draft_of(TWO_PAGES)
    asking = Questions({"to": answer} if answer else {}, quiet=True)
    Sending(asking, draft, Pi(tmp_path).machine).take(trial=False)
    # then neither becomes what the other is, and only this machine has one if nobody else should
    assert [line for _, line in draft.changes()] == lines
    if answer == "3":
        assert draft.on("dispatchers") == ["here"]


# --- Questions ------------------------------------------------------------------------------------------


def answers(*lines):
    given = iter(lines)
    return lambda prompt, **_: next(given)


def test_a_question_is_asked_until_its_answer_can_be_read(monkeypatch, capsys):
    monkeypatch.setattr(questions, "_typed", answers("x", "7"))
    assert Questions({}, quiet=False).ask("n", "A number", "5", int) == 7
    assert "invalid literal" in capsys.readouterr().out


def test_enter_takes_the_default(monkeypatch):
    monkeypatch.setattr(questions, "_typed", answers(""))
    assert Questions({}, quiet=False).ask("n", "A number", "5", int) == 5


def test_an_answer_that_was_given_is_taken_once_and_a_wrong_one_named(monkeypatch):
    monkeypatch.setattr(questions, "_typed", answers("8"))
    asking = Questions({"n": "7"}, quiet=False)
    assert [asking.ask("n", "A number", "5", int) for _ in range(2)] == [7, 8]
    with pytest.raises(Refused, match=r"^--n: "):
        Questions({"n": "x"}, quiet=False).ask("n", "A number", "5", int)


@pytest.mark.parametrize(
    ("text", "is_yes"), [("y", True), ("YES", True), ("n", False), ("No", False), ("", True)]
)
def test_yes_and_no_in_short(monkeypatch, text, is_yes):
    monkeypatch.setattr(questions, "_typed", answers(text))
    assert Questions({}, quiet=False).agrees("", "Well?") is is_yes


# --- Ports ----------------------------------------------------------------------------------------------


def test_serial_ports_by_the_name_that_stays_with_what_keeps_them_from_use(tmp_path):
    pi = Pi(tmp_path)
    pi.device("/dev/ttyUSB0")
    pi.device("/dev/ttyACM0", mode=0o600)
    pi.device("/dev/ttyS0")
    pi.put("/sys/class/tty/ttyS0/type", "0\n")
    pi.device("/dev/ttyS1")
    pi.put("/sys/class/tty/ttyS1/type", "4\n")
    pi.link("/dev/serial/by-id/usb-FTDI_1", "../../ttyUSB0")
    pi.put("/proc/cmdline", "console=ttyAMA0,115200\n")
    found = hardware.ports(pi.machine)
    assert list(found) == ["/dev/ttyAMA0", "/dev/ttyS1", "/dev/serial/by-id/usb-FTDI_1", "/dev/ttyACM0"]
    assert "it is the kernel's console" in found["/dev/ttyAMA0"]
    assert "a rule of udev has to give it" in found["/dev/ttyACM0"]
    assert found["/dev/ttyS1"] == found["/dev/serial/by-id/usb-FTDI_1"] == ""


@pytest.mark.parametrize("serials", [("", ""), ("0001", ""), ("A50285BI", "A50285BI")])
def test_adapters_that_cannot_be_told_apart_are_named_by_their_sockets(tmp_path, serials, monkeypatch):
    monkeypatch.setattr(adapter, "_shared", set())
    # given two adapters of a kind, and the name that udev gives to one of them, or to the other
    pi = Pi(tmp_path)
    for number, serial in enumerate(serials):
        pi.device(f"/dev/ttyUSB{number}")
        usb = f"/sys/devices/1-1.{number}"
        pi.put(f"{usb}/idVendor", "1a86\n")
        pi.put(f"{usb}/serial", f"{serial}\n")
        pi.put(f"{usb}/1-1.{number}:1.0/ttyUSB{number}/port_number", "0\n")
        port = f"../../../devices/1-1.{number}/1-1.{number}:1.0/ttyUSB{number}"
        pi.link(f"/sys/class/tty/ttyUSB{number}/device", port)
        pi.link(f"/dev/serial/by-path/usb-0:1.{number}", f"../../ttyUSB{number}")
    pi.link("/dev/serial/by-id/usb-1a86", "../../ttyUSB1")
    # then that one is not offered
    sockets = ["/dev/serial/by-path/usb-0:1.0", "/dev/serial/by-path/usb-0:1.1"]
    assert list(hardware.ports(pi.machine))[-2:] == sockets
    (finding,) = examine_serial(pi.machine, "/dev/ttyUSB7")
    assert finding.cure == f"set port to one of these: {', '.join(sockets)}, /dev/ttyUSB0, /dev/ttyUSB1"


def test_a_board_is_asked_at_the_port_that_is_named_and_at_no_other(tmp_path, draft_of, monkeypatch, capsys):
    # given two ports, one of which a section reads
    pi = Pi(tmp_path)
    pi.device("/dev/ttyUSB0")
    asked = []
    monkeypatch.setattr(hardware, "ask_board", lambda port: asked.append(port) or 57600)
    draft = draft_of(SHIPPED)
    attached = Attached(OwnListeners({}, [], Clock()), {"cable": ["/dev/ttyAMA*"]})
    # when that one, one that is not there, and then the other is named
    monkeypatch.setattr(questions, "_typed", answers("1", "/dev/ttyUSB7", "2"))
    Reading(Questions({}, quiet=False), draft, attached, pi.machine, {}).take()
    # then only that one has been asked, and is read
    assert asked == ["/dev/ttyUSB0"]
    said = capsys.readouterr().out
    assert "  /dev/ttyAMA0: [[cable]] reads it\n" in said
    assert "not /dev/ttyUSB7\n" in said
    assert [line.strip() for _, line in draft.changes()] == [
        "[[radio]]",
        "type = rfm12pi",
        "port = /dev/ttyUSB0",
        "baud = 57600",
    ]


def test_no_port_is_opened_without_a_name(tmp_path, draft_of, monkeypatch):
    pi = Pi(tmp_path)
    monkeypatch.setattr(hardware, "ask_board", None)
    attached = Attached(OwnListeners({}, [], Clock()), {})
    draft = draft_of(SHIPPED)
    monkeypatch.setattr(questions, "_typed", answers("", ""))
    Reading(Questions({}, quiet=False), draft, attached, pi.machine, {}).take()
    assert draft.changes() == []
