"""`oemgateway migrate`: files of emonhub and oem_gateway move in, and nothing is left out in silence."""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.main import main
from gateway.commands.migrate.rules import NOT_HERE, RULES
from gateway.conf import config
from gateway.registry import BUILT_IN
from tests.emonhub_files import (
    HTTP,
    HUB,
    KEY,
    LINES,
    NAMES,
    NODES,
    RADIO,
    REAL,
    SENSORS,
    SHIPPED,
    SOCKET,
    mqtt,
    oem,
)

DOCS = Path(__file__).parents[1] / "docs"
OF_2014 = Path(__file__).parent / "vectors" / "oemgateway-2014.conf"
FILES = SHIPPED | REAL


@pytest.fixture
def migrate(tmp_path, capsys):
    """Return a function that migrates a text: the exit status, what was printed, and the new file."""

    def run(text, *options, old="emonhub.conf"):
        given = tmp_path / old
        given.write_bytes(text if isinstance(text, bytes) else text.encode())
        new = tmp_path / "new.conf"
        status = main(["migrate", str(given), "-o", str(new), *options])
        printed = capsys.readouterr()
        assert given.read_bytes() == (text if isinstance(text, bytes) else text.encode())
        return status, printed.out + printed.err, new

    return run


def entry(new, name, key):
    """Return what a section of the new file has for a key, None if nothing."""
    text = new.read_text()
    section = re.search(
        rf"(?ms)^\[\[{re.escape(name)}\]\]$.*?(?=^\[|\Z)|^\[\[{re.escape(name)}\]\] .*?(?=^\[|\Z)", text
    )
    found = re.search(rf"(?m)^ *{key} = ([^#\n]*)", section[0]) if section else None
    return found[1].strip() if found else None


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_every_file_moves_in_one_command_and_check_has_no_fault(migrate, capsys, text):
    status, printed, new = migrate(text)
    assert status == (1 if "\nNot moved:" in printed else 0)
    assert main(["check", str(new)]) == 0
    assert "has no faults" in capsys.readouterr().out


def test_a_new_file_that_the_service_does_not_read_is_to_be_copied_where_it_does(migrate):
    _, printed, new = migrate(next(iter(FILES.values())))
    assert f"sudo cp --preserve {new} /etc/oemgateway.conf " in printed


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_what_is_not_moved_is_named_in_the_new_file_too(migrate, text):
    _, printed, new = migrate(text)
    lost = re.search(r"\nNot moved:\n((?:  .*\n)+)", printed)
    for line in lost[1].splitlines() if lost else []:
        key = re.match(r" *emonhub\.conf:\d+: ([^:]+):", line)[1]
        assert re.search(rf"# (Not moved|Not used)[^\n]*{re.escape(key)}", new.read_text()), line


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_no_secret_is_printed_and_only_the_owner_can_read_the_file(migrate, text):
    _, printed, new = migrate(text)
    for secret in (KEY, "not, a word", "b7" * 16, "opensesame"):
        assert secret not in printed
    assert stat.S_IMODE(new.stat().st_mode) == 0o600


def test_a_radio_keeps_its_settings_and_comments(migrate):
    _, _, new = migrate(HUB + RADIO + HTTP + NODES)
    radio = config.read(new).listeners["RFM2Pi"]
    assert (radio.port, radio.baud, radio.group) == ("/dev/ttyAMA0", 38400, 212)
    assert (radio.frequency, radio.baseid, radio.quiet) == (868, 5, True)
    text = new.read_text()
    assert "# the board on the header\n[[RFM2Pi]]" in text
    assert "    # the neighbours have 210\n    group = 212\n" in text
    assert "    baseid = 5  # its own node\n" in text
    assert "    # interval =  0                 # for an emonGLCD\n" in text
    assert "# how much is logged\n    loglevel = DEBUG" in text
    assert "# in the garage\n[[8]]" in text


def test_packets_of_a_node_have_the_values_that_emonhub_gives(migrate):
    _, _, new = migrate(HUB + RADIO + HTTP + NODES)
    nodes = config.read(new).nodes
    packet = struct.pack("<hhhL", -120, 23456, 3000, 70000)
    decoded = nodes.decode("8", packet)
    assert decoded.names == ("power", "vrms", "tank", "pulse")
    assert decoded.values == (-120, 234.56, None, 70000)  # 300 degrees is no sensor, which emonhub sends on
    assert nodes.decode("21", struct.pack("<hh", 215, 480)).values == (21.5, 48.0)
    assert nodes.decode("8", packet[:-1]) == "length-mismatch"


