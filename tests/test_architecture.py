"""Which part may import which. LAYERS is the architecture of the daemon, from the bottom to the top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    # values, text and the operating system: nothing of ours below
    {"text", "frame", "flag", "paths", "settings", "version"},
    # time; the log, the supervisor, the socket that commands ask, who has a port
    {"clock", "process"},
    # what the doctor can look at; what the numbers of a node mean; the file of the queue; when a reading was
    # taken, if the clock is wrong
    {"diagnosis", "nodes", "store", "times"},
    # the contract of listeners; the queue on disk
    {"listener", "spool"},
    # the base of what is read at fixed times; brokers, and what is said there
    {"sampler", "mqtt"},
    # the contract of listeners and dispatchers, in one module
    {"plugin"},
    # which class a `type =` names
    {"registry"},
    # the configuration file as plugin objects, or as faults with their lines
    {"conf"},
    # what was heard last, the status, and how a command asks for it
    {"present"},
    # a thread for each plugin; the destinations
    {"workers", "dispatchers"},
    # start, reload, stop
    {"daemon"},
    # the `oemgateway` command
    {"commands"},
    {"__main__"},
)
"""A module may import from lower layers and from its own folder. Imports for type checking do not count."""

CONTRACT = set().union(*LAYERS[:6])
"""What a listener may import of `gateway`; the commands of a listener may import what is below `workers`."""


def modules(package: str) -> dict[str, Path]:
    paths = (ROOT / package).rglob("*.py")
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


MODULES = {**modules("gateway"), **modules("listeners")}


class Runtime(ast.NodeVisitor):
    """Collects what a module imports of ours when it runs, wherever in it that stands."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            name = f"{module}.{alias.name}"
            self.found.add(name if name in MODULES else module)


@cache
def imports(module: str) -> list[str]:
    visitor = Runtime()
    visitor.visit(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    return sorted(name for name in visitor.found if name.split(".")[0] in ("gateway", "listeners"))


def part(module: str) -> str:
    """Return the folder or file directly in gateway/ that a module is in, or is."""
    return module.split(".")[1]


def level(name: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert found, f"gateway/{name} has no place in LAYERS"
    return found[0]


def of(package: str) -> Iterator[tuple[str, str]]:
    """Yield each import of a package: who, and what."""
    for module in MODULES:
        if module.startswith(f"{package}."):
            yield from ((module, name) for name in imports(module))


def test_the_gateway_never_imports_a_listener():
    assert [who for who, what in of("gateway") if what.startswith("listeners")] == []


def test_only_two_tables_name_listeners():
    naming = {
        module
        for module, path in MODULES.items()
        if module.startswith("gateway")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith("listeners.")
    }
    assert naming == {"gateway.registry", "gateway.commands.main"}


def test_the_gateway_imports_downwards_only():
    upwards = [
        f"{who} imports {what}"
        for who, what in of("gateway")
        if part(who) != part(what) and level(part(what)) >= level(part(who))
    ]
    assert upwards == []


def test_a_listener_imports_the_contract_and_what_is_below_it():
    beyond = [
        f"{who} imports {what}"
        for who, what in of("listeners")
        if what.startswith("gateway.") and ".commands." not in who and part(what) not in CONTRACT
    ]
    assert beyond == []


def test_the_commands_of_a_listener_know_neither_workers_nor_dispatchers():
    beyond = [
        f"{who} imports {what}"
        for who, what in of("listeners")
        if what.startswith("gateway.") and level(part(what)) >= level("workers")
    ]
    assert beyond == []


@pytest.mark.parametrize("package", ["gateway", "listeners"])
def test_no_module_imports_itself_by_way_of_others(package):
    graph = {module: imports(module) for module in MODULES if module.startswith(f"{package}.")}
    TopologicalSorter(graph).prepare()  # CycleError names the circle
