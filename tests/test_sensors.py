"""The command `oemgateway sensors` as a person types it."""

from __future__ import annotations

import json
import signal
from argparse import Namespace
from pathlib import Path

import pytest

from gateway import paths
from gateway.clock import Clock
from gateway.conf import config
from gateway.conf.indices import Memory
from gateway.process import control
from listeners.onewire.commands import sensors
from listeners.onewire.commands.survey import OwnListeners
from listeners.onewire.commands.warmed import Warmed
from listeners.onewire.drivers import ds2482
from listeners.ports import i2c
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482 as Chip
from tests.gateway_process import GatewayProcess, command, state
from tests.simulators.i2c_server import i2c_server
from tests.typist import at_terminal
from tests.waiting import wait_until

CELLAR, FLOW, TANK = "28.33F749050000", "28.DB564A050000", "28.E01A77070000"
LISTENER = f"""\
[listeners]
[[bridge]]
type = ds2482
bus = 1
node = 9
interval = 5
sensor1 = {CELLAR}, cellar
sensor2 = {FLOW}
"""
DISPATCHER = "[dispatchers]\n[[log]]\ntype = log\n"


@pytest.fixture
def file(tmp_path, written):
    return written(state(tmp_path) + LISTENER + DISPATCHER)


@pytest.fixture
def run(file, tmp_path, monkeypatch, capsys):
    """Run the command in this process, on a simulated chip and without what this machine may have."""
    clock = VirtualClock()
    chip = Chip(
        clock, [Ds18b20(rom, celsius) for rom, celsius in ((CELLAR, 18.5), (FLOW, 40.0), (TANK, 52.0))]
    )
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    monkeypatch.setattr(paths, "SOCKET", tmp_path / "control")
    monkeypatch.setattr(ds2482, "open_bus", lambda bus, address: chip)
    monkeypatch.setattr(sensors, "usual_listeners", list)
    monkeypatch.setattr(sensors, "Clock", lambda: clock)

    def running(**options):
        given = {"config_file": file, "json": False, "identify": False, "label": None, **options}
        status = sensors.run(Namespace(**given))
        said = capsys.readouterr()
        return status, said.out, said.err

    running.chip = chip
    return running


def warm(monkeypatch, rom):
    """Let this sensor be the one that is found."""
    monkeypatch.setattr(sensors, "identify", lambda *_: Warmed(rom, 1.25, 0.0625))


def test_the_list(run, file):
    status, out, err = run()
    assert (status, err) == (0, "")
    assert "28.33F749050000  18.50  12    supply  bridge sensor1, cellar\n" in out
    assert out.endswith(f"Add to [[bridge]] of {file}:\n    sensor3 = {TANK}\n")


def test_a_removed_sensor_keeps_its_index_from_a_new_one(run, file, tmp_path):
    # given that index 3 had another sensor, whose line is deleted
    (tmp_path / "state").mkdir()
    memory = Memory(config.read_gateway(file)[0].find_state_dir())
    memory.note({("9", 3): "28.995A4A050000", ("9", 1): CELLAR})
    # when the sensors are listed, then the line to paste has another index
    _, out, _ = run()
    assert out.endswith(f"Add to [[bridge]] of {file}:\n    sensor4 = {TANK}\n")
    # and where that cannot be read, it is said
    (memory_file,) = tmp_path.rglob("indices.json")
    memory_file.write_text("[]")
    _, out, _ = run()
    assert f"    sensor3 = {TANK}\n\nWhich sensors had an index before is not known here (its file is" in out
    memory_file.unlink()
    memory_file.mkdir()
    _, out, _ = run()
    assert "not known here" in out
    assert str(memory_file) in out


def test_the_same_for_a_program(run):
    status, out, err = run(json=True)
    told = json.loads(out)
    assert (status, err) == (0, "")
    assert [(one["id"], one["temperature"]) for one in told["sensors"]] == [
        (CELLAR, 18.5),
        (FLOW, 40.0),
        (TANK, 52.0),
    ]
    assert told["add"] == {"bridge": [f"sensor3 = {TANK}"]}


def test_a_file_with_faults_is_one_line_and_its_good_sections_are_used(run, file):
    file.write_text(file.read_text().replace("[[log]]", "[[far]]\ntype = emoncms\n[[log]]\nlevel = 7"))
    status, out, err = run()
    assert status == 0
    assert err.count("\n") == 1
    assert err.startswith(
        f"oemgateway: {file}:13: far: apikey is missing: it is the write key, on the page My "
        "Account of Emoncms (and 1 more: `oemgateway check` shows"
    )
    assert "bridge sensor1, cellar" in out


def test_a_file_with_faults_still_names_the_socket(file):
    file.write_text(
        "[gateway]\nsocket = /run/other\n" + file.read_text().replace("[[log]]", "[[log]]\nlevel = 7")
    )
    gateway, listeners = sensors._read(file)
    assert gateway.socket == Path("/run/other")
    assert list(listeners) == ["bridge"]


def test_a_file_that_is_not_there_is_one_line(run, tmp_path):
    status, _, err = run(config_file=tmp_path / "nowhere.conf")
    assert status == 1
    assert "there is no such file" in err
    assert err.endswith("no 1-Wire bus answers: `oemgateway doctor` says what to look at\n")


def test_no_bus_is_said_with_the_reason_for_each_way(run, monkeypatch):
    def refused(bus, address):
        raise OSError("/dev/i2c-1 is not there: switch I2C on")

    monkeypatch.setattr(ds2482, "open_bus", refused)
    status, out, err = run()
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "oemgateway: bridge: /dev/i2c-1 is not there: switch I2C on",
        "oemgateway: no 1-Wire bus answers: `oemgateway doctor` says what to look at",
    ]