@pytest.mark.parametrize(
    ("port", "baud", "more", "type_"),
    [
        ("/dev/ttyAMA0", 115200, "", "keyvalue"),
        ("/dev/ttyUSB0", 115200, "            nodename = emonTx4\n", "keyvalue"),
        ("/dev/ttyAMA0", 38400, "", "rfm12pi"),
        ("/dev/ttyAMA0", 115200, "            group = 210\n", "rfm12pi"),
    ],
)
def test_an_oem_board_is_a_radio_or_prints_names(migrate, port, baud, more, type_):
    _, _, new = migrate(HUB + oem(port, baud) + more + HTTP)
    assert entry(new, "Base", "type") == type_
    assert entry(new, "Base", "port") == port
    if type_ == "keyvalue":
        assert entry(new, "Base", "node") == ("emonTx4" if more else "Base")


def test_sensors_have_the_indices_of_the_list_and_names_as_labels(migrate):
    _, printed, new = migrate(HUB + SENSORS + mqtt())
    slots = config.read(new).listeners["DS18B20"]
    assert (slots.node, slots.interval) == ("loft", 20)
    assert [str(slot) for slot in slots.sensors.by_index.values()] == [
        "28.33F749050000, flow",
        "28.DB56A5040000, return",
        "28.AB1663050000, 28-0000056316ab",
    ]
    assert "# the one without a name is behind the tank" in new.read_text()
    assert "node loft: the index of a sensor is its place in ids" in printed


def test_sensors_without_ids_need_them(migrate):
    status, printed, new = migrate(SHIPPED["emonpi2"])
    assert status == 1
    assert re.search(r"emonhub\.conf:\d+: ids: .*`oemgateway sensors` shows the ids", printed)
    assert entry(new, "DS18B20", "sensor1") == "Dummy"
    assert "# ids = 28-00000549f733" in new.read_text()


def test_topics_stay_and_different_base_topics_are_two_sections(migrate):
    _, printed, new = migrate(HUB + RADIO + mqtt(node=1, json=1))
    made = config.read(new).dispatchers
    assert [(each.base, each.emonhub) for each in made.values()] == [
        ("emon/", ("nodevar", "json")),
        ("emonhub/", ("node",)),
    ]
    assert {(each.host, each.port, each.user, each.password) for each in made.values()} == {
        ("192.168.7.2", 1884, "meter", "not, a word")
    }
    assert not any(each.tls or each.ca_file for each in made.values())
    assert "what is published to emonhub/tx/ is not sent by radio" in printed


@pytest.mark.parametrize("old", [HUB + RADIO + mqtt(), "[listeners]\n[dispatchers]\n[[MQTT]]\ntype = mqtt\n"])
def test_a_library_that_is_missing_is_named_and_its_section_is_off(migrate, monkeypatch, old):
    monkeypatch.setitem(BUILT_IN["dispatchers"], "mqtt", "not_there:Mqtt")
    status, printed, new = migrate(old)
    assert (status, entry(new, "MQTT", "active")) == (1, "no")
    assert re.search(r"emonhub\.conf:\d+: type: mqtt: .*not_there", printed)
    assert "correct it, and remove its active = no" in printed


def test_tls_moves_where_it_is_on(migrate):
    on = mqtt().replace(
        "mqtt_tls_enabled = false", "mqtt_tls_enabled = true\n        mqtt_tls_insecure = true"
    )
    status, printed, new = migrate(HUB + RADIO + on)
    made = config.read(new).dispatchers["MQTT"]
    assert (made.tls, str(made.ca_file)) == (True, "/etc/ssl/certs/ca-certificates.crt")
    assert status == 1
    assert "mqtt_tls_insecure: a certificate is always checked" in printed


def test_names_go_on_as_names_and_the_new_nodes_are_listed(migrate):
    _, printed, new = migrate(HUB + RADIO + NAMES + NODES)
    made = config.read(new).dispatchers["emoncms"]
    assert (made.url, made.apikey, made.interval, made.keys) == (
        "https://emoncms.example.org",
        KEY,
        45,
        "name",
    )
    assert "garage is 8" in printed
    assert "log each to the feed of the old input" in printed


def test_a_name_that_two_values_have_is_one_input_no_more(migrate):
    _, printed, _ = migrate(f"{HUB}{RADIO}[nodes]\n[[18]]\n[[[rx]]]\nnames = MSG, T7, T7\n")
    assert "\n  node 18: T7 names more than one value: these are called by their indices\n" in printed


def test_without_names_inputs_are_as_before(migrate):
    _, printed, new = migrate(HUB.replace("autoconf = 1\n", "") + RADIO + HTTP)
    assert config.read(new).dispatchers["emoncms"].keys == "index"
    assert "[[emoncms]]: inputs that are called by node and index" in printed
    assert "sudo systemctl disable --now emonhub" in printed


