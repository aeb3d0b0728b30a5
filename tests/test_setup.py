"""`oemgateway setup` as a person types it, at a terminal, on simulated hardware."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.conf.edit import Draft
from listeners.onewire.commands.survey import OwnListeners, usual_listeners
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482 as Chip
from listeners.simulated.rfm12pi import SimulatedRfm12pi
from tests.gateway_process import ENVIRONMENT, GatewayProcess, command, state
from tests.peers import need
from tests.ports import free_port
from tests.simulators.i2c_server import i2c_server
from tests.simulators.mosquitto import Mosquitto
from tests.typist import at_terminal
from tests.waiting import wait_until

CELLAR, FLOW, TANK = "28.33F749050000", "28.DB564A050000", "28.E01A77070000"
SHIPPED = (Path(__file__).parents[1] / "etc" / "oemgateway.conf").read_text()
OF_A_SENSOR = "             # <-- such as 28.33F749050000, flow"
NO_RADIO = ("--radio", "none")


@pytest.fixture(scope="module", autouse=True)
def _no_sensors_of_this_machine():
    """Skip where this machine has 1-Wire sensors: setup lists these too, and the answers count them."""
    usual = OwnListeners({}, usual_listeners(), Clock())
    try:
        reports = usual.look().reports.values()
    finally:
        usual.close()
    if any(report.sensors and not report.simulated for report in reports):
        pytest.skip("this machine has 1-Wire sensors, which setup would list as well")


@pytest.fixture
def number():
    """The number of an I2C bus that no other test has: all processes share the lock of a chip."""
    return str(free_port())


@pytest.fixture
def file(tmp_path, number):
    """The file as it is shipped, but for the bus and a directory of its own for the state."""
    file = tmp_path / "oemgateway.conf"
    file.touch(0o640)
    file.write_text(
        SHIPPED.replace("[gateway]\n", state(tmp_path), 1).replace("#bus = 1\n", f"bus = {number}\n", 1)
    )
    return file


@pytest.fixture
def chip():
    """A bridge with three sensors."""
    celsius = {CELLAR: 18.5, FLOW: 40.0, TANK: 52.0}
    return Chip(Clock(), [Ds18b20(rom, value) for rom, value in celsius.items()])


@pytest.fixture
def bus(chip, number):
    """The environment in which a program finds the bridge at that bus."""
    with i2c_server(chip) as environment:
        yield {"LD_PRELOAD": environment["LD_PRELOAD"], "I2CSIM": environment["I2CSIM"], "I2CBUS": number}


def changed(before, file):
    """Return the lines of a file that were not there before."""
    old = before.splitlines()
    return [line.strip() for line in file.read_text().splitlines() if line not in old]


# --- From nothing to values -----------------------------------------------------------------------------


def test_from_the_shipped_file_to_values_on_the_page_and_at_emoncms(file, bus, server):
    # given the file as shipped, three sensors, and an Emoncms
    before = file.read_text()
    with at_terminal(file, "setup", *NO_RADIO, **bus) as person:
        person.sees(f"1  {CELLAR}    18.50 °C")
        person.answers_with(
            ("Their names", "cellar, flow, tank"),
            ("Write them?", ""),
            ("Which", ""),
            ("Address of Emoncms", server.url),
            ("Its write key", server.key),
            ("Write them?", ""),
        )
        assert person.waits() == 0, person.seen
    # then it was tried, the key is nowhere to be seen, and few answers were needed
    assert "the key may write" in person.seen
    assert "a test row came back as it was sent" in person.seen
    assert server.key not in person.seen
    assert person.answers <= 12
    # then the file has what was agreed to, in its places, and all else as it was
    assert changed(before, file) == [
        f"sensor1 = {CELLAR}, cellar{OF_A_SENSOR}",
        f"sensor2 = {FLOW}, flow",
        f"sensor3 = {TANK}, tank",
        f"url = {server.url}   # <-- such as http://emonpi/emoncms",
        f"apikey = {server.key}                    # <-- no default: 32 letters and digits",
        "[[page]]",
        "type = page",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    # then the gateway runs with it, and the values are on the page
    port = free_port()
    file.write_text(file.read_text().replace("#port = 8088", f"port = {port}"))
    with GatewayProcess(file, **bus):
        wait_until(lambda: "52" in command("--config-file", file, "values").stdout, what="the values")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            page = answer.read().decode()
    assert all(name in page for name in ("cellar", "flow", "tank"))
    assert "52" in page


def test_without_hardware_simulated_sensors_go_to_the_page(file):
    before = file.read_text()
    with at_terminal(file, "setup", *NO_RADIO) as person:
        person.answers_with(("to try it?", "y"), ("Write them?", ""), ("Write them?", ""))
        assert person.waits() == 0, person.seen
    assert "is not there: switch I2C on" in person.seen
    assert changed(before, file) == [
        "bus = simulated",
        f"sensor1 = {CELLAR}{OF_A_SENSOR}",
        "sensor2 = 28.4C92D4060000",
        "sensor3 = 28.AB1663050000",
        f"sensor4 = {FLOW}",
        f"sensor5 = {TANK}",
        "active = no",
        "[[page]]",
        "type = page",
    ]
    # when sensors are there later, they take the place of the simulated ones, on a node of their own
    chip = Chip(Clock(), [Ds18b20("28.000000000001", 20.0)], address=0x1D)
    with i2c_server(chip) as environment:
        done = command("--config-file", file, "setup", "--yes", *NO_RADIO, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = command("--config-file", file, "check").stdout
    assert "listener ds2482, type ds2482\n    node = 10," in shown
    assert "bridge: neither run nor checked: active = no" in shown


def test_a_radio_board_is_found_at_the_port_that_is_named(file, tmp_path):
    board = SimulatedRfm12pi(tmp_path / "board", period=0)
    before = file.read_text()
    try:
        done = command("--config-file", file, "setup", "--yes", "--radio", board.port, "--to", "page")
    finally:
        board.close()
    assert done.returncode == 0, done.stderr
    assert f"a radio board answers at {board.port}, at 38400 baud" in done.stdout
    assert changed(before, file) == [
        "[[radio]]",
        "type = rfm12pi",
        f"port = {board.port}",
        "active = no",
        "[[page]]",
        "type = page",
    ]


def test_a_broker_is_tried_with_user_and_password(file, bus, tmp_path):
    passwords = tmp_path / "passwords"
    program = need("mosquitto_passwd", "mosquitto")
    subprocess.run([program, "-c", "-b", passwords, "gateway", "word-of-mine"], check=True)
    before = file.read_text()
    with (
        Mosquitto(tmp_path, f"password_file {passwords}") as broker,
        at_terminal(file, "setup", *NO_RADIO, **bus) as person,
    ):
        person.answers_with(
            ("Their names", ""),
            ("Write them?", ""),
            ("Which", "2"),
            ("Host of the broker", f"127.0.0.1:{broker.port}"),
            ("User there", "gateway"),
            ("Password of that user", "another word"),
        )
        person.sees("FAULT mqtt")
        person.answers_with(
            ("all the same?", "n"),
            ("Host of the broker", ""),
            ("User there [gateway", ""),
            ("Password of that user", "word-of-mine"),
        )
        person.sees("knows user gateway\n")
        person.answers_with(("Write them?", ""))
        assert person.waits() == 0, person.seen
    assert "word-of-mine" not in person.seen
    assert "another word" not in person.seen
    assert changed(before, file)[3:] == [
        "active = no",
        "[[mqtt]]",
        "type = mqtt",
        "host = 127.0.0.1",
        f"port = {broker.port}                     # such as 1884",
        "user = gateway                     # such as oemgateway",
        "password = word-of-mine",
    ]


# --- Wrong turns ----------------------------------------------------------------------------------------


def test_a_wrong_answer_is_explained_in_a_line_and_asked_again(file, bus, server):
    with at_terminal(file, "setup", *NO_RADIO, **bus) as person:
        person.answers_with(("Their names", "a, b, c, d"))
        person.sees("4 names for 3 sensors: one each, in the order of the list\n")
        person.answers_with(("Their names", '"it\'s"'))
        person.sees("one kind of quotes at most\n")
        person.answers_with(("Their names", "a"), ("Write them?", "perhaps"))
        person.sees("yes or no expected, not perhaps\n")
        person.answers_with(("Write them?", "yes"), ("Which", "3 and 5"))
        person.sees("expected, or none, not 5\n")
        person.answers_with(("Which", "3,4"))
        person.sees("3 or 4 expected, not both: it is the same page\n")
        person.answers_with(("Which", "1"), ("Address of Emoncms", "none"))
        person.sees("http://host or https://host expected, not none")
        person.answers_with(("Address of Emoncms", f"{server.url}/input/view"))
        person.sees(f"/input/view is a page of Emoncms, and no part of its address: write {server.url}\n")
        person.answers_with(("Address of Emoncms", server.url), ("Its write key", server.read_key))
        person.sees("FAULT emoncms")
        person.answers_with(("all the same?", ""), ("Address of Emoncms", ""), ("Its write key", server.key))
        person.sees("the key may write")
        person.answers_with(("Write them?", ""))
        assert person.waits() == 0, person.seen
    assert server.key in file.read_text()
    assert server.read_key not in file.read_text()


@pytest.mark.parametrize("at", [0, 1, 4, 5])
def test_ctrl_c_leaves_the_file_as_it_was_before_the_step(file, bus, server, at):
    before = file.read_text()
    questions = (
        ("Their names", "cellar"),
        ("Write them?", ""),
        ("Which", "1"),
        ("Address of Emoncms", server.url),
        ("Its write key", server.key),
        ("Write them?", ""),
    )
    with at_terminal(file, "setup", *NO_RADIO, **bus) as person:
        person.answers_with(*questions[:at])
        person.sees(questions[at][0])
        person.sees("]: ")
        person.presses_ctrl_c()
        assert person.waits() == 1
    if at < 2:
        assert file.read_text() == before
        assert f"ended: {file} is as it was\n" in person.seen
    else:
        assert changed(before, file)[0] == f"sensor1 = {CELLAR}, cellar{OF_A_SENSOR}"
        assert server.key not in file.read_text()
        assert "has what you agreed to, and nothing of what was still being asked\n" in person.seen
    assert "Traceback" not in person.seen
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_what_is_not_agreed_to_is_not_written(file, bus):
    before = file.read_text()
    with at_terminal(file, "setup", *NO_RADIO, **bus) as person:
        person.answers_with(("Their names", "a"), ("Write them?", "no"), ("Which", "3"), ("Write them?", "n"))
        assert person.waits() == 1  # the file still lacks a key
    assert file.read_text() == before


# --- Once more ------------------------------------------------------------------------------------------


@pytest.fixture
def ready(file, server):
    """The file as a first run leaves it."""
    draft = Draft(file)
    for index, (rom, name) in enumerate(((CELLAR, "cellar"), (FLOW, "flow"), (TANK, "tank")), 1):
        draft.set("listeners", "bridge", f"sensor{index}", [rom, name])
    draft.set("dispatchers", "emoncms", "url", server.url)
    draft.set("dispatchers", "emoncms", "apikey", server.key)
    draft.begin("dispatchers", "page")
    draft.set("dispatchers", "page", "port", str(free_port()))
    draft.write()
    return file


def test_a_second_run_changes_only_what_is_answered_differently(ready, bus, server):
    before = ready.read_bytes()
    with at_terminal(ready, "setup", *NO_RADIO, **bus) as person:
        person.answers_with(
            ("Their names", ""), ("Which [1, 3", ""), ("Address of Emoncms", ""), ("Its write key", "")
        )
        assert person.waits() == 0, person.seen
    assert person.seen.count(f"Nothing changes in {ready}.") == 2
    assert ready.read_bytes() == before
    with at_terminal(ready, "setup", *NO_RADIO, **bus) as person:
        person.answers_with(
            ("Their names", ", supply"), ("Write them?", ""), ("Which", "3"), ("Write them?", "")
        )
        assert person.waits() == 0, person.seen
    assert changed(before.decode(), ready) == [f"sensor2 = {FLOW}, supply", "active = no"]


OF_2013 = """
[buffers]
[[old]]
    type = OemGatewayEmoncmsBuffer
    [[[init_settings]]]
    [[[runtime_settings]]]
        domain = {domain}
        path = ""
        apikey = {key}
        active = True
