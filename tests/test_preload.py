"""The simulated bridge as i2c-tools and owserver see it; test_four_ways has what is read of its sensors."""

from __future__ import annotations

import pytest
from pyownet import protocol

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.gateway_process import run
from tests.peers import need
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owserver

TEMPERATURES = {
    "28.33F749050000": 21.0625,
    "28.DB564A050000": -10.125,
    "28.AB1663050000": 0.0,
    "28.4C92D4060000": -0.5,
    "28.E01A77070000": 124.5,
}


@pytest.mark.parametrize("address", [0x18, 0x1B])
def test_i2cdetect_shows_the_bridge_where_it_is(address):
    program = need("i2cdetect", "i2c-tools")
    with i2c_server(Ds2482(Clock(), address=address)) as environment:
        shown = run(program, "-y", "99", **environment)
    digits = [cell for line in shown.stdout.splitlines()[1:] for cell in line.split()[1:] if cell != "--"]
    assert digits == [f"{address:x}"]


def test_owserver_reads_all_channels_of_a_ds2482_800(tmp_path):
    bridge = Ds2482(Clock(), channels=8)
    for channel, (rom_id, temperature) in enumerate(TEMPERATURES.items()):
        bridge.channels[channel + 3].append(Ds18b20(rom_id, temperature))
    with owserver(bridge, tmp_path) as port:
        bus = protocol.proxy(port=port)
        assert bus.read("/bus.0/interface/settings/name").startswith(b"DS2482-800")
        assert sorted(path.strip("/") for path in bus.dir("/")) == sorted(TEMPERATURES)
        assert float(bus.read("/uncached/28.DB564A050000/temperature9")) == -10.5