def test_a_device_that_prints_names_has_new_inputs_where_names_were_not_sent(migrate):
    said = "node Base: inputs that were 1, 2, 3 by HTTP have names: new"
    assert said in migrate(HUB + oem() + HTTP)[1]
    assert said not in migrate(HUB + oem() + NAMES, "--overwrite")[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((KEY, "x" * 32), "it needs the write key"),
        (("senddata = 1", "senddata = 0"), "senddata = 0: emonhub sends it no readings either"),
        (("subchannels = ToEmonCMS", "subchannels ="), "it has no subchannels"),
        (("interval = 45", "pause = all"), "it is paused in emonhub too"),
    ],
)
def test_what_sends_nothing_in_emonhub_is_off(migrate, change, reason):
    _, printed, new = migrate(HUB + RADIO + HTTP.replace(*change))
    assert entry(new, "emoncms", "active") == "no"
    assert f"[[emoncms]] type = emoncms, off: {reason}" in printed


@pytest.mark.parametrize(
    ("old", "key"),
    [
        (RADIO.replace("baseid = 5", "nodeoffset = 100"), "nodeoffset"),
        (SOCKET + "        timestamped = True\n", "timestamped"),
        (LINES + "        nodeoffset = 7\n", "nodeoffset"),
    ],
)
def test_what_would_come_under_a_wrong_node_is_off(migrate, old, key):
    status, printed, new = migrate(HUB + old + HTTP)
    (name,) = re.findall(r"(?m)^\[\[(RFM2Pi|Lines)\]\]", new.read_text())
    assert (status, entry(new, name, "active")) == (1, "no")
    assert f": {key}: " in printed


@pytest.mark.parametrize(
    ("section", "is_named"),
    [
        (RADIO.replace("baseid = 5", "datacode = H"), True),
        (RADIO.replace("baseid = 5", "datacode = 0"), True),
        (RADIO.replace("baseid = 5", "datacode = h"), False),
        (LINES + "        datacode = h\n", True),
        (LINES + "        datacode = 0\n", False),
    ],
)
def test_a_datacode_that_is_not_the_default_of_its_interfacer_is_named(migrate, section, is_named):
    _, printed, _ = migrate(HUB + section + HTTP)
    assert (": datacode: " in printed) == is_named


def test_destinations_that_emonhub_keeps_apart_are_named(migrate):
    _, printed, _ = migrate(REAL["readings kept apart by channels"])
    assert "[[emoncms]]: it gets the readings of [[RFM2Pi]] too: there are no channels here" in printed


@pytest.mark.parametrize(("type_", "reason"), NOT_HERE.items())
def test_an_interfacer_without_a_counterpart_is_named_with_the_reason(migrate, type_, reason):
    text = f"{HUB}{RADIO}[[other]]\nType = {type_}\n{HTTP}"
    status, printed, new = migrate(text)
    assert status == 1
    assert f"emonhub.conf:{text.splitlines().index('[[other]]') + 1}: [[other]]: {type_}: {reason}" in printed
    assert f"{type_}: {reason}" in new.read_text()


def test_the_manual_has_a_table_of_all_interfacers():
    table = (DOCS / "moving.rst").read_text()
    assert [name for name in (*RULES, *NOT_HERE) if f"\n``{name}`` " not in table] == []


def test_a_file_of_oem_gateway_gets_the_names_of_today(migrate):
    status, printed, new = migrate(OF_2014.read_text(), old="oemgateway-2014.conf")
    assert status == 0
    before, after = config.read(OF_2014), config.read(new)
    assert [set(part) for part in (after.listeners, after.dispatchers)] == [
        set(part) for part in (before.listeners, before.dispatchers)
    ]
    assert after.listeners["OWFS"] == before.listeners["OWFS"]
    assert (after.listeners["RFM2Pi"].group, after.listeners["RFM2Pi"].baud) == (210, 9600)
    assert after.listeners["Socket"].host == "0.0.0.0"
    there = after.dispatchers["emoncms_local"]
    assert (there.url, there.interval) == ("http://localhost/emoncms", 0)
    assert not re.search(r"OemGateway|buffers|_settings", new.read_text())
    assert "    # The node to send as\n    node = 9" in new.read_text()
    assert "nodes and indices: inputs and feeds go on" in printed


