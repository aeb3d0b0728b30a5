"""The main job with nothing attached: the real daemon on simulated hardware, with a table to look at."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.conf.config import Configuration

CONFIGURATION = """\
[gateway]
loglevel = INFO
simulate = yes
state_dir = {directory}
socket = {directory}/control

[listeners]

[[bridge]]
type = ds2482
bus = simulated
node = 9
interval = 2
sensor1 = 28.33F749050000, cellar
sensor2 = 28.DB564A050000, flow
sensor3 = 28.AB1663050000, return
sensor4 = Dummy
sensor5 = 28.4C92D4060000, outside
sensor6 = 28.E01A77070000, tank

[[radio]]
type = rfm12pi
port = simulated

[dispatchers]

[[screen]]
type = table
title = "Simulated: five DS18B20s (node 9, index 4 is a Dummy) and a radio. Ctrl-C ends."
"""

EMONCMS = """
[[emoncms]]
type = emoncms
url = {url}
apikey = {key}
interval = 0
"""


@contextmanager
def configured(url: str = "", key: str = "") -> Iterator[Configuration]:
    """Give the demo's configuration, in a directory of its own that is gone afterwards.

    `url` and `key` are those of an Emoncms that gets the same frames, if any.
    """
    with tempfile.TemporaryDirectory(prefix="oemgateway-demo-") as directory:
        file = Path(directory) / "oemgateway.conf"
        file.touch(mode=0o600)
        text = CONFIGURATION.format(directory=directory)
        file.write_text(text + (EMONCMS.format(url=url, key=key) if url else ""), encoding="utf-8")
        yield config.read(file)
