"""`oemgateway sensors`: what is on the 1-Wire buses, under which names, and which sensor is which."""

from __future__ import annotations

import json
import sys
from contextlib import closing, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.conf import config, document
from gateway.conf.config import ConfigFaults, Gateway
from gateway.conf.indices import Memory
from gateway.conf.section import plugins
from gateway.present.asking import RunningGateway
from gateway.text.plain import plain
from gateway.text.terminal import FAILED, OK, USAGE, say_aside
from gateway.text.words import failure
from listeners.onewire.bus import OneWire
from listeners.onewire.commands.identify import identify
from listeners.onewire.commands.listing import as_json, listing
from listeners.onewire.commands.relabel import relabel
from listeners.onewire.commands.roster import roster
from listeners.onewire.commands.survey import GatewaySensors, OwnListeners, usual_listeners

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.plugin import Plugin
    from listeners.onewire.commands.roster import Row
    from listeners.onewire.commands.survey import Source, Survey


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "sensors",
        help="list the 1-Wire sensors there are, or tell them apart",
        description="Lists every 1-Wire sensor that can be seen, and where the configuration names it. Where "
        "no bus answers, the exit status is 1.",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON, for a program")
    parser.add_argument(
        "--identify",
        action="store_true",
        help="name the one that is being warmed by hand, and write its label into the configuration",
    )
    parser.add_argument(
        "--label", metavar="TEXT", help="with --identify: the label to write (default: it is asked for)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; return 0, or 1 where no bus answers or a label cannot be written."""
    if options.label is not None and not options.identify:
        say_aside("--label needs --identify, which finds out whose label it is")
        return USAGE
    try:
        with closing(_source(options.config_file)) as source:
            return _show(source, options)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return OK


def _show(source: Source, options: argparse.Namespace) -> int:
    survey = source.look()
    with suppress(ConfigFaults):
        survey.consider(document.read(options.config_file))
    _recall(survey, options.config_file)
    is_reached = not survey.reports.keys() <= survey.troubles.keys()
    _complain_of(survey)
    if not is_reached:
        say_aside("no 1-Wire bus answers: `oemgateway doctor` says what to look at")
    rows = roster(survey)
    if options.identify:
        return _identify(source, rows, options) if is_reached else FAILED
    if options.json:
        sys.stdout.write(f"{as_json(survey, rows)}\n")
    elif survey.reports:
        sys.stdout.write(f"{listing(survey, rows, options.config_file)}\n")
    return OK if is_reached else FAILED


def _recall(survey: Survey, file: Path) -> None:
    """Note in a survey which indices ever had a sensor, or why that is not known."""
    try:
        gateway, _ = config.read_gateway(file)
    except ConfigFaults:
        gateway = config.defaults(file)
    try:
        places = Memory(gateway.find_state_dir()).read()
    except (OSError, ValueError) as error:
        survey.unremembered = failure(error) if isinstance(error, OSError) else "its file is damaged"
    else:
        survey.remembered = dict(sorted(places))


def _source(file: Path) -> Source:
    """Return the running gateway where there is one, and otherwise the buses as this process reads them."""
    gateway, listeners = _read(file)
    nodes: frozenset[str] = frozenset()
    try:
        running = GatewaySensors(RunningGateway(file, gateway.find_socket()), Clock())
        if running.has_sensors:
            return running
        nodes = running.look().nodes
    except ConnectionRefusedError:
        pass
    except PermissionError as error:
        say_aside(failure(error))
    onewire = {name: each for name, each in listeners.items() if isinstance(each, OneWire)}
    return OwnListeners(onewire, usual_listeners(), Clock(), nodes)


def _read(file: Path) -> tuple[Gateway, Mapping[str, Plugin]]:
    """Return the settings and listeners of a file; where it has faults those listeners that have none."""
    try:
        configuration = config.read(file)
    except ConfigFaults as failure:
        first, *more = failure.faults
        others = f" (and {len(more)} more: `oemgateway check` shows all)" if more else ""
        say_aside(f"{first}{others}; going on with what can be read")
    else:
        return configuration.gateway, configuration.listeners
    try:
        gateway, _ = config.read_gateway(file)
        return gateway, plugins(document.read(file), "listeners")
    except ConfigFaults:
        return config.defaults(file), {}


def _complain_of(survey: Survey) -> None:
    """Report the troubles of the configured listeners, and of others where no sensor is found."""
    found = any(report.sensors for report in survey.reports.values())
    for name, trouble in survey.troubles.items():
        if name not in survey.types or not found:
            say_aside(f"{name}: {trouble}")


def _identify(source: Source, rows: Sequence[Row], options: argparse.Namespace) -> int:
    watched = [row for row in rows if row.places or source.samples_new]
    if all(row.known.temperature is None for row in watched):
        say_aside("no sensor that could be watched has a temperature: `oemgateway sensors` shows them all")
        return FAILED
    if len(watched) < len(rows):
        say_aside(f"{len(rows) - len(watched)} new are not watched: name them in the configuration first")
    labels = {str(row.rom): "; ".join(map(str, row.places)) for row in watched}
    warmed = identify(source, labels, sys.stderr if options.json else sys.stdout)
    row = next(row for row in watched if str(row.rom) == warmed.sensor)
    if options.json:
        found = {"id": warmed.sensor, "kelvin": round(warmed.kelvin, 4), "others": round(warmed.others, 4)}
        sys.stdout.write(json.dumps({**found, "places": [asdict(place) for place in row.places]}) + "\n")
    elif not row.places:
        sys.stdout.write("It is new: `oemgateway sensors` shows the line to name it by.\n")
    label = options.label
    if label is None and row.places and not options.json and sys.stdin.isatty():
        label = input("Its label (Enter leaves it as it is): ") or None
    return OK if label is None else _label(row, label, options.config_file)


def _label(row: Row, label: str, file: Path) -> int:
    if not row.places:
        say_aside(f"{row.rom} is not in the configuration yet: sensorN = {row.rom}, {label}")
        return FAILED
    try:
        for place in row.places:
            sys.stderr.write(f"{plain(relabel(file, place.section, place.index, row.rom, label))}\n")
    except (OSError, ValueError, ConfigFaults) as error:
        say_aside(f"the label is not written: {failure(error)}")
        return FAILED
    return OK
