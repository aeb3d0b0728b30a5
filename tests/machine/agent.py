"""Runs in the guest: takes commands from the host, one a line, and answers with what they printed.

A line in: {"id": 7, "run": "a shell command", "stdin": "base64", "seconds": 60}
A line out: {"id": 7, "status": 0, "output": "..."}; at the start {"id": 0, "boot": "..."}.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

PORT = "/dev/virtio-ports/agent"


def answer(ask: dict[str, Any]) -> dict[str, Any]:
    """Run a command to its end; timeout(1) ends it and its children, with status 124."""
    try:
        done = subprocess.run(
            ["timeout", "-k", "5", str(ask["seconds"]), "sh", "-c", ask["run"]],
            input=base64.b64decode(ask.get("stdin", "")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        status, output = done.returncode, done.stdout
    except OSError as error:
        status, output = 126, str(error).encode()
    return {"id": ask["id"], "status": status, "output": output.decode(errors="replace")}


def main() -> None:
    """Answer for ever."""
    while not Path(PORT).exists():
        time.sleep(0.1)
    port = os.open(PORT, os.O_RDWR)  # it can be opened once only
    with os.fdopen(port, "rb", buffering=0) as asked, os.fdopen(os.dup(port), "wb") as answers:
        said: dict[str, Any] = {"id": 0, "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
        line = b""
        while True:
            answers.write(json.dumps(said).encode() + b"\n")
            answers.flush()
            while b"\n" not in line:
                piece = asked.read(65536)
                line += piece
                if not piece:  # the host is not there
                    time.sleep(0.2)
            one, line = line.split(b"\n", 1)
            said = answer(json.loads(one))


if __name__ == "__main__":
    main()
