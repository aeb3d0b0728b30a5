"""One run of the emulated machine, from power-on to power-off."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.machine.image import Image

T = TypeVar("T")

HOST = "10.0.2.2"
"""The host's loopback, as the guest sees it."""

MACHINES = {
    "amd64": ["qemu-system-x86_64", "-machine", "pc", "-cpu", "Nehalem"],
    "arm64": ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a53"],
}
CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}

UP_WITHIN_S = 400
"""A quiet host needs some 15 seconds to the agent; this one may be busy."""

PATIENCE = {"amd64": 1, "arm64": 5}
"""What every deadline is multiplied by: how much slower this architecture is emulated."""


class GuestError(Exception):
    """The guest did not do what it was asked; the text has the end of its console where it did not answer."""


def overlay(disk: Path, base: Path) -> Path:
    """Make a disk that is `base` until it is written to."""
    kind = "qcow2" if base.suffix == ".qcow2" else "raw"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(base.resolve()), str(disk)]
    subprocess.run(command, check=True)
    return disk


class Guest:
    """The machine, switched on; leaving it is a power cut.

    `rtc` is QEMU's option, `extra` more of them, and `sockets` gives those the far ends that they name as
    `chardev=NAME`: a connected socket each.
    """

    def __init__(
        self,
        image: Image,
        disk: Path,
        *,
        arch: str = "amd64",
        rtc: str = "base=utc",
        cmdline: str = "",
        extra: Sequence[str] = (),
        sockets: dict[str, socket.socket] | None = None,
    ) -> None:
        self.boot = ""
        self._patience = PATIENCE[arch]
        self._ids = itertools.count(1)
        self._heard = b""
        self._console = disk.with_suffix(".console")
        self._agent, agent = socket.socketpair()
        self._qmp, qmp = socket.socketpair()
        far = {"agent": agent, "qmp": qmp, **(sockets or {})}
        # On a busy host TCG now and then runs code that the kernel is just patching on another processor,
        # which is a panic (int3) at boot: with panic=-1 it boots once more.
        command = [*MACHINES[arch], "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512", "-nodefaults"]
        command += ["-display", "none", "-kernel", str(image.kernel), "-initrd", str(image.initrd)]
        command += [
            "-append",
            f"root=LABEL=machine rw console={CONSOLES[arch]} mitigations=off panic=-1 quiet {cmdline}",
        ]
        # The host's page cache would outlive the power cut; without it a flush of the guest is one.
        command += ["-drive", f"file={disk},format=qcow2,if=none,id=disk,cache=none"]
        command += ["-device", "virtio-blk-pci,drive=disk", "-rtc", f"{rtc},clock=host"]
        command += ["-serial", f"file:{self._console}"]
        command += ["-netdev", "user,id=lan", "-device", "virtio-net-pci,netdev=lan,romfile="]
        command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"]
        command += ["-mon", "chardev=qmp,mode=control", *extra]
        for name, end in far.items():
            command += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        self.on_since = time.monotonic()
        # setpriv: should this program be killed, the guest is, too.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "5", *command],
            pass_fds=[end.fileno() for end in far.values()],
            stdin=subprocess.DEVNULL,
            stdout=self._console.with_suffix(".qemu").open("wb"),
            stderr=subprocess.STDOUT,
        )
        for end in far.values():
            end.close()

    def __enter__(self) -> Self:
        try:
            self.wait_up()
        except BaseException:
            self.cut()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    # Power.

    def wait_up(self) -> None:
        """Wait until the agent of a boot that has not been heard yet answers."""
        deadline = time.monotonic() + UP_WITHIN_S * self._patience
        while True:
            said = self._hear(deadline, "the guest does not come up")
            if said["id"] == 0 and said["boot"] != self.boot:
                self.boot = said["boot"]
                return

    def cut(self) -> None:
        """Take its power away; may be done twice."""
        self._process.kill()
        self._process.wait()
        self._agent.close()
        self._qmp.close()

    def reboot(self) -> float:
        """Let it go down in order and come up again; return the monotonic time at which it was down."""
        seen = self._said("reboot: Restarting system")
        self._ask("systemctl reboot")
        deadline = time.monotonic() + UP_WITHIN_S * self._patience
        while self._said("reboot: Restarting system") == seen:
            if time.monotonic() > deadline:
                raise GuestError(f"the guest does not go down\n{self.console()}")
            time.sleep(0.05)
        down = time.monotonic()
        self.wait_up()
        return down

    def power_off(self) -> None:
        """Let it go down in order."""
        self._ask("systemctl poweroff")
        try:
            self._process.wait(UP_WITHIN_S * self._patience)
        except subprocess.TimeoutExpired:
            raise GuestError(f"the guest does not go down\n{self.console()}") from None
        self.cut()

    # What is done in it.

    def run(self, command: str, *, seconds: float = 120, stdin: bytes = b"", check: bool = True) -> str:
        """Run a shell command and return what it printed; GuestError where it fails, if `check`ed."""
        deadline = time.monotonic() + (seconds + 60) * self._patience
        number = self._ask(command, seconds, stdin)
        while (said := self._hear(deadline, f"no answer to: {command}"))["id"] != number:
            pass
        if check and said["status"]:
            raise GuestError(f"{command}: status {said['status']}\n{said['output']}")
        return str(said["output"])

    def _ask(self, command: str, seconds: float = 60, stdin: bytes = b"") -> int:
        """Have the agent run a command; return the number of its answer, which may never come."""
        number = next(self._ids)
        seconds *= self._patience
        ask = {"id": number, "run": command, "seconds": seconds, "stdin": base64.b64encode(stdin).decode()}
        try:
            self._agent.settimeout(seconds + 60)
            self._agent.sendall(json.dumps(ask).encode() + b"\n")
        except OSError as error:
            raise GuestError(f"no agent for: {command} ({error})\n{self.console()}") from None
        return number

    def succeeds(self, command: str) -> bool:
        """Tell whether a command ends with status 0."""
        return self.run(f"({command}) >/dev/null 2>&1; echo $?", check=False).strip() == "0"

    def write(self, path: str, content: str | bytes, mode: str = "0644") -> None:
        """Put a file there."""
        data = content.encode() if isinstance(content, str) else content
        where = shlex.quote(path)
        self.run(f"cat >{where}.new && chmod {mode} {where}.new && mv {where}.new {where}", stdin=data)

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 180) -> T:
        """Return the condition's first true value; GuestError with the end of the log if it stays false."""
        deadline = time.monotonic() + seconds * self._patience
        while not (result := condition()):
            if time.monotonic() > deadline:
                log = self.run(
                    "journalctl -b --no-pager -n 15 -u oemgateway; journalctl -b -k --no-pager -n 8",
                    check=False,
                )
                raise GuestError(f"not within {seconds:g} s: {what}\n{log}")
            time.sleep(0.1)
        return result

    def qmp(self, execute: str, **arguments: object) -> None:
        """Have QEMU do something to the machine, by its own protocol."""
        self._qmp.settimeout(60)
        with self._qmp.makefile("rwb") as monitor:
            for ask in ({"execute": "qmp_capabilities"}, {"execute": execute, "arguments": arguments}):
                monitor.write(json.dumps(ask).encode() + b"\n")
                monitor.flush()
                while not {"return", "error"} & (said := json.loads(monitor.readline())).keys():
                    pass
        # That it negotiates once only is no error here.
        if "error" in said:
            raise GuestError(f"{execute}: {said['error']['desc']}")

    def console(self) -> str:
        """Return the end of its console, and of what QEMU itself said."""
        text = ""
        for file in (self._console, self._console.with_suffix(".qemu")):
            with contextlib.suppress(OSError):
                text += file.read_text(errors="replace")[-3000:]
        return "\n".join(text.splitlines()[-30:])

    def _said(self, text: str) -> int:
        return self._console.read_text(errors="replace").count(text)

    def _hear(self, deadline: float, trouble: str) -> dict[str, Any]:
        """Return the agent's next line."""
        while b"\n" not in self._heard:
            try:
                self._agent.settimeout(1)
                piece = self._agent.recv(1 << 16)
            except TimeoutError:
                piece = None
            except OSError:
                piece = b""
            if piece == b"" or time.monotonic() > deadline:
                raise GuestError(f"{trouble}; the end of its console:\n{self.console()}")
            self._heard += piece or b""
        line, self._heard = self._heard.split(b"\n", 1)
        return dict(json.loads(line))