[listeners]
[[Socket]]
    type = OemGatewaySocketListener
"""


def test_an_emoncms_of_oem_gateway_counts_as_the_account_that_there_is(tmp_path, server):
    # given a file of oem_gateway whose readings go to an Emoncms
    file = tmp_path / "old.conf"
    text = state(tmp_path) + OF_2013.format(domain=server.url[7:], key=server.key)
    file.write_text(text)
    # when the same account is asked for, then it is tried, and does not get a second section
    with at_terminal(file, "setup", *NO_RADIO) as person:
        person.answers_with(("Which [1", "1"))
        assert person.waits() == 0, person.seen
    assert "[[old]] stays as it is" in person.seen
    assert "a test row came back" in person.seen
    assert file.read_text() == text
    # when an address is given for it, then that is refused, with the place for it
    done = command("--config-file", file, "setup", "--yes", *NO_RADIO, "--url", "http://emonpi/emoncms")
    assert done.returncode == 2
    assert "--url: [[old]] has the settings of oem_gateway: its domain, path and apikey" in done.stderr
    assert file.read_text() == text
    # when another destination is asked for, then it is off
    done = command("--config-file", file, "setup", "--yes", *NO_RADIO, "--to", "page")
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(text, file) == ["active = no", "[[page]]", "type = page"]


def test_a_new_sensor_gets_an_index_that_none_had(ready, bus, chip):
    # given a sensor at index 3 that is gone, of which only the gateway's memory knows
    with GatewayProcess(ready, **bus):
        pass
    ready.write_text(ready.read_text().replace(f"    sensor3 = {TANK}, tank\n", ""))
    chip.sensors[:] = [each for each in chip.sensors if each.id != TANK]
    chip.sensors.append(Ds18b20("28.000000000001", 20.0))
    done = command("--config-file", ready, "setup", "--yes", *NO_RADIO, **bus)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sensor4 = 28.000000000001" in ready.read_text()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (f'sensor1 = "{CELLAR}, cellar"', f"sensor1: the id alone expected, {CELLAR}"),
        (f"sensor01 = {CELLAR}, cellar", "sensor01: no such setting"),
    ],
)
def test_a_sensor_whose_entry_has_a_fault_is_not_added_once_more(ready, bus, entry, words):
    text = ready.read_text().replace(f"sensor1 = {CELLAR}, cellar", entry)
    ready.write_text(text)
    done = command("--config-file", ready, "setup", "--yes", *NO_RADIO, **bus)
    assert (done.returncode, done.stdout) == (78, "")
    assert words in done.stderr
    assert ready.read_text() == text


def test_sensors_of_a_section_that_is_off_are_not_added_elsewhere(ready, chip):
    # given a section of the file that is off, and one more sensor than it names
    draft = Draft(ready)
    draft.switch("listeners", "bridge", on=False)
    draft.write()
    before = ready.read_text()
    chip = Chip(Clock(), [*chip.sensors, Ds18b20("28.000000000001", 20.0)], address=0x1E)
    with i2c_server(chip) as bus:
        done = command("--config-file", ready, "setup", "--yes", *NO_RADIO, "--to", "page", **bus)
    # then only that one is added, and where the others are is said
    assert done.returncode == 0, done.stdout + done.stderr
    added = [line for line in changed(before, ready) if "page" not in line]
    assert added == ["[[ds2482]]", "node = 10", "address = 0x1e", "sensor1 = 28.000000000001"]
    for rom in (CELLAR, FLOW, TANK):
        assert f"{rom}: not added, as [[bridge]] names it, which is off: active = no" in done.stdout


def test_beside_the_running_gateway_its_bus_is_asked_and_not_opened(ready, bus, tmp_path):
    with GatewayProcess(ready, **bus) as gateway:
        wait_until(lambda: "52" in command("--config-file", ready, "values").stdout, what="the values")
        # a bus that this command would open is one that is not there
        nowhere = {**bus, "I2CSIM": str(tmp_path / "nowhere")}
        with at_terminal(ready, "setup", *NO_RADIO, **nowhere) as person:
            person.sees("  bridge: DS2482 at ")
            person.sees(", searched ")
            person.sees("A sensor that was just plugged in is listed once the gateway has searched again")
            person.sees(f"1  {CELLAR}    18.50 °C")
            person.answers_with(
                ("Their names", ", supply"),
                ("Write them?", ""),
                ("Which", ""),
                ("Address", ""),
                ("Its write key", ""),
            )
            assert person.waits() == 0, person.seen
        assert "Start" not in person.seen
        assert "supply" in person.seen
        wait_until(lambda: "supply" in command("--config-file", ready, "values").stdout, what="the edit")
        assert "another process" not in gateway.log


def test_new_sensors_get_no_node_that_packets_have(file, chip, tmp_path):
    # given a gateway that hears nodes 10 and 19, and a file that describes node 11
    board = SimulatedRfm12pi(tmp_path / "board", period=0.1)
    try:
        file.write_text(
            f"{state(tmp_path)}[listeners]\n[[radio]]\ntype = rfm12pi\nport = {board.port}\n"
            "[dispatchers]\n[[log]]\ntype = log\n[nodes]\n[[11]]\nnames = power,\n"
        )
        with GatewayProcess(file), i2c_server(chip) as bus:
            wait_until(lambda: "node 10" in command("--config-file", file, "status").stdout, what="a packet")
            # when sensors are found
            listed = command("--config-file", file, "sensors", **bus)
            done = command("--config-file", file, "setup", "--yes", *NO_RADIO, **bus)
        # then they get a node of their own
        assert done.returncode == 0, done.stdout + done.stderr
        assert "node = 12" in file.read_text()
        assert "node = 12" in listed.stdout
    finally:
        board.close()


def test_a_port_of_the_running_gateway_is_not_opened(file, tmp_path):
    board = SimulatedRfm12pi(tmp_path / "board", period=0)
    try:
        file.write_text(
            f"{state(tmp_path)}[listeners]\n[[radio]]\ntype = rfm12pi\nport = {board.port}\n"
            "[dispatchers]\n[[log]]\ntype = log\n"
        )
        with GatewayProcess(file):
            done = command("--config-file", file, "setup", "--yes", "--radio", board.port)
    finally:
        board.close()
    assert (done.returncode, refusals(done)) == (
        2,
        [f"oemgateway: --radio: {board.port}: [[radio]] reads it"],
    )


def test_sensors_are_named_by_warming_them(file, chip, bus):
    # given a hand that warms the second sensor from the twelfth second on
    begin = time.monotonic()
    chip.sensors[1].temperature = lambda now: 40.0 + max(0.0, 0.4 * (time.monotonic() - begin - 12))
    with at_terminal(file, "setup", *NO_RADIO, **bus) as person:
        person.answers_with(("Their names", "warm"))
        person.sees("Leave all sensors alone")
        person.sees(f"{FLOW} is the one")
        person.answers_with(("Its name", "flow"), ("Warm another one?", "no"))
        person.sees(f"sensor2 = {FLOW}, flow")
        person.presses_ctrl_c()
        assert person.waits() == 1


def refusals(done):
    """Return the lines that say why it ends: another may be about an owserver that this machine runs."""
    return [line for line in done.stderr.splitlines() if not line.startswith("owserver at ")]


# --- Without a person -----------------------------------------------------------------------------------


def test_without_a_terminal_it_is_one_line(file):
    done = command("--config-file", file, "setup")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "oemgateway: setup asks questions, and this is no terminal: --yes takes the defaults (see --help)\n"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "cloud"], "--to: 1 (emoncms), 2 (mqtt), 3 (page), 4 (network) or several"),
        (["--url", f"http://emonpi/{'x' * 5000}"], "url: that would not be read as it is meant"),
        (["--url", "emonpi"], "--url: http://host or https://host expected, not emonpi"),
        (["--radio", "ttyUSB0"], "--radio: a number in the list, another port as /dev/..., or none"),
        (["--page-password-file", "short", "--to", "network"], "--page-password-file: 8 to 128 characters"),
        (["--apikey-file", "nowhere"], "nowhere: No such file or directory"),
        (["--apikey", "nowhere"], "is not understood"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_asked(file, tmp_path, options, words):
    (tmp_path / "short").write_text("abc\n")
    options = [str(tmp_path / each) if each in ("short", "nowhere") else each for each in options]
    done = command("--config-file", file, "setup", "--yes", *options)
    assert done.returncode in (1, 2)
    (refusal,) = refusals(done)
    assert words in refusal
    assert "abc" not in done.stderr


def test_an_image_builder_is_told_of_a_destination_that_refuses_and_is_kept(file, tmp_path, server):
    (tmp_path / "key").write_text("f" * 32)
    options = ["--yes", *NO_RADIO, "--to", "emoncms", "--url", server.url, "--apikey-file", tmp_path / "key"]
    done = command("--config-file", file, "setup", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAULT emoncms: it refuses the key" in done.stdout
    assert "It is kept all the same, as --yes says" in done.stdout


def test_an_image_builder_gives_secrets_by_file_and_standard_input(file, tmp_path, server):
    (tmp_path / "password").write_text("a-word-of-mine\n")
    arguments = [
        *("--yes", *NO_RADIO, "--to", "emoncms,network", "--url", server.url, "--apikey-file", "-"),
        *("--page-password-file", tmp_path / "password"),
    ]
    before = file.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--config-file", file, "setup", *arguments],
        env=ENVIRONMENT,
        input=f"{server.key}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.key not in done.stdout + done.stderr
    assert "a-word-of-mine" not in done.stdout + done.stderr
    assert changed(before, file)[1:] == [
        f"apikey = {server.key}                    # <-- no default: 32 letters and digits",
        "[[page]]",
        "type = page",
        "host = 0.0.0.0",
        "password = a-word-of-mine                 # such as a-word-of-yours",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[hub]\n[interfacers]\n[reporters]\n", "this is emonhub's: oemgateway migrate"),
        ("[listeners]\n[[a]\n", "a name in as many ] as [ expected"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_alone(file, text, words):
    file.write_text(text)
    done = command("--config-file", file, "setup", "--yes")
    assert done.returncode == 78
    assert words in done.stderr
    assert file.read_text() == text


def test_setup_of_the_debian_package_finds_its_other_commands(tmp_path, file):
    # given the command with its modules beside it, where Python does not look by itself
    root = Path(__file__).parents[1]
    for name in ("gateway", "listeners"):
        (tmp_path / name).symlink_to(root / name)
    command = tmp_path / "oemgateway"
    command.write_text((root / "debian" / "command.py").read_text())
    # when setup is run, then it checks the file that it has written
    done = subprocess.run(
        [sys.executable, command, "--config-file", file, "setup", "--yes", *NO_RADIO, "--to", "page"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{file} has no faults." in done.stdout
