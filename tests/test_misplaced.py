"""What people do to the shipped file in the first hour, and what they read of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.conf import config
from gateway.conf.config import ConfigFaults

KEY = "0123456789abcdef0123456789abcdef"
SHIPPED = (Path(__file__).parent.parent / "etc/oemgateway.conf").read_text(encoding="utf-8")
READY = SHIPPED.replace("apikey =   ", f"apikey = {KEY} #").replace("sensor1 = Dummy   ", "sensor1 = ID #")
READY = READY.replace("ID", "28.33F749050000")
LINES = "[[lines]]\n    type = tcp\n"
LOG = "[[log]]\n    type = log\n"
NODE = "[[10]]\n    names = power1, power2\n    datacode = h\n"


def edited(*changes):
    """Return the shipped file, filled in, with some texts replaced where they stand first."""
    text = READY
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


@pytest.fixture
def said(written):
    """Return what is said of a file, with the text of each line that is named instead of its number."""

    def said(text):
        lines = ["", *text.splitlines()]

        def line(number):
            return lines[int(number)].partition(" # ")[0].strip()

        try:
            found = config.read(written(text)).remarks
        except ConfigFaults as caught:
            found = caught.faults
        told = [str(fault).partition("oemgateway.conf:")[2] for fault in found]
        told = [re.sub(r"^(\d+)", lambda number: line(number[0]), one) for one in told]
        return [re.sub(r"\bline (\d+)", lambda number: f"line <{line(number[1])}>", one) for one in told]

    return said


NO_KEY = "apikey is missing: it is the write key, on the page My Account of Emoncms"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "    sensor1 = 28.",
            "    [[sensor1]]#",
            ["sensor1: a setting has no brackets: sensor1 = ... expected"],
        ),
        (
            "    apikey = ",
            "    [[apikey = secret]]#",
            [NO_KEY, "]]#********: apikey: a setting has no brackets: apikey = ... expected"],
        ),
        (
            "    apikey = ",
            "    [[apikey = secret]#",
            [NO_KEY, "]#********: [[apikey: a name in as many ] as [ expected, and nothing else on the line"],
        ),
        (
            "[dispatchers]",
            "[[dispatchers]]",
            [
                "in one pair of brackets expected, [dispatchers], as it is not a part of [listeners]",
                "[[emoncms]] is in [listeners]: put a line [dispatchers] above it",
            ],
        ),
        (
            "    #loglevel = INFO",
            "    interval = 10",
            ["it is one of [[bridge]] (line <[[bridge]]>) or [[emoncms]] (line <[[emoncms]]>)"],
        ),
        (
            "    type = ds2482",
            "    type = ds2482\n    type = rfm12pi",
            ["given twice in this section: put the [[name]] of another section above it, or keep one"],
        ),
        (
            "sensor1 = 28.33F749050000",
            'sensor1 = "28.33F749050000, flow"',
            ["28.33F749050000, and the label outside of its quotes, not 28.33F749050000,"],
        ),
        (
            "sensor1 = 28.33F749050000",
            "sensor1 = /mnt/1wire/28.33F749050000/temperature",
            ["the id alone expected, 28.33F749050000, not /mnt/1wire/28.33F749050000/temperature"],
        ),
        (
            "    node = 9 ",
            "    node = 9#cellar ",
            ['node: what follows # is a comment: text with a # in it needs "quotes"'],
        ),
    ],
)
def test_what_beginners_type_is_answered_in_its_place(said, before, after, expected):
    answers = [one.replace(KEY, "********") for one in said(edited((before, after)))]
    assert [answer[-len(end) :] for answer, end in zip(answers, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("type_", "key", "meant"),
    [
        ("owserver", "host", "server"),
        ("page", "address", "host"),
        ("mqtt", "broker", "host"),
        ("emoncms", "ip", "url"),
    ],
)
def test_another_word_for_the_address_of_a_far_end_is_answered_with_that_of_its_type(said, type_, key, meant):
    kind = "listeners" if type_ == "owserver" else "dispatchers"
    found = said(f"[{kind}]\n[[x]]\ntype = {type_}\n{key} = 192.168.1.5\n")
    assert f"{key} = 192.168.1.5: {key}: no such setting (did you mean {meant}?)" in found


def test_a_section_with_the_name_of_a_setting_whose_type_is_still_commented_out(said):
    answers = said(edited(("#[[server]]", "[[server]]")))
    assert answers == [
        "#type = owserver: #type: remove the #: type is missing in [[server]] (line <[[server]]>)"
    ]


@pytest.mark.parametrize(
    ("name", "here", "there", "text"),
    [
        ("lines", "nodes", "listeners", f"{READY}\n{LINES}"),
        ("lines", "nodes", "listeners", f"{READY}\n{LINES}    prot = 1\n    key = 7\n"),
        ("log", "nodes", "dispatchers", f"{READY}{LOG}"),
        ("lines", "dispatchers", "listeners", edited(("# Every reading as", f"{LINES}# Every reading as"))),
        ("log", "listeners", "dispatchers", edited(("# Packets of an RFM12Pi", f"{LOG}# Packets of"))),
        ("10", "listeners", "nodes", edited(("# Packets of an RFM12Pi", f"{NODE}# Packets of"))),
        ("lines", "gateway", "listeners", edited(("# What is read.", f"{LINES}# What is read."))),
    ],
)
def test_a_section_in_the_wrong_place_is_named_with_the_place_where_it_belongs(said, name, here, there, text):
    assert said(text) == [
        f"[[{name}]]: [[{name}]] is in [{here}]: move it below [{there}] (line <[{there}]>)"
    ]


HERE = "below [listeners] (line <[listeners]>)"
THERE = "below [dispatchers] (line <[dispatchers]>)"
EITHER = f"{HERE} if it is to read, or move it {THERE} if it is to send"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ("type = mqtt\n", EITHER),
        ("type = mqtt\nhost = emonpi\nformat = emonhub\n", EITHER),
        ("type = mqtt\nhost = emonpi\ntopics = emon/+\n", HERE),
        ("type = mqtt\nvalue1 = a/b, temperature, 20, 1\n", HERE),
        ("type = mqtt\nnode = 5\nprefix = topic\n", HERE),
        ("type = mqtt\ndiscovery = homeassistant\n", THERE),
        ("type = mqtt\ntopic = emon\nbatch = 10\n", THERE),
        ("type = mqtt\ntopic = emon\ntopics = emon\n", EITHER),
    ],
)
@pytest.mark.parametrize("name", ["mqtt", "mine"])
def test_a_section_of_a_type_that_reads_or_sends_is_sent_where_its_settings_belong(
    said, name, settings, where
):
    assert said(f"{READY}[[{name}]]\n{settings}") == [
        f"[[{name}]]: [[{name}]] is in [nodes]: move it {where}"
    ]


def test_the_section_that_is_not_there_yet_is_named_as_well(said):
    found = said(f"[gateway]\n[[x]]\ntype = mqtt\n[dispatchers]\n{LOG}")
    above = "put a line [listeners] above it if it is to read"
    assert f"[[x]]: [[x]] is in [gateway]: {above}, or move it {THERE} if it is to send" in found
    (fault,) = said(edited(("# Packets of an RFM12Pi", "[mine]\ntype = mqtt\n[listeners]")))[:1]
    assert "two brackets expected, [[mine]], as it belongs below [listeners] or [dispatchers]" in fault


@pytest.mark.parametrize(
    ("name", "settings", "where"),
    [
        ("lines", "#type = tcp\n", HERE),
        ("lines", "    #type = tcp  # as here\nport = 50011\n", HERE),
        ("log", "#type = log\n", THERE),
        ("mqtt", "#type = mqtt\n", EITHER),
        ("mqtt", "#type = mqtt\ndiscovery = no\n", THERE),
    ],
)
@pytest.mark.parametrize("more", ["", "[listeners]\n[[other]]\ntype = mqtt\ntopics = emon\n"])
def test_a_section_in_the_wrong_place_whose_type_is_commented_out(said, name, settings, where, more):
    # given a file in which nothing else would tell that no node is called so
    text = READY.replace("[listeners]\n", more, 1) if more else READY
    # then
    (fault,) = said(f"{text}[[{name}]]\n{settings}")
    type_ = settings.strip().splitlines()[0].partition("  #")[0]
    remove = f"and remove the # before its type (line <{type_}>)"
    assert fault == f"[[{name}]]: [[{name}]] is in [nodes]: move it {where}, {remove}"


@pytest.mark.parametrize("comment", ["#type = tpc\n", "#type = \n", "names = a, b\n#type = tcp\n"])
def test_a_comment_in_a_node_may_say_anything(said, comment):
    assert said(f"{READY}[[10]]\n{comment}") == []


def test_a_setting_of_a_type_that_reads_or_sends_is_found_with_the_one_that_has_it(said):
    text = edited(("#[[radio]]", "[[in]]\ntype = mqtt\ntopics = emon\nretained = yes\n#[[radio]]"))
    (fault,) = said(text.replace("#bus = 1", "retained = yes", 1))
    assert fault.endswith("retained: no such setting of [[bridge]]: it is one of [[in]] (line <[[in]]>)")
    (fault,) = said(text.replace("#bus = 1", "discovery = no", 1))
    assert fault.endswith("no such setting of [[bridge]]: it is one of a section with type = mqtt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"[gateway]\n[[bridge]]\ntype = ds2482\nnode = 9\n[dispatchers]\n{LOG}",
            "[[bridge]]: [[bridge]] is in [gateway]: put a line [listeners] above it",
        ),
        (
            f"{LINES}{READY}",
            (
                "[[lines]]: [[lines]]: it is above the first [section]: "
                "move it below [listeners], [dispatchers] or [nodes]"
            ),
        ),
        (
            edited(("[[bridge]]", "[bridge]")),
            "[bridge]: [bridge]: two brackets expected, [[bridge]], as it belongs below [listeners]",
        ),
        (
            edited(("[[bridge]]", "[[[bridge]]]")),
            "[[[bridge]]]: [[[bridge]]]: [[bridge]] expected, in fewer brackets",
        ),
        (
            edited(("#[[radio]]\n    #type", "[[[radio]]]\n    type")),
            "[[[radio]]]: [[[radio]]]: no such section in [[bridge]]: two brackets expected, [[radio]]",
        ),
    ],
)
def test_a_section_without_a_place_or_in_other_brackets_is_named_with_what_is_expected(said, text, expected):
    assert said(text) == [expected]


@pytest.mark.parametrize("name", ["listeners", "dispatchers", "gateway", "nodes"])
def test_a_section_that_begins_twice_is_said_to_have_begun_before(said, name):
    assert said(f"{READY}\n[{name}]\n{LINES}") == [
        (
            f"[{name}]: [{name}]: it begins in line <[{name}]> already: "
            "move what is below this line up there, and remove this line"
        )
    ]


def test_of_two_sections_of_one_name_the_first_is_named_with_its_line(said):
    [fault] = said(edited(("# Packets of an RFM12Pi", f"{LINES}# Packets of"), ("#[[lines]]", "[[lines]]")))
    assert fault == (
        "[[lines]]: [[lines]]: there is one of this name in line <[[lines]]>: "
        "give this one another, or put the two together"
    )


RADIO = ("#[[radio]]\n    #type", "#[[radio]]\n    type")
PORT = [("#port = /dev/ttyAMA0", "port = /dev/ttyUSB0"), ("#group =  ", "group = 210")]


@pytest.mark.parametrize(
    ("changes", "name", "below", "section"),
    [
        ([RADIO], "#[[radio]]", "type = rfm12pi", "[[bridge]]"),
        ([RADIO, *PORT], "#[[radio]]", "type = rfm12pi", "[[bridge]]"),
        (PORT, "#[[radio]]", "port = /dev/ttyUSB0", "[[bridge]]"),
        ([("#[[log]]\n    #type", "#[[log]]\n    type")], "#[[log]]", "type = log", "[[emoncms]]"),
        ([("#name = emontx2", "name = emontx2")], "#[[10]]", "name = emontx2", "[nodes]"),
        ([("\n[listeners]", "\n#[listeners]")], "#[listeners]", "[[bridge]]", "[gateway]"),
        ([("\n[dispatchers]", "\n#[dispatchers]")], "#[dispatchers]", "[[emoncms]]", "[listeners]"),
        (
            [("\n[nodes]", "\n# [nodes]"), ("#[[10]]\n    #name", "[[10]]\n    name")],
            "# [nodes]",
            "[[10]]",
            "[dispatchers]",
        ),
        (
            [("\n[gateway]", "\n#[gateway]"), ("#loglevel = INFO", "loglevel = DEBUG")],
            "#[gateway]",
            "loglevel = DEBUG",
            "no section",
        ),
        # without a fault, it is a remark
        (
            [("#type = owfs\n    #active", "#type = owfs\n    active")],
            "#[[mounted]]",
            "active = yes",
            "[[bridge]]",
        ),
    ],
)
def test_a_name_that_is_still_commented_out_is_all_that_is_said(said, changes, name, below, section):
    key = below.partition(" = ")[0]
    (line,) = said(edited(*changes))
    assert line == (
        f"{name}: {name.replace('# ', '#')}: remove the #: {key} (line <{below}>) is below it, "
        f"and counts as part of {section}"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [("#[[radio]]", "[[radio]]")],
            "#type = rfm12pi: #type: remove the #: type is missing in [[radio]] (line <[[radio]]>)",
        ),
        (
            [("#[[names]]\n    #type", "[[names]]\n    type")],
            "#node = emontx: #node: remove the #: node is missing in [[names]] (line <[[names]]>)",
        ),
        (
            [("    apikey = ", "    #apikey = ")],
            (
                f"#apikey = {KEY}: #apikey: remove the #: apikey is missing in [[emoncms]] "
                "(line <[[emoncms]]>)"
            ),
        ),
    ],
)
def test_a_setting_that_is_needed_and_still_commented_out_is_named_by_its_line(said, changes, expected):
    assert said(edited(*changes)) == [expected]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            f"apikey = {KEY} #",
            "apikey = #",
            "a value expected, not nothing: it is the write key, on the page",
        ),
        (f"    apikey = {KEY} #", "", "apikey is missing: it is the write key, on the page My Account"),
        (f"apikey = {KEY}", f"apikey: {KEY}", "`key = value` or `[section]` expected, with = and not :"),
        (f"apikey = {KEY}", f"apikey {KEY}", "`key = value` or `[section]` expected"),
        ("url = https://emoncms.org", "url =", "not nothing: the address of Emoncms, such as http://"),
        ("node = 9 ", "node = ", "a value expected, not nothing: what Emoncms is to show as the node"),
        ("50000 #", "50000 flow #", "a comma expected before the label: 28.33F749050000, flow"),
        ("50000 #", "50000 flow pipe, x #", "a comma expected before the label: 28.33F749050000, flow pipe"),
        (
            "50000 #",
            "50000 28-00000549f733 #",
            "one id expected, not two: name 28-00000549f733 on a line of its own",
        ),
        ("50000 #", "50000; flow #", "a comma expected before the label: 28.33F749050000, flow"),
        ("28.33F749050000 #", "28-00000549f733 flow #", "the label: 28-00000549f733, flow"),
        ("28.33F749050000 #", "Dummy flow #", "a comma expected before the label: Dummy, flow"),
        ("28.33F749050000 #", "28.33F7490500 flow #", "28.33F7490500: 12 hex digits, or 14 with the CRC,"),
        (
            "28.33F749050000 #",
            "flow, 28.33F749050000 #",
            "the id stands before the label: 28.33F749050000, flow",
        ),
        (
            "28.33F749050000 #",
            "#",
            "an id or Dummy expected, not nothing (`oemgateway sensors` shows the ids)",
        ),
        ("28.33F749050000 #", ", flow #", "a value expected before the comma"),
        ("28.33F749050000 #", '28.33F749050000, "flow #', 'there is a " too many, or one is missing'),
        (
            "50000 #",
            "50000, 28.DB564A050000 #",
            "its label is an id: name 28.DB564A050000 on a line of its own",
        ),
        ("#sensor2 =", "Sensor2 =", "Sensor2: no such setting (did you mean sensor2?)"),
        ("#sensor2 =", "sensor 02 =", "sensor 02: no such setting (did you mean sensor2?)"),
        ("#sensor2 =", "sensr2 =", "sensr2: no such setting (did you mean sensor2?)"),
        ("#sensor2 =", "sensors_2 =", "sensors_2: no such setting (did you mean sensor2?)"),
        (
            "#interval = 10",
            "interval = 0,5",
            "a number with a point expected, not with a comma (did you mean 0.5?)",
        ),
        ("type = ds2482", "Type = ds2482", "Type: no such setting of [[bridge]] (did you mean type?)"),
        ("type = ds2482", "type ds2482", "`key = value` or `[section]` expected"),
        (
            "#bus = 1",
            "port = 1",
            "port: no such setting of [[bridge]]: it is one of a section with type = http,",
        ),
        (
            "#bus = 1",
            "apikey = 1",
            "apikey: no such setting of [[bridge]]: it is one of [[emoncms]] (line <[[em",
        ),
        (
            "#loglevel = INFO",
            "sensor3 = Dummy",
            "sensor3: no such setting of [gateway]: it is one of [[bridge]] ",
        ),
    ],
)
def test_one_mistake_is_one_fault_that_says_what_to_do(said, before, after, expected):
    [fault] = said(edited((before, after)))
    assert expected in fault


PREFIXED = {
    "a number": ("{n:3}  {line}", "{n}. {line}", "{n}\t{line}", "{n}|{line}", "{n}:{line}"),
    ">": ("> {line}", ">{line}", "  >> {line}".replace(">>", ">")),
    "+": ("+{line}",),
    "|": ("| {line}",),
    "-": ("- {line}",),
}


@pytest.mark.parametrize(
    ("prefix", "form"), [(prefix, form) for prefix, forms in PREFIXED.items() for form in forms]
)
@pytest.mark.parametrize("gaps", [False, True])
def test_what_a_page_puts_before_each_line_is_one_fault_for_the_file(written, prefix, form, gaps):
    # given the shipped file, or a section of it, as a page shows it, with numbers on empty lines or not
    def shown(text, first=1):
        lines = enumerate(text.splitlines(), first)
        return "".join(
            f"{line if gaps and not line.strip() else form.format(n=n, line=line)}\n" for n, line in lines
        )

    section = "\n[[web]]\ntype = http\nport = 50012\n\n"
    files = {
        shown(READY): 1,
        READY.replace("[dispatchers]", f"{shown(section)}[dispatchers]"): 0,
        READY.replace("[dispatchers]", f"{shown(section, 97)}[dispatchers]"): 0,
    }
    for text, line in files.items():
        # then the file is read as it was meant, but for that
        with pytest.raises(ConfigFaults) as caught:
            config.read(written(text))
        (fault,) = caught.value.faults
        assert fault.message == f"each line from here on begins with {prefix}: remove that"
        begin = next(n for n, each in enumerate(text.splitlines(), 1) if "[[web]]" in each or line == 1)
        assert fault.line in (begin, begin - 1)
        assert KEY not in str(fault)


@pytest.mark.parametrize(
    "text", ["3 type = tcp\n2 port = 1\n1 node = 5\n", "1 a\n2 b\nc = 3\n4 d\n", "> a\n| b\n"]
)
def test_a_few_lines_that_begin_oddly_are_lines_of_their_own(said, text):
    assert not any("each line" in one for one in said(text))


@pytest.mark.parametrize(
    "line", [f"apikey: {KEY}", f"apikey {KEY}", f"#apikey = {KEY}", f"apikey == {KEY},,", KEY]
)
def test_a_key_on_a_faulty_line_is_not_shown(written, line):
    with pytest.raises(ConfigFaults) as caught:
        config.read(written(edited((f"apikey = {KEY}", line))))
    assert KEY not in str(caught.value)


def test_a_section_that_is_off_may_stand_where_it_likes(said):
    text = edited(("# Every reading as", f"{LINES}    active = no\n# Every reading as"))
    assert said(text) == ["active = no: lines: neither run nor checked: active = no"]
