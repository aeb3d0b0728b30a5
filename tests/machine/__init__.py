"""The package on an emulated machine, for what no test process has: a kernel, an init, power, a clock.

`make machine` runs all scenarios, `make machine ONLY=power` one. A scenario is a file in scenarios/ with a
function `run(lab)`, and a word in SCENARIOS of __main__.py::

    def run(lab: Lab) -> None:
        hardware = Hardware()                                     # sensors, chip, adapter, radio boards
        with FakeEmoncms() as server, lab.boot(hardware=hardware) as guest:     # leaving it is a power cut
            start(guest, configuration(server, CELLAR))           # the gateway, as a service
            hardware.sensors[0].present = False
            guest.wait(lambda: server.values("9"), "values")      # a condition, never a sleep for luck
            lab.report.row("what was measured", "its figure", ok=len(server.values("9")) == 4)

`image.py` builds the disk, `guest.py` is one run of QEMU and `agent.py` what answers in it; `usbredir.py` and
`adapter.py` are a USB I2C adapter, `hardware.py` all that is plugged in; `service.py` is the gateway as a
service, `cellar.py` its sensors by each of the four ways, `arrivals.py` what came to the server, `sntp.py` a
time server. `lab.py` and `report.py` are what a scenario is given.
"""