def test_a_file_of_ours_stays_what_it_is(migrate):
    shipped = (DOCS.parent / "etc" / "oemgateway.conf").read_text().replace("apikey = ", f"apikey = {KEY}")
    shipped = shipped.replace("#[[mqtt]]\n    #type", "[[mqtt]]\n    type").replace(
        "#[[broker]]\n    #type = mqtt", "[[broker]]\n    type = mqtt\n    format = emonhub"
    )
    status, _, new = migrate(shipped)
    assert status == 0
    once = config.read(new)
    assert once.dispatchers["emoncms"].apikey == KEY
    assert (list(once.listeners), list(once.dispatchers)) == (["bridge", "broker"], ["emoncms", "mqtt"])


@pytest.mark.parametrize("text", ["", "hello\n", "[section]\nkey = value\n"])
def test_a_file_of_neither_program_is_refused_and_nothing_is_written(migrate, text):
    status, printed, new = migrate(text)
    assert status == 78
    assert "[interfacers] or [listeners] expected" in printed
    assert not new.exists()


def test_a_binary_file_is_refused(migrate):
    status, printed, new = migrate(b"[hub]\n\0\0")
    assert (status, new.exists()) == (78, False)
    assert "emonhub.conf:2: a text file in UTF-8 expected" in printed


def test_damaged_lines_are_named_and_the_rest_is_moved(migrate):
    whole = HUB + RADIO + HTTP + NODES
    line = whole.splitlines().index("        quiet = true") + 1
    damaged = whole.encode()
    damaged = damaged.replace(b"quiet = true", b"quiet true").replace(b"in the garage", b"in der Gar\xe4ge")
    damaged += b"[[8]]\n    nodename = again\n[interfacers]\n[[late]]\n    Type = EmonHubJeeInterfacer\n"
    status, printed, new = migrate(damaged)
    assert status == 1
    for said in (
        rf":{line}: `key = value` or `\[section\]` expected",
        r":\d+: text in UTF-8 expected, not byte 0xe4",
        r":\d+: \[\[8\]\]: there is one of this name",
        r":\d+: \[interfacers\]: it begins in line 10 already",
    ):
        assert re.search(rf"emonhub\.conf{said}", printed), said
    assert config.read(new).listeners["RFM2Pi"].group == 212
    assert config.read(new).nodes.decoders["8"].name == "garage"


def test_what_is_nested_deeper_is_named_and_not_moved(migrate):
    deep = "    [[[extra]]]\n    baseid = 7\n    [[[runtimesettings]]]\n    [[[[deep]]]]\n    frequency = 4\n"
    rx = "    [[[rx]]]\n    datacode = h\n    [[[[more]]]]\n    scale = 2\n"
    text = (
        f"[interfacers]\n[[radio]]\nType = EmonHubJeeInterfacer\npubchannels = a\n{deep}[nodes]\n[[8]]\n{rx}"
    )
    status, printed, new = migrate(text)
    assert status == 1
    for line, name in ((5, "extra"), (8, "deep"), (14, "more")):
        assert f"emonhub.conf:{line}: [[[{name}]]]: nothing is read from so deep: move it up" in printed
    assert config.read(new).listeners["radio"].baseid is None


JUNK = [
    *(
        "",
        "[",
        "]]",
        '"',
        "'",
        "=",
        ",",
        "#",
        "\x01",
        "\u202e",
        "ä",
        "= 'x",
        ' = """',
        "= a,b,",
        "= " + "9" * 30,
    ),
    *(
        "\n[x]\n",
        "\n[[8]]\n",
        "\n[nodes]\n",
        "\n[interfacers]\n",
        "\n[[[[deep]]]]\n",
        "\n#[[10]]\n",
        "\n[[]]\n",
    ),
    "\nType = EmonHubJeeInterfacer\n",
]


@settings(max_examples=40, deadline=None)
@given(
    text=st.sampled_from([*FILES.values(), OF_2014.read_text()]),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 30), st.sampled_from(JUNK)), max_size=4),
)
def test_whatever_is_damaged_the_new_file_passes_check(tmp_path_factory, text, edits):
    folder = tmp_path_factory.mktemp("migrate")
    for at, length, junk in edits:
        text = text[: at % len(text)] + junk + text[at % len(text) + length :] or "x"
    (folder / "old").write_text(text)
    status = main(["migrate", str(folder / "old"), "-o", str(folder / "new")])
    assert status in (0, 1, 78)
    assert {path.name for path in folder.iterdir()} == ({"old"} if status == 78 else {"old", "new"})
    if status != 78:
        config.read(folder / "new")


def test_two_that_want_the_same_port_are_not_both_on(migrate):
    status, printed, new = migrate(HUB + RADIO + oem(baud=38400) + HTTP)
    assert status == 1
    assert list(config.read(new).listeners) == ["RFM2Pi"]
    assert re.search(
        r"emonhub\.conf:\d+: Base: /dev/ttyAMA0 is for RFM2Pi: give one of them another", printed
    )


