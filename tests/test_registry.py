"""Which class a `type =` names, and what is said where it names none."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gateway import registry
from gateway.dispatchers.log import Log
from gateway.registry import BUILT_IN, UnknownType, find, known


@pytest.fixture
def install(monkeypatch):
    """Give the names of entry points and what they point to; return nothing."""
    registry._read.cache_clear()

    def install(**points):
        monkeypatch.setattr(
            registry,
            "entry_points",
            lambda group: [
                EntryPoint(n, v, group) for n, v in points.items() if group.endswith("dispatchers")
            ],
        )

    yield install
    registry._read.cache_clear()


def refusal(kind, name):
    with pytest.raises(UnknownType) as caught:
        find(kind, name)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in BUILT_IN for name in BUILT_IN[kind]])
def test_every_built_in_type_can_be_loaded(kind, name):
    assert find(kind, name).__module__ == BUILT_IN[kind][name].partition(":")[0]


def test_another_package_may_bring_a_type(install):
    install(paper="gateway.dispatchers.log:Log")
    assert find("dispatchers", "paper") is Log
    assert known("dispatchers") == ["emoncms", "influxdb", "log", "mqtt", "page", "table", "paper"]


def test_the_names_of_2013_are_understood_but_not_advertised():
    assert "OemGatewayEmoncmsBuffer" in BUILT_IN["dispatchers"]
    assert "OemGatewayEmoncmsBuffer" not in known("dispatchers")


def test_a_name_taken_twice_is_refused_with_its_owners(install):
    install(log="others.log:Log")
    assert (
        refusal("dispatchers", "log")
        == "log is claimed by others.log:Log and oemgateway itself: uninstall one of them"
    )


def test_a_wrong_name_is_refused_with_the_nearest_right_one():
    assert refusal("dispatchers", "emoncsm") == "emoncsm is not a type of dispatcher (did you mean emoncms?)"
    assert refusal("dispatchers", "OemGatewayEmonCMSbuffer").endswith(
        "(did you mean OemGatewayEmoncmsBuffer?)"
    )


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("listeners", "DS18B20", "ds2482, owfs, owserver or w1"),
        ("listeners", "1-Wire", "ds2482, owfs, owserver or w1"),
        ("listeners", "rfm69pi", "rfm12pi"),
        ("listeners", "emonTx", "rfm12pi, keyvalue or serial"),
        ("listeners", "socket", "tcp"),
        ("dispatchers", "emoncms.org", "emoncms"),
        ("dispatchers", "Home Assistant", "mqtt"),
    ],
)
def test_what_people_call_it_is_understood_where_it_is_no_type(kind, name, meant):
    assert refusal(kind, name) == f"{name} is not a type of {kind[:-1]} (did you mean {meant}?)"


def test_a_name_near_none_is_refused_with_all_there_are():
    assert (
        refusal("dispatchers", "x")
        == "x is not a type of dispatcher: emoncms, influxdb, log, mqtt, page or table expected"
    )


def test_a_type_of_the_other_section_is_sent_there(install):
    install(paper="gateway.dispatchers.log:Log")
    assert refusal("listeners", "emoncms") == "emoncms belongs in [dispatchers]"
    assert refusal("listeners", "paper") == "paper belongs in [dispatchers]"
    assert refusal("dispatchers", "OemGatewayOWFSListener") == "OemGatewayOWFSListener belongs in [listeners]"


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    for module in ("listeners.radio.rfm12pi", "listeners.ports.serial_port"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "serial", None)
    said = refusal("listeners", "rfm12pi")
    sudo = "" if Path(sys.prefix).stat().st_uid else "sudo "
    pip = f"{sudo}{sys.executable} -m pip"
    assert said == f"rfm12pi: the Python module serial is not installed: {pip} install pyserial"


def test_a_module_of_python_itself_is_not_to_be_installed_by_pip(monkeypatch):
    # given a gateway that runs on, though an upgrade of the system has removed its version of Python
    monkeypatch.delitem(sys.modules, "listeners.counter", raising=False)
    monkeypatch.setitem(sys.modules, "math", None)
    # when a type is loaded for the first time
    said = refusal("listeners", "counter")
    # then the cure is no package of that name in the index, which is somebody else's
    assert said == (
        "counter: Python's own module math is not there: after an upgrade of Python restart the gateway"
    )


def test_a_module_that_is_not_there_is_no_missing_library(install):
    install(paper="gateway.nowhere:Paper")
    assert refusal("dispatchers", "paper").startswith(
        "paper: gateway.nowhere:Paper cannot be loaded: ModuleNot"
    )


def test_a_class_that_is_not_there_is_a_refusal_too(install):
    install(paper="gateway.dispatchers.log:Paper")
    assert refusal("dispatchers", "paper").startswith(
        "paper: gateway.dispatchers.log:Paper cannot be loaded: Attr"
    )


@pytest.mark.parametrize("value", ["listeners.textlines.tcp:Tcp", "gateway.dispatchers.log:line"])
def test_what_is_no_dispatcher_is_refused_as_one(install, value):
    install(paper=value)
    assert refusal("dispatchers", "paper") == f"paper: {value} is not a Dispatcher"
