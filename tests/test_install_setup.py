"""From `make install` to values on the page by `oemgateway setup`, on a machine with simulated sensors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.installed import CONFIG, FromSources
from tests.peers import need
from tests.simulators.i2c_server import i2c_server
from tests.typist import Typist

SWITCH_LO_ON = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"  # SIOCSIFFLAGS: up, running
)
FETCH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8088/').read().decode())"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def sensors(machine):
    """Two sensors behind a DS2482, for the service and for who has this environment."""
    chip = Ds2482(Clock(), [Ds18b20("28.33F749050000", 18.5), Ds18b20("28.DB564A050000", 40.0)])
    with i2c_server(chip) as environment:
        library, server = Path(environment["LD_PRELOAD"]), Path(environment["I2CSIM"])
        machine.copy(library, "/usr/local/lib/i2c.so")
        server.parent.chmod(0o755)
        server.chmod(0o777)
        yield {"LD_PRELOAD": "/usr/local/lib/i2c.so", "I2CSIM": str(server)}


@pytest.mark.needs_root
def test_from_make_install_to_values_on_the_page(machine, program, sensors):
    # given a Debian on which it has just been installed, as README says
    gateway = FromSources(machine, program)
    assert "next: sudo oemgateway setup\n" in gateway.make("install")
    with machine.path("/etc/default/oemgateway").open("a") as default:
        default.writelines(f"export {name}={value}\n" for name, value in sensors.items())
    # when setup is run and answered, in a network of its own, as its page has the usual port
    alone = [need("unshare", "util-linux"), "--net", "sh", "-c"]
    script = f'/usr/bin/python3 -c "{SWITCH_LO_ON}" && exec oemgateway setup'
    with Typist(*machine.entering(*alone, script), **sensors) as person:
        status = person.answers_all(
            {
                "Their names": "cellar, flow",
                "Serial port": "",
                "Write them?": "",
                "Which": "3",
                "Start the gateway now?": "",
            }
        )
    # then it runs, and its values are shown, in the terminal and on the page
    assert status == 0, person.seen
    assert re.search(r"9 +1 +cellar +18.5 °C", person.seen)
    assert person.answers <= 12
    assert gateway.service("status")[0] == 0
    about = machine.path(CONFIG).stat()
    assert (about.st_mode & 0o777, about.st_uid) == (0o640, 0)
    there = f"--net=/proc/{gateway.pid()}/ns/net"
    page = machine("nsenter", there, "/usr/bin/python3", "-c", FETCH).stdout
    assert "cellar" in page
    assert "18.5" in page
    # when it is run once more, with Enter to everything, nothing changes
    before = machine.path(CONFIG).read_bytes()
    with Typist(*machine.entering("nsenter", there, "oemgateway", "setup")) as person:
        assert person.answers_all({"Their names": "", "Serial port": "", "Which": ""}) == 0, person.seen
    assert machine.path(CONFIG).read_bytes() == before