def test_a_bus_that_gives_nothing_is_shown_and_a_failure_all_the_same(run):
    run.chip.shorted = True
    status, out, err = run()
    assert status == 1
    assert "bridge sensor1, cellar: the bus does not work" in out
    assert "oemgateway: bridge: the 1-Wire line is shorted" in err
    assert run(identify=True)[0] == 1


def test_a_gateway_that_may_not_be_asked_is_said(run, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(control, "ask", refused)
    status, out, err = run()
    assert status == 0
    assert "this user may not ask it: sudo" in err
    assert CELLAR in out


def test_a_label_without_a_sensor_is_a_fault_of_usage(run):
    status, _, err = run(label="flow")
    assert (status, "--identify" in err) == (2, True)


def test_the_warmed_sensor_gets_its_label(run, file, monkeypatch):
    warm(monkeypatch, FLOW)
    status, _, err = run(identify=True, label="flow")
    assert (status, err) == (0, f"{file}:11: sensor2 = {FLOW}, flow\n")
    assert f"sensor2 = {FLOW}, flow\n" in file.read_text()


@pytest.mark.parametrize(
    ("answer", "entry"), [("flow", f"sensor2 = {FLOW}, flow"), ("", f"sensor2 = {FLOW}")]
)
def test_who_sits_at_a_terminal_is_asked_for_the_label(run, file, monkeypatch, answer, entry):
    warm(monkeypatch, FLOW)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert run(identify=True)[0] == 0
    assert f"{entry}\n" in file.read_text()


def test_what_the_gateway_does_not_read_each_time_is_not_watched(run, monkeypatch):
    warm(monkeypatch, FLOW)
    monkeypatch.setattr(OwnListeners, "samples_new", False)
    _, _, err = run(identify=True)
    assert err == "oemgateway: 1 new are not watched: name them in the configuration first\n"


def test_a_label_that_cannot_be_written_is_said(run, file, monkeypatch):
    warm(monkeypatch, FLOW)
    status, _, err = run(identify=True, label="two\nlines")
    assert status == 1
    assert "the label is not written: " in err
    assert LISTENER in file.read_text()


def test_a_new_sensor_has_no_line_to_be_labelled(run, monkeypatch):
    warm(monkeypatch, TANK)
    status, _, err = run(identify=True, label="tank")
    assert status == 1
    assert f"{TANK} is not in the configuration yet" in err


def test_of_a_new_sensor_the_next_step_is_said(run, monkeypatch):
    warm(monkeypatch, TANK)
    status, out, _ = run(identify=True)
    assert (status, out) == (0, "It is new: `oemgateway sensors` shows the line to name it by.\n")


def test_the_warmed_sensor_for_a_program(run, monkeypatch):
    warm(monkeypatch, FLOW)
    status, out, _ = run(identify=True, json=True)
    assert status == 0
    assert json.loads(out) == {
        "id": FLOW,
        "kelvin": 1.25,
        "others": 0.0625,
        "places": [{"section": "bridge", "index": 2, "node": "9", "label": ""}],
    }


def test_without_a_sensor_there_is_nothing_to_be_watched(run, file):
    run.chip.sensors = run.chip.sensors[:1]
    file.write_text(file.read_text().replace(f"sensor1 = {CELLAR}, cellar\n", ""))
    run.chip.sensors[0].flip = lambda sent: bytes([sent[0] ^ 1]) + sent[1:]
    status, _, err = run(identify=True)
    assert status == 1
    assert "no sensor that could be watched has a temperature" in err


def test_interrupted_it_lets_go_of_the_bus(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sensors, "identify", interrupted)
    assert run(identify=True)[0] == 0
    i2c.Lock("1", 0x18).release()


# --- As a program of its own, and with the gateway running ----------------------------------------------


def test_without_a_gateway_the_chip_is_read_through_the_real_library(file):
    chip = Chip(Clock(), [Ds18b20(rom, celsius) for rom, celsius in ((CELLAR, 18.5), (TANK, 52.0))])
    with i2c_server(chip) as environment:
        done = command("--config-file", file, "sensors", "--json", **environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["told_by"] == "this command"
    celsius = {one["id"]: one["temperature"] for one in told["sensors"] if "bridge" in one["ways"]}
    assert celsius == {CELLAR: 18.5, TANK: 52.0}
    assert told["add"]["bridge"] == [f"sensor3 = {TANK}"]


@pytest.fixture
def simulated(file):
    file.write_text(file.read_text().replace("bus = 1", "bus = simulated"))
    return file


def test_what_the_running_gateway_sees_with_new_sensors_after_its_first_search(simulated):
    with GatewayProcess(simulated):

        def told():
            done = command("--config-file", simulated, "sensors", "--json")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        first = wait_until(lambda: (all_told := told())["ways"]["bridge"]["sweeps"] and all_told)
        assert first["told_by"].startswith("the running gateway (pid ")
        later = wait_until(lambda: len((all_told := told())["sensors"]) == 5 and all_told)
        status = command("--config-file", simulated, "status")
        watching = command("--config-file", simulated, "sensors")
    assert sum(one["temperature"] is not None for one in later["sensors"]) >= 4, "one comes and goes"
    assert [len(one["places"]) for one in later["sensors"]] == [1, 1, 0, 0, 0]
    assert status.returncode == 0
    assert "read every 5 s, searched " in watching.stdout


def test_ctrl_c_ends_it_well_and_a_terminal_is_asked_for_the_label(simulated):
    with at_terminal(simulated, "sensors", "--identify") as person:
        person.sees("Leave all sensors alone")
        person.process.send_signal(signal.SIGINT)
        assert person.waits() == 0
    assert "Traceback" not in person.seen