def test_a_target_is_replaced_only_when_told_to(migrate, tmp_path):
    there = tmp_path / "new.conf"
    there.write_text("mine")
    there.chmod(0o644)
    status, printed, _ = migrate(HUB + RADIO + HTTP)
    assert (status, there.read_text()) == (1, "mine")
    assert "exists: name another with -o, or add --overwrite" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emonhub.conf", "new.conf"]
    migrate(HUB + RADIO + HTTP, "--overwrite")
    assert "[[RFM2Pi]]" in there.read_text()
    assert stat.S_IMODE(there.stat().st_mode) == 0o640


def test_the_old_file_is_never_the_new_one(tmp_path, capsys):
    old = tmp_path / "emonhub.conf"
    old.write_text(HUB + RADIO + HTTP)
    link = tmp_path / "link.conf"
    link.symlink_to(old)
    for new in (old, link):
        assert main(["migrate", str(old), "-o", str(new), "--overwrite"]) == 2
    assert old.read_text() == HUB + RADIO + HTTP
    assert "name another with -o" in capsys.readouterr().err


HINT = "this is emonhub's: oemgateway migrate"
OURS = "[listeners]\n[[a]]\n{}\n[dispatchers]\n[[b]]\ntype = log\n"


@pytest.mark.parametrize(
    ("closed", "cure"),
    [
        ("old.conf", "put sudo before the command"),
        ("new.conf", "put sudo before the command, or name another file with -o"),
    ],
)
def test_where_this_user_may_not_read_or_write_the_next_step_is_said(
    tmp_path, capsys, monkeypatch, closed, cure
):
    old, new, usual = tmp_path / "old.conf", tmp_path / "new.conf", os.open
    old.write_text(HUB)

    def refuse(path, *arguments, **more):
        if str(path) == str(tmp_path / closed):
            raise PermissionError(13, os.strerror(13), str(path))
        return usual(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", lambda path: os.read(os.open(path, os.O_RDONLY), 10_000))
    assert main(["migrate", str(old), "-o", str(new)]) == 1
    assert capsys.readouterr().err == f"oemgateway: {tmp_path / closed}: Permission denied: {cure}\n"
    assert not new.exists()


@pytest.mark.parametrize(
    "text",
    [
        *(text for text in SHIPPED.values() if text.startswith("#")),
        OURS.format("Type = EmonHubJeeInterfacer\n[[[runtimesettings]]]\ngroup = 210"),
        OURS.format("type = EmonHubSerialInterfacer\n[[c]]\ntype = EmonModbusTcpInterfacer"),
        OURS.format("type = tcp\n[[[runtimesettings]]]\nport = 9"),
    ],
)
def test_check_says_once_that_a_file_is_emonhubs(written, capsys, text):
    file = written(text)
    assert main(["check", str(file)]) == 78
    said = capsys.readouterr().out
    assert said.count(f"{HINT} {file}") == 1
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("top", ["", "listeners", "interfacers", "nodes", "available", "other"])
def test_sections_may_be_nested_deeper_than_python_can_recurse(migrate, top):
    nested = "".join(f"{'[' * depth}x{']' * depth}\n" for depth in range(2, 1500))

    status, _, new = migrate(f"[hub]\n[{top}]\n{nested}" if top else nested)

    assert status in (0, 1)
    assert main(["check", str(new)]) == 0


def test_only_a_plain_file_is_read_and_only_one_is_overwritten(tmp_path, capsys):
    # given a device, as /dev/null is, which root could replace by a file
    pipe, loop, old = tmp_path / "pipe", tmp_path / "loop", tmp_path / "emonhub.conf"
    os.mkfifo(pipe)
    loop.symlink_to("loop")
    old.write_text(HUB)
    words = "a plain file expected, and no directory, pipe or device"
    for place in (pipe, tmp_path):
        assert main(["migrate", str(old), "-o", str(place), "--overwrite"]) == 1
        assert capsys.readouterr().err == f"oemgateway: {place}: {words}\n"
        assert main(["migrate", str(place), "-o", str(tmp_path / "new.conf")]) == 1
        assert capsys.readouterr().err == f"oemgateway: {place}: {words}\n"
    assert pipe.is_fifo()
    # and a link that leads nowhere is one line as well
    assert main(["migrate", str(old), "-o", str(loop)]) == 1
    assert capsys.readouterr().err == f"oemgateway: {loop} exists: name another with -o, or add --overwrite\n"
