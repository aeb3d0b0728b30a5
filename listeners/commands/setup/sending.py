"""The second step: where the readings go. Each answer is tried at once."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf.edit import Draft
from gateway.diagnosis.finding import show
from gateway.diagnosis.machine import Machine
from gateway.process.port import is_loopback, joined
from gateway.registry import UnknownType, find
from gateway.settings import SettingsFault, build, quoted
from gateway.text.terminal import say
from listeners.commands.setup.questions import Questions, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.registry import Kind

EMONCMS, MQTT, PAGE, NETWORK = WAYS = ("emoncms", "mqtt", "page", "network")
_MENU = (
    "Where do the readings go? Numbers, with commas between:",
    "  1  an account on an Emoncms server",
    "  2  an MQTT broker; Home Assistant finds the sensors there",
    "  3  a page in the browser of this machine only",
    "  4  the same page for other machines too, with a password",
)
_KIND: Kind = "dispatchers"
_OF_2013 = "OemGatewayEmoncmsBuffer"
"""Emoncms with the settings of oem_gateway, to which the questions do not lead."""
NO_KEY = "0" * 32
_MODULES = Path(__file__).parents[3]
_HERE, _EVERYWHERE = "127.0.0.1", "0.0.0.0"
_ALONE = "[listeners]\n[[nothing]]\ntype = tcp\nactive = no\n[dispatchers]\n"
"""What a file has besides a section that is tried alone."""


def read_ways(text: str) -> frozenset[str]:
    """Return the ways that are named by number or word, with commas between; ValueError if one is wrong."""
    words = [word for word in re.split(r"[\s,;]+", text.lower()) if word and word != "none"]
    numbered = dict(zip("1234", WAYS, strict=True))
    ways = frozenset(numbered.get(word, word) for word in words)
    if wrong := ways - set(WAYS):
        known = ", ".join(f"{number} ({word})" for number, word in numbered.items())
        raise ValueError(f"{known} or several with commas between expected, or none, not {min(wrong)}")
    if {PAGE, NETWORK} <= ways:
        raise ValueError("3 or 4 expected, not both: it is the same page")
    if MQTT in ways:
        try:
            find(_KIND, MQTT)
        except UnknownType as error:
            raise ValueError(f"{error}, and answer again") from None
    return ways


def read_broker(text: str) -> dict[str, str]:
    """Return the settings `host` and `port` ("": the usual one) of HOST or HOST:PORT; ValueError if wrong."""
    found = re.fullmatch(r"(?:\[(?P<six>[^]]+)\]|(?P<host>[^:]*))(?::(?P<port>.*))?", text)
    if not found:
        raise ValueError(f"HOST or HOST:PORT expected, not {text}")
    settings = {"host": found["six"] or found["host"], "port": found["port"] or ""}
    checked(MQTT, settings)
    return settings


def ways_of(draft: Draft) -> frozenset[str]:
    """Return the ways that are on in the file; in one without a key yet, what most people want."""
    pages = {_is_open(draft, name) for name in draft.on(_KIND, PAGE)}
    ways = {NETWORK if True in pages else PAGE} if pages else set()
    emoncms = [*draft.on(_KIND, EMONCMS), *draft.on(_KIND, _OF_2013)]
    ways |= {way for way, names in ((EMONCMS, emoncms), (MQTT, draft.on(_KIND, MQTT))) if names}
    has_key = any(draft.value(_KIND, name, "apikey") for name in emoncms)
    return frozenset({EMONCMS, PAGE} if ways == {EMONCMS} and not has_key else ways)


def _is_open(draft: Draft, page: str) -> bool:
    """Tell whether other machines can see a page."""
    return not is_loopback(draft.value(_KIND, page, "host") or _HERE)


def checked(type_: str, settings: Mapping[str, str]) -> None:
    """Raise ValueError with what is wrong with settings of a destination."""
    try:
        build(find(_KIND, type_), settings)
    except SettingsFault as fault:
        raise ValueError(next((message for _, message in fault.faults), str(fault))) from None


@dataclass
class Sending:
    """The step, on a draft of the file."""

    questions: Questions
    draft: Draft
    machine: Machine

    def take(self, *, trial: bool) -> None:
        """Ask where the readings go, and change the draft; simulated ones go to the page of this machine."""
        before = ways_of(self.draft)
        if trial:
            say(["Simulated readings go to the page of this machine only."])
            ways = frozenset({PAGE})
        else:
            say(_MENU)
            default = ", ".join(str(1 + WAYS.index(way)) for way in WAYS if way in before)
            ways = self.questions.ask("to", "Which", default or "none", read_ways)
        if EMONCMS in ways:
            self._emoncms()
        if MQTT in ways:
            self._mqtt()
        if ways & {PAGE, NETWORK}:
            self._page(is_open=NETWORK in ways)
        for way in sorted({EMONCMS, MQTT, PAGE} - ways - {PAGE if NETWORK in ways else ""}):
            self._switch_off(way)
            if way == EMONCMS:
                self._switch_off(_OF_2013)

    def _switch_off(self, type_: str) -> None:
        for name in self.draft.on(_KIND, type_):
            self.draft.switch(_KIND, name, on=False)

    def _section(self, type_: str, preferred: Iterable[str] = ()) -> str:
        """Return the name of a section of a type that is on, if need be a new one."""
        draft = self.draft
        names = [
            *preferred,
            *draft.on(_KIND, type_),
            *(n for n in draft.sections(_KIND) if draft.value(_KIND, n, "type") == type_),
        ]
        name = names[0] if names else draft.begin(_KIND, type_)
        draft.switch(_KIND, name, on=True)
        return name

    def _emoncms(self) -> None:
        if (old := self.draft.on(_KIND, _OF_2013)) and not self.draft.on(_KIND, EMONCMS):
            self._keep(old[0])
            return
        name = self._section(EMONCMS)
        while True:
            usual = "https://emoncms.org"
            url = self._setting("url", "Address of Emoncms", name, "url", usual=usual, apikey=NO_KEY)
            words = "Its write key, from the page My Account; it is not shown"
            if not self._setting("apikey", words, name, "apikey", enter="none yet", secret=True, url=url):
                say([f"Without a key nothing goes there: [[{name}]] is off until you run setup again."])
                self._switch_off(EMONCMS)
                return
            if self._proves(name) or self._goes_on():
                return

    def _keep(self, name: str) -> None:
        """Try a section of oem_gateway. A second one beside it would send everything twice."""
        where = f"its domain, path and apikey are edited in {self.draft.path}"
        for answer, option in (("url", "--url"), ("apikey", "--apikey-file")):
            if self.questions.has(answer):
                raise Refused(f"{option}: [[{name}]] has the settings of oem_gateway: {where}")
        say([f"[[{name}]] stays as it is, with the settings of oem_gateway: {where}"])
        if not self._proves(name) and not self._goes_on():
            self._switch_off(_OF_2013)

    def _mqtt(self) -> None:
        name = self._section(MQTT)

        def read(text: str) -> None:
            for key, value in read_broker(text).items():
                self._put(name, key, value, "localhost" if key == "host" else "")

        while True:
            host = self.draft.value(_KIND, name, "host") or "localhost"
            place = joined(host, self.draft.value(_KIND, name, "port")).removesuffix(":")
            self.questions.ask("broker", "Host of the broker", place, read)
            user = self._setting("user", "User there", name, "user", enter="none")
            if user:
                words = "Password of that user; it is not shown"
                self._setting(
                    "broker-password", words, name, "password", enter="none", secret=True, user=user
                )
            else:
                self._put(name, "password", "")
            if self._answers(name) or self._goes_on():
                return

    def _page(self, *, is_open: bool) -> None:
        """Have a page that is open or not; one that is so already, where there are several."""
        draft = self.draft
        name = self._section(PAGE, [n for n in draft.on(_KIND, PAGE) if _is_open(draft, n) == is_open])
        if is_open:
            words = "Password for the page; it is not shown"
            enter = "one is made up"
            if not self._setting("page-password", words, name, "password", enter=enter, secret=True):
                password = secrets.token_hex(6)
                say([f"The password of the page is {password}"])
                self._put(name, "password", password)
        if is_open != _is_open(draft, name):
            self._put(name, "host", _EVERYWHERE if is_open else _HERE)
        for other in draft.on(_KIND, PAGE):
            if not is_open and _is_open(draft, other):
                draft.switch(_KIND, other, on=False)

    def _setting(  # noqa: PLR0913  (a setting, and what is special about it)
        self,
        answer: str,
        question: str,
        name: str,
        key: str,
        *,
        usual: str = "",
        enter: str = "",
        secret: bool = False,
        **others: str,
    ) -> str:
        """Ask for a setting of a section and put it there; what is there is the default.

        `others` are settings that it is checked with.
        """
        old = self.draft.value(_KIND, name, key)

        def read(text: str) -> str:
            value = "" if text.lower() == enter and not secret else text  # none, where that is an answer
            if value:
                checked(self.draft.value(_KIND, name, "type"), {**others, key: value})
            self._put(name, key, value, usual)
            return value

        shown = "as it is" if old and secret else "" if old else enter
        return self.questions.ask(answer, question, old or usual, read, enter=shown, secret=secret)

    def _put(self, name: str, key: str, text: str, usual: str = "") -> None:
        """Set an entry, unless it is not there and has its usual value anyway."""
        if text != (self.draft.value(_KIND, name, key) or usual):
            self.draft.set(_KIND, name, key, text)

    def _goes_on(self) -> bool:
        if self.questions.quiet:
            say(["It is kept all the same, as --yes says: what is read waits on the disk until it is taken."])
        words = "Use it all the same? What is read waits on the disk until it can go there"
        return self.questions.agrees("", words, default=self.questions.quiet)

    def _proves(self, name: str) -> bool:
        """Tell whether `oemgateway emoncms` accepts a section, which it tries alone."""
        values = self.draft.values(_KIND, name).items()
        lines = [f"{key} = {quoted(value)}\n" for key, value in values if isinstance(value, str)]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "oemgateway.conf"
            file.touch(0o600)
            file.write_text("".join([*_ALONE, f"[[{name}]]\n", *lines]), encoding="utf-8")
            return run_command(file, "emoncms") == 0

    def _answers(self, name: str) -> bool:
        """Tell whether a broker answers, and takes what is published."""
        values = self.draft.values(_KIND, name)
        values.pop("type")
        broker = build(find(_KIND, MQTT), values)
        return not show(replace(finding, subject=name) for finding in broker.examine(self.machine))


def run_command(file: Path, *command: str) -> int:
    """Run a command of the gateway with a file, and return its exit status."""
    sys.stdout.flush()
    # Debian's package has its modules beside its command, where Python does not look by itself.
    path = os.pathsep.join([str(_MODULES), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [sys.executable, "-P", "-m", "gateway", "--config-file", str(file), *command]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(arguments, check=False, env=environment).returncode  # noqa: S603  (this program)
