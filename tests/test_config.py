"""The whole file: what would run, or every fault at once with its line."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.conf import config
from gateway.conf.config import ConfigFaults, Gateway
from gateway.conf.indices import claims
from gateway.dispatchers.emoncms.dispatcher import EmoncmsBuffer
from gateway.plugin import Dispatcher, Listener, Series
from gateway.registry import BUILT_IN, known
from gateway.settings import SettingsFault, build, setting
from gateway.spool import Limits
from listeners.onewire.drivers.owfs import Owfs
from listeners.radio.rfm12pi import Rfm2pi
from listeners.textlines.tcp import Tcp

HERE = Path(__file__).parent


@dataclass(kw_only=True)
class Probe(Listener):
    """A listener with what a listener may have."""

    port: str = setting(was=("com_port",))
    resolution: Literal[9, 10, 11, 12] = setting(12)
    inputs: int = setting(1)
    node: str | None = setting(None)

    def __post_init__(self) -> None:
        if self.port == "broken":
            raise RuntimeError("a bug")
        if self.port == "nowhere":
            raise SettingsFault([("port", "no such port"), (None, "nothing to read")])

    def catalogue(self) -> Iterable[Series]:
        return [Series(node=self.node, index=index + 1) for index in range(self.inputs)] if self.node else []

    def remarks(self) -> Iterable[tuple[str, str]]:
        if self.port == "odd":
            yield "port", "an odd port"
            yield "inputs", "an odd number"

    @property
    def simulated(self) -> bool:
        return self.port == "simulated"


@dataclass(kw_only=True)
class Cloud(Dispatcher):
    """A dispatcher with a key and a port."""

    apikey: str | None = setting(None, secret=True)
    port: int | None = setting(None)

    @property
    def exclusive(self) -> Iterable[str]:
        return () if self.port is None else (f"port {self.port} of 127.0.0.1",)


@pytest.fixture(autouse=True, scope="module")
def types():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUILT_IN["listeners"], "gauge", f"{__name__}:Probe")
        patch.setitem(BUILT_IN["dispatchers"], "cloud", f"{__name__}:Cloud")
        yield


@pytest.fixture
def faults(written):
    """Return the faults of a file as a person reads them, without its folder."""

    def faults(text):
        path = written(text)
        with pytest.raises(ConfigFaults) as caught:
            config.read(path)
        return [str(fault).removeprefix(f"{path.parent}/") for fault in caught.value.faults]

    return faults


@pytest.fixture
def remarks(written):
    """Return the remarks on a file as a person reads them, without its folder."""

    def remarks(text):
        path = written(text)
        return [str(remark).removeprefix(f"{path.parent}/") for remark in config.read(path).remarks]

    return remarks


def whole(listener="type = gauge\nport = x\n", dispatcher="type = cloud\n", gateway=""):
    """Return a file: the listener's section starts at line 3, the dispatcher's is the last."""
    return f"[gateway]{gateway}\n[listeners]\n[[probe]]\n{listener}[dispatchers]\n[[cloud]]\n{dispatcher}"


class TestTheFileOf2014:
    @pytest.fixture
    def old(self):
        return config.read(HERE / "vectors/oemgateway-2014.conf")

    def test_it_has_three_listeners_and_a_dispatcher(self, old):
        assert {name: type(listener) for name, listener in old.listeners.items()} == {
            "RFM2Pi": Rfm2pi,
            "Socket": Tcp,
            "OWFS": Owfs,
        }
        assert {name: type(dispatcher) for name, dispatcher in old.dispatchers.items()} == {
            "emoncms_local": EmoncmsBuffer
        }
        assert old.gateway == Gateway(loglevel="DEBUG")

    def test_the_radio_speaks_9600_baud(self, old):
        radio = old.listeners["RFM2Pi"]
        assert (radio.port, radio.baud, radio.sendtimeinterval) == ("/dev/ttyAMA0", 9600, 0)
        assert (radio.group, radio.frequency, radio.baseid) == (210, 4, 15)

    def test_the_socket_has_its_port(self, old):
        assert old.listeners["Socket"].port == 50011

    def test_the_sensors_stand_at_their_indices(self, old):
        owfs = old.listeners["OWFS"]
        assert (owfs.path, owfs.node, owfs.interval, owfs.resolution) == (Path("/mnt/1wire"), "9", 10, 11)
        assert owfs.sensors.shown() == {
            "sensor1": "28.33F749050000",
            "sensor2": "28.DB564A050000",
            "sensor3": "Dummy",
            "sensor4": "28.AB1663050000",
        }
        assert list(claims(owfs.catalogue())["9"]) == [1, 2, 4]

    def test_emoncms_has_its_address_and_key(self, old):
        emoncms = old.dispatchers["emoncms_local"]
        assert emoncms.url == "http://localhost/emoncms"
        assert emoncms.apikey == "x" * 33

    def test_it_is_remarked_that_the_key_is_none(self, old):
        assert [(remark.line, remark.where) for remark in old.remarks if "32 hex" in remark.message] == [
            (52, "apikey")
        ]


class TestGateway:
    def test_settings_are_read_and_have_defaults(self, written):
        given_all = config.read(
            written(whole(gateway="\nloglevel = warn\nstate_dir = /var/x\nsocket=/run/x\nsimulate=yes"))
        )
        assert given_all.gateway == Gateway(
            loglevel="WARN", state_dir=Path("/var/x"), socket=Path("/run/x"), simulate=True
        )
        assert config.read(written(whole().removeprefix("[gateway]\n"))).gateway == Gateway()

    @pytest.mark.parametrize(("days", "seconds"), [("0", math.inf), ("1.5", 129_600)])
    def test_the_age_of_a_reading_has_no_limit_unless_there_is_one(self, days, seconds):
        limits = build(
            Gateway,
            {
                "max_frames": "2000",
                "max_size": "3",
                "max_refused": "10",
                "max_refused_size": "4",
                "max_age": days,
            },
        ).limits
        assert limits == Limits(
            frames=2000, bytes=3_000_000, refused=10, refused_bytes=4_000_000, age=seconds
        )

    def test_faults_have_their_lines(self, faults):
        assert faults(whole(gateway="\nloglevel = loud\nsimulated = yes\n[[more]]")) == [
            "oemgateway.conf:2: loglevel: DEBUG, INFO, WARN, WARNING, ERROR or CRITICAL expected, not loud",
            "oemgateway.conf:3: simulated: no such setting (did you mean simulate?)",
            "oemgateway.conf:4: [[more]]: [gateway] has no sections in it",
        ]

    def test_a_socket_that_the_system_does_not_take_is_a_remark(self, written):
        assert config.read(written(whole(gateway=f"\nsocket = /{'x' * 106}"))).remarks == []
        (remark,) = config.read(written(whole(gateway=f"\nsocket = /{'ü' * 53}x"))).remarks
        assert str(remark).endswith(
            "oemgateway.conf:2: socket: a path of at most 107 bytes expected, not of 108: no command can ask "
            "this gateway"
        )


class TestPlugins:
    def test_they_come_by_name_in_the_order_of_the_file(self, written):
        section = "[[{}]]\ntype = gauge\nport = {}\n"
        read = config.read(written(whole() + "[buffers]\n[[b]]\ntype = cloud\n[[a]]\ntype = cloud\n"))
        assert list(read.dispatchers) == ["cloud", "b", "a"]
        assert [plugin.name for plugin in read.dispatchers.values()] == ["cloud", "b", "a"]
        assert read.types == {
            "listeners": {"probe": "gauge"},
            "dispatchers": {"cloud": "cloud", "b": "cloud", "a": "cloud"},
        }
        text = whole(listener="type = gauge\nport = 1\n" + section.format("z", 2) + section.format("a", 3))
        assert [probe.port for probe in config.read(written(text)).listeners.values()] == ["1", "2", "3"]

    def test_an_edit_of_a_comment_changes_none(self, written):
        before, after = config.read(written(whole())), config.read(written("# new\n" + whole()))
        assert before.listeners == after.listeners
        assert before.listeners != config.read(written(whole().replace("port = x", "port = y"))).listeners

    def test_the_subsections_of_2013_count_as_the_section_itself(self, written):
        text = whole(
            "type = gauge\n[[[init_settings]]]\ncom_port = x\n[[[runtime_settings]]]\nresolution = 9\n"
        )
        assert config.read(written(text)).listeners == {"probe": Probe(port="x", resolution=9)}

    def test_a_setting_out_of_range_reads_as_the_manual_says(self, faults):
        text = "#\n" * 20 + whole("type = gauge\nport = x\nresolution = 13\n").replace(
            "[[probe]]\n", "[[probe]]\n\n"
        )
        assert faults(text) == ["oemgateway.conf:27: resolution: 9, 10, 11 or 12 expected, not 13"]

    @pytest.mark.parametrize(
        ("section", "expected"),
        [
            (
                "port = x\n",
                [f"3: probe: type is missing: {', '.join(known('listeners'))} or gauge expected"],
            ),
            ("type = prob\n", ["4: type: prob is not a type of listener (did you mean probe?)"]),
            (
                "type = a, b\n",
                ["4: type: one value expected, not 2 with commas between (text with a comma needs quotes)"],
            ),
            (
                "type = \n",
                [f"4: type: {', '.join(known('listeners'))} or gauge expected, not nothing"],
            ),
            ("type = gauge\n", ["3: probe: port is missing"]),
            (
                "type = gauge\nprot = x\nresolution = 8\n",
                [
                    "5: prot: no such setting (did you mean port?)",
                    "6: resolution: 9, 10, 11 or 12 expected, not 8",
                ],
            ),
            (
                "type = gauge\ncom_port = nowhere\n",
                ["3: probe: nothing to read", "5: com_port: no such port"],
            ),
            (
                "type = gauge\nport = broken\n",
                ["3: probe: gauge fails on its settings, a bug in it: RuntimeError('a bug')"],
            ),
            ("type = gauge\nport = x\nactive = perhaps\n", ["6: active: yes or no expected, not perhaps"]),
            (
                "type = gauge\nport = x\n[[[init_setting]]]\n",
                ["6: [[[init_setting]]]: no such section (did you mean init_settings?)"],
            ),
            (
                "type = gauge\nport = x\n[[[sensors]]]\n",
                ["6: [[[sensors]]]: no such section: put what is in it into [[probe]] itself"],
            ),
            (
                "type = gauge\n[[[init_settings]]]\nport = x\n[[[runtime_settings]]]\nport = y\n[[[[z]]]]\n",
                [
                    "8: port: given in line 6 already: keep one",
                    "9: [[[[z]]]]: [[[runtime_settings]]] has no sections in it",
                ],
            ),
        ],
    )
    def test_each_fault_has_its_line_and_says_what_would_help(self, faults, section, expected):
        assert faults(whole(section)) == [f"oemgateway.conf:{fault}" for fault in expected]

    def test_the_faults_of_all_sections_come_at_once(self, faults):
        found = faults(
            "x = 1\n"
            "[gatway]\n"
            "[listeners]\n"
            "y = 1\n"
            "[[a]]\n"
            "type = gauge\n"
            "nonsense\n"
            "[[b]]\n"
            "type = prob\n"
            "[buffers]\n"
            "[[c]]\n"
            "type = cloud\n"
            "interval = -1\n"
            "[dispatchers]\n"
            "[[c]]\n"
            "[cellar]\n"
        )
        assert [fault.removeprefix("oemgateway.conf:") for fault in found] == [
            "1: x: it is above the first section: put it into [gateway]",
            "2: [gatway]: no such section (did you mean gateway?)",
            "4: y: [listeners] has no settings of its own: a [[name]] expected above it",
            "5: a: port is missing",
            "7: `key = value` or `[section]` expected",
            "9: type: prob is not a type of listener (did you mean probe?)",
            "13: interval: 0 or more expected, not -1",
            "15: [[c]]: there is one of this name in line 11: give it another",
            "16: [cellar]: no such section: [gateway], [listeners], [dispatchers] or [nodes] expected",
        ]

    def test_a_remark_has_the_line_of_its_key_or_of_the_section(self, remarks):
        assert remarks(whole("type = gauge\ncom_port = odd\n")) == [
            "oemgateway.conf:3: probe: inputs: an odd number",
            "oemgateway.conf:5: com_port: an odd port",
        ]

    def test_a_section_that_is_switched_off_is_remarked_and_not_looked_at(self, written):
        read = config.read(written(whole("type = nonsense\nactive = no\n")))
        assert read.listeners == {}
        assert [str(remark).partition("conf:")[2] for remark in read.remarks] == [
            "5: probe: neither run nor checked: active = no"
        ]


class TestBetweenSections:
    def test_a_file_without_listener_or_dispatcher_says_what_to_add(self, faults):
        assert [fault.removeprefix("oemgateway.conf:1: ") for fault in faults("")] == [
            "there is no listener: below [listeners] add [[ds2482]] and type = ds2482",
            "there is no dispatcher: below [dispatchers] add [[emoncms]] and type = emoncms",
        ]
        assert [fault.partition(": ")[0] for fault in faults("[buffers]\n[listeners]\n# end\n")] == [
            "oemgateway.conf:1",
            "oemgateway.conf:2",
        ]

    def test_two_listeners_cannot_write_the_same_index_of_a_node(self, faults):
        text = whole(
            "type = gauge\nport = x\nnode = 9\ninputs = 3\n"
            "[[other]]\ntype = gauge\nport = y\nnode = 9\ninputs = 2\n"
            "[[third]]\ntype = gauge\nport = z\nnode = 10\n"
        )
        [fault] = faults(text)
        assert fault == (
            "oemgateway.conf:8: other: index 1, 2 of node 9 is written by probe (line 3) too: "
            "give one of them another node"
        )

    @pytest.mark.parametrize(
        "first",
        [
            "type = keyvalue\nport = /dev/ttyUSB1\nnode = 9\n",
            "type = ds2482\nnode = 9\nsensor1 = 28.33F749050000\n",
            "type = ds2482\nnode = 9\n",
        ],
    )
    def test_a_node_whose_names_come_with_its_lines_is_one_listeners_alone(self, faults, first):
        names = "[[other]]\ntype = keyvalue\nnode = 9\n"
        expected = "node 9 is written by probe (line 3) too: give one of them another node"
        (fault,) = faults(whole(f"{first}{names}"))
        assert fault.split(": ", 1)[1] == f"other: {expected}"
        (fault,) = faults(whole(f"{names.replace('[[other]]', '')}[[other]]\n{first}"))
        assert fault.split(": ", 1)[1] == f"other: {expected}"

    @pytest.mark.parametrize(
        ("node", "where"),
        [
            (10, "13: [[10]]"),
            (5, "6: radio"),  # an emonPi's own readings come by its baseid
            (19, "15: [[19]]"),
        ],
    )
    def test_a_node_of_sensors_and_of_packets_is_remarked_with_both_lines(self, remarks, node, where):
        text = (
            "[listeners]\n[[bus]]\ntype = ds2482\n"
            f"node = {node}\nsensor1 = 28.33F749050000\n"
            "[[radio]]\ntype = rfm12pi\nbaseid = 5\n"
            "[dispatchers]\n[[log]]\ntype = log\n"
            "[nodes]\n[[10]]\nname = emontx\n[[19]]\n"
        )
        assert remarks(text) == [
            (
                f"oemgateway.conf:{where}: packets of node {node} are refused, "
                "as bus (line 2) writes its inputs: give one of the two another node"
            )
        ]
        assert remarks(text.replace(f"node = {node}", "node = 9")) == []

    @pytest.mark.parametrize(
        ("node", "hint"),
        [
            ("node10", " (did you mean [[10]]?)"),
            ("Node 7", " (did you mean [[7]]?)"),
            ("emontx 0", " (did you mean [[0]]?)"),
            ("emontx", ""),
            ("x999", ""),
        ],
    )
    def test_a_node_that_no_packet_can_have_is_remarked(self, remarks, node, hint):
        text = whole(
            "type = rfm12pi\n[[lines]]\ntype = tcp\n[[cable]]\ntype = serial\n"
            "[[bus]]\ntype = ds2482\nnode = 9\nsensor1 = 28.33F749050000\n"
        )
        (remark,) = remarks(f"{text}[nodes]\n[[{node}]]\nname = x\n[[10]]\n")
        said = "not used: no listener here has such a node, and packets have a number"
        assert remark.split(": ", 1)[1] == f"[[{node}]]: {said}{hint}"

    @pytest.mark.parametrize(
        "other",
        ["type = http", "type = mqtt", "type = exec\ncommand = /bin/true", "type = keyvalue\nnode = node10"],
    )
    def test_a_node_that_a_device_may_have_is_not(self, remarks, other):
        text = whole(f"type = rfm12pi\n[[other]]\n{other}\n")
        assert remarks(f"{text}[nodes]\n[[node10]]\nname = x\n") == []

    @pytest.mark.parametrize("node", ["oven", "10"])
    @pytest.mark.parametrize("push", ["http", "mqtt\nformat = emoncms"])
    @pytest.mark.parametrize(("key", "value"), [("scales", "0.1, 1"), ("scale", "10")])
    def test_a_scale_of_what_is_taken_as_it_comes_is_remarked(self, remarks, push, node, key, value):
        scaled = f"[nodes]\n[[{node}]]\nnames = temp, w\n{key} = {value}\n[[plain]]\nscale = 1\n"
        (remark,) = remarks(whole(f"type = {push}\n") + scaled)
        said = "not used: what is posted, or comes by MQTT, stays as it is"
        assert remark.split(": ", 1)[1] == f"{key}: {said}; only packets and lines are multiplied"
        # and it is not where a listener that multiplies may have the node
        other = f"keyvalue\nnode = {node}" if node == "oven" else "tcp"
        for type_ in (other, "exec\ncommand = /bin/true"):
            assert remarks(whole(f"type = {push}\n[[other]]\ntype = {type_}\n") + scaled) == []

    def test_a_simulated_radio_has_nodes_of_its_own(self, remarks):
        text = "type = ds2482\nnode = 19\nsensor1 = 28.33F749050000\n[[radio]]\ntype = rfm12pi\n"
        [remark] = remarks(whole(f"{text}port = simulated\n"))
        assert remark.startswith("oemgateway.conf:7: radio: packets of node 19 are refused, as probe (li")

    def test_two_listeners_may_have_different_indices_of_a_node(self, written):
        bus = "type = ds2482\nnode = 9\n"
        text = whole(
            f"{bus}sensor1 = 28.33F749050000\n[[other]]\n{bus}address = 0x19\nsensor2 = 28.DB564A050000\n"
        )
        assert list(config.read(written(text)).listeners) == ["probe", "other"]

    def test_a_listener_that_is_off_writes_none(self, written):
        text = whole(
            "type = gauge\nport = x\nnode = 9\n[[other]]\ntype = gauge\nport = y\nnode = 9\nactive = no\n"
        )
        assert list(config.read(written(text)).listeners) == ["probe"]

    @pytest.mark.parametrize(
        ("first", "second", "what"),
        [
            ("type = tcp", "type = tcp", "port 50011 of 127.0.0.1"),
            ("type = tcp\nhost = 0.0.0.0", "type = tcp", "port 50011 of 127.0.0.1"),
            ("type = tcp", "type = tcp\nhost = localhost", "port 50011 of 127.0.0.1"),
            ("type = tcp", "type = tcp\nhost = 0.0.0.0", "port 50011"),
            ("type = tcp\nhost = ::1", "type = tcp\nhost = ::", "IPv6 port 50011"),
            ("type = http", "type = tcp\nport = 8080", "port 8080 of 127.0.0.1"),
            ("type = tcp\nport = 50012", "type = repeater", "port 50012 of 127.0.0.1"),
            ("type = rfm12pi", "type = serial\nport = /dev/ttyAMA0", "/dev/ttyAMA0"),
            ("type = keyvalue\nnode = 8", "type = serial", "/dev/ttyUSB0"),
            ("type = ds2482\nnode = 8", "type = ds2482\nnode = 9", "I2C bus 1, address 0x18"),
        ],
    )
    def test_two_listeners_cannot_have_what_is_for_one_alone(self, faults, first, second, what):
        (fault,) = faults(whole(f"{first}\n[[other]]\n{second}\n"))
        assert fault.split(": ", 1)[1] == (
            f"other: {what} is for probe (line 3): give one of them another, or set active = no in it"
        )

    @pytest.mark.parametrize(
        ("repeated", "what"),
        [
            ("type = tcp\n", "port 50011 of 127.0.0.1 is for probe (line 3)"),
            ("type = keyvalue\nnode = 9\nport = /dev/ttyUSB{}\n", "node 9 is written by probe (line 3) too"),
            (
                "type = ds2482\nnode = 9\naddress = 0x1{:x}\nsensor1 = 28.33F749050000\n",
                "index 1 of node 9 is written by probe (line 3) too",
            ),
        ],
    )
    def test_of_many_that_want_the_same_each_is_sent_to_the_first_alone(self, faults, repeated, what):
        text = "".join(f"[[more{number}]]\n{repeated.format(number)}" for number in range(9, 15))
        found = faults(whole(f"{repeated.format(8)}{text}"))
        assert len(found) == 6
        assert all(f": {what}: give one of them" in fault for fault in found)

    def test_a_listener_and_a_dispatcher_cannot_have_it_either(self, faults):
        (fault,) = faults(whole("type = tcp\nport = 5001\n", "type = cloud\nport = 5001\n"))
        assert "cloud: port 5001 of 127.0.0.1 is for probe (line 3): give one of them another" in fault

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("type = tcp", "type = tcp\nport = 5001"),
            ("type = tcp\nport = 0", "type = tcp\nport = 0"),
            ("type = tcp", "type = tcp\nhost = 192.168.1.5"),
            ("type = tcp\nhost = 0.0.0.0", "type = tcp\nhost = ::"),
            ("type = tcp", "type = tcp\nactive = no"),
            ("type = rfm12pi\nport = simulated", "type = rfm12pi\nport = simulated"),
            ("type = rfm12pi", "type = serial\nport = /dev/ttyAMA1"),
            ("type = ds2482\nnode = 8", "type = ds2482\nnode = 9\naddress = 0x19"),
            ("type = ds2482\nnode = 8\nbus = simulated", "type = ds2482\nnode = 9\nbus = simulated"),
            ("type = owserver\nnode = 8", "type = owserver\nnode = 9"),
        ],
    )
    def test_but_what_each_can_have_for_itself(self, written, first, second):
        assert config.read(written(whole(f"{first}\n[[other]]\n{second}\n"))).listeners

    def test_a_sensor_with_two_resolutions_is_remarked(self, remarks):
        # given two sections that have a sensor in common, and one more each
        text = "[listeners]\n"
        for node, bits, other in ((9, 9, "28.33F749050001"), (10, 12, "28.33F749050002")):
            sensors = f"sensor1 = {other}\nsensor2 = 28.33F749050000\n"
            text += f"[[s{node}]]\ntype = owfs\nnode = {node}\nresolution = {bits}\n{sensors}"
        text += "[dispatchers]\n[[out]]\ntype = log\n"
        # then each would set it again at every reading
        (remark, again) = remarks(text)
        where, _, said = remark.partition("28.33F749050000 has ")
        assert where == "oemgateway.conf:8: s10: "
        assert said == "resolution = 12 here and resolution = 9 in s9 (line 2): give it the same in both"
        assert remarks(text.replace("= 12", "= 9")) == [again]

    def test_a_sensor_in_two_sections_is_remarked(self, remarks):
        # given two sections that have sensors in common, on whatever bus
        sensors = "".join(f"sensor{n} = 28.33F74905000{n}\n" for n in range(3, 6))
        text = whole(
            f"type = w1\nnode = 9\nsensor1 = Dummy\n{sensors}[[other]]\ntype = owfs\nnode = 10\n{sensors}"
        )
        # then it is said once, as it may be meant
        where = "oemgateway.conf:10: other: "
        said = "is read by probe (line 3) too, so its value is sent twice: remove it here or there"
        assert [each for each in remarks(text) if " too, " in each] == [
            f"{where}28.33F749050003 (and 2 more) {said}, unless that is meant"
        ]
        # but not where one of them is off
        assert not [each for each in remarks(text.replace("[disp", "active = no\n[disp")) if " too, " in each]

    def test_two_dispatchers_with_one_account_are_remarked(self, remarks):
        # given two sections of the same Emoncms, as a copy of a section makes them
        account = f"type = emoncms\nurl = http://emonpi/emoncms\napikey = {'0123456789abcdef' * 2}\n"
        text = whole(dispatcher=f"{account}[[copy]]\n{account}")
        # then what Emoncms accumulates would count each reading twice
        [remark] = remarks(text)
        assert remark == (
            "oemgateway.conf:11: copy: cloud (line 7) delivers to the same account, "
            "so each reading arrives twice there: remove one of them"
        )
        # but other keys are other inputs
        assert remark not in remarks(f"{text}keys = name\n")

    def test_one_name_in_both_lists_is_remarked(self, remarks):
        assert remarks(whole().replace("[[cloud]]", "[[probe]]")) == [
            "oemgateway.conf:7: probe: a listener has this name too: the log cannot distinguish them"
        ]

    def test_made_up_readings_do_not_go_where_a_key_is_given(self, faults):
        text = whole("type = gauge\nport = simulated\n", "type = cloud\napikey = abc\n")
        [fault] = faults(text)
        assert fault == (
            "oemgateway.conf:3: probe: its readings are simulated and would go to cloud (line 7): "
            "set one of them to active = no, or simulate = yes in [gateway]"
        )

    @pytest.mark.parametrize(
        ("gateway", "dispatcher"),
        [
            ("\nsimulate = yes", "type = cloud\napikey = abc\n"),
            ("", "type = cloud\n"),
            ("", "type = cloud\napikey = abc\nactive = no\n"),
        ],
    )
    def test_unless_it_is_wanted_or_there_is_no_key(self, written, gateway, dispatcher):
        text = whole("type = gauge\nport = simulated\n", dispatcher, gateway)
        assert config.read(written(text)).listeners["probe"].simulated

    def test_a_key_that_everyone_can_read_is_remarked(self, written):
        path = written(whole(dispatcher="type = cloud\napikey = abc\n"))
        assert config.read(path).remarks == []
        path.chmod(0o644)
        [remark] = config.read(path).remarks
        assert str(remark) == f"{path}:9: apikey: every user of this machine can read it: chmod 640 {path}"

    def test_of_several_keys_that_everyone_can_read_one_is_remarked(self, written):
        path = written(whole(dispatcher="type = cloud\napikey = abc\n[[b]]\ntype = cloud\napikey = abc\n"))
        path.chmod(0o644)
        [remark] = config.read(path).remarks
        assert "every user of this machine can read it, and 1 more below: chmod" in str(remark)

    def test_a_file_without_a_key_may_be_read_by_everyone(self, written):
        path = written(whole())
        path.chmod(0o644)
        assert config.read(path).remarks == []


def test_a_path_may_be_text_and_a_missing_file_is_a_fault():
    with pytest.raises(ConfigFaults, match="there is no such file"):
        config.read("/nowhere/oemgateway.conf")


WORDS = [
    "type",
    "port",
    "owfs",
    "probe",
    "cloud",
    "node",
    "sensor1",
    "28.33F749050000",
    "simulated",
    "yes",
    "9",
]
LINES = st.one_of(
    st.sampled_from(
        ["[gateway]", "[listeners]", "[[probe]]", "[dispatchers]", "[[cloud]]", "[[[init_settings]]]"]
    ),
    st.builds("{} = {}".format, st.sampled_from(WORDS), st.sampled_from(WORDS) | st.text(max_size=5)),
    st.text(alphabet="[]='\",#ab \t\\", max_size=12),
    st.text(max_size=8),
)


@given(st.one_of(st.binary(), st.lists(LINES).map(lambda lines: "\n".join(lines).encode())))
@example(b"[\n")
@example(b"[=\n'[=")
@example(b"\"\" = '''\n'''")
@example(whole().encode())
def test_any_file_gives_a_configuration_or_faults_on_its_lines(content):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            read = config.read(file.name)
        except ConfigFaults as caught:
            faults = caught.faults
            assert faults
        else:
            faults = read.remarks
        lines = max(1, content.removesuffix(b"\n").count(b"\n") + 1)
        assert all(1 <= fault.line <= lines and "\n" not in str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("kind", "section", "key"),
    [
        ("listeners", "type = tcp", "key"),
        ("listeners", "type = http\nport = 50012", "apikey"),
        ("dispatchers", "type = emoncms", "apikey"),
        ("dispatchers", "type = mqtt\nuser = me", "password"),
        ("dispatchers", "type = influxdb\ndatabase = home", "token"),
    ],
)
def test_a_character_of_a_key_that_cannot_be_seen_is_named_with_its_place(written, kind, section, key):
    with pytest.raises(ConfigFaults) as caught:
        config.read(written(f"[{kind}]\n[[x]]\n{section}\n{key} = SECRET\u200bSECRET\n"))
    (said,) = [fault.message for fault in caught.value.faults if fault.where == key]
    assert said.endswith(": remove character 7 of 13, U+200B ZERO WIDTH SPACE, which cannot be seen")
    assert "SECRET" not in str(caught.value)
