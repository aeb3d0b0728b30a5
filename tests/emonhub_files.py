"""Files of emonhub as people have them, written for the tests: the structure is real, the values are not."""

from __future__ import annotations

KEY = "5a" * 16

HUB = """\
#######################################################################
#######################    emonHub  settings    #######################
#######################################################################

[hub]
### how much is logged
loglevel = debug
autoconf = 1

[interfacers]
"""

RADIO = """\
### the board on the header
[[RFM2Pi]]
    Type = EmonHubJeeInterfacer
    [[[init_settings]]]
        com_port = /dev/ttyAMA0
        com_baud = 38400                # slower for old boards
    [[[runtimesettings]]]
        pubchannels = ToEmonCMS,
        subchannels = ToRFM12,

        # the neighbours have 210
        group = 212
        frequency = 868
        baseid = 5                      # its own node
        quiet = true
        calibration = 230V
        # interval =  0                 # for an emonGLCD
"""

MQTT = """\
[[MQTT]]
    Type = EmonHubMqttInterfacer
    [[[init_settings]]]
        mqtt_host = 192.168.7.2
        mqtt_port = 1884     # not the usual one
        mqtt_user = meter
        mqtt_passwd = "not, a word"
        mqtt_tls_enabled = false
        mqtt_tls_ca_certs = /etc/ssl/certs/ca-certificates.crt
    [[[runtimesettings]]]
        pubchannels = ToRFM12,
        subchannels = ToEmonCMS,
        node_format_enable = {node}
        node_format_basetopic = emonhub/
        nodevar_format_enable = {nodevar}
        nodevar_format_basetopic = emon/
        node_JSON_enable = {json}
        node_JSON_basetopic = emon/
"""

HTTP = f"""\
[[emoncms]]
    Type = EmonHubEmoncmsHTTPInterfacer
    [[[init_settings]]]
    [[[runtimesettings]]]
        pubchannels = ToRFM12,
        subchannels = ToEmonCMS,
        url = https://emoncms.example.org
        apikey = {KEY}
        senddata = 1
        interval = 45                   # seconds
"""

OEM = """\
    [[Base]]
        Type = EmonHubOEMInterfacer
        [[[init_settings]]]
            com_port = {port}
            com_baud = {baud}
        [[[runtimesettings]]]
            pubchannels = ToEmonCMS,
            subchannels = ToRFM12,
"""

SENSORS = """\
    [[DS18B20]]
        Type = EmonHubDS18B20Interfacer
        [[[init_settings]]]
        [[[runtimesettings]]]
            pubchannels = ToEmonCMS,
            read_interval = 20
            nodename = loft
            ids = 28-00000549f733, 28-000004a556db, 28-0000056316ab
            names = flow, return
            # the one without a name is behind the tank
"""

SPI = """\
    [[SPI]]
        Type = EmonHubRFM69LPLInterfacer
        [[[init_settings]]]
            nodeid = 5
            networkID = 210
        [[[runtimesettings]]]
            pubchannels = ToEmonCMS,
"""

MODBUS = """\
    [[Meter]]
        Type = EmonHubMinimalModbusInterfacer
        [[[init_settings]]]
            device = /dev/ttyUSB3
            baud = 9600
        [[[runtimesettings]]]
            pubchannels = ToEmonCMS,
            nodename = heatpump
            [[[[meters]]]]
                [[[[[electric]]]]]
                    address = 3
                    registers = 12, 72
                    names = Power, Energy
"""

NODES = """\
#######################################################################
#######################          Nodes          #######################
#######################################################################

[nodes]

# in the garage
[[8]]
    nodename = garage
    hardware = emonTx
    [[[rx]]]
        names = power, vrms, tank, pulse    # as printed on the box
        datacodes = h, h, h, L
        scales = 1, 0.01, 0.1, 1
        units = W, V, C, p

[[21]]
    nodename = cellar
    [[[rx]]]
        names = temperature, humidity
        datacode = h
        scale = 0.1
"""


def mqtt(node: int = 0, nodevar: int = 1, json: int = 0) -> str:
    return MQTT.format(node=node, nodevar=nodevar, json=json)


def oem(port: str = "/dev/ttyAMA0", baud: int = 115200) -> str:
    return OEM.format(port=port, baud=baud)


NAMES = HTTP.replace("senddata = 1", "senddata = 1\n        sendnames = 1")
UNSET = HTTP.replace(KEY, "x" * 32)

UNNAMED = SENSORS.replace("ids", "# ids").replace("names", "# names")
OLD_MQTT = mqtt(node=1, nodevar=0).replace("meter\n", "''\n").replace('"not, a word"', "''")
TIMED = mqtt(nodevar=0, json=1).replace("node_J", "timestamped = True\n        node_J", 1)
TEMPLATES = (
    NODES.replace("[nodes]", "[available]")
    .replace("[[8]]", "[[tx]]\n    nodeids = 8, 9")
    .replace("[[21]]", "[[th]]\n    nodeids = 8, 21")
)
FOREIGN = "[[28]]\n    nodename = pump\n    [[[rx]]]\n    names = P, E\n    datacode = 0\n"

SHIPPED = {
    "emonhub": HUB + RADIO + mqtt(node=1) + UNSET.replace("senddata = 1", "senddata = 0") + NODES,
    "default": HUB + oem(baud=38400) + oem("/dev/ttyUSB0").replace("Base", "USB") + SPI + mqtt() + UNSET,
    "emonpi": HUB.replace("autoconf = 1\n", "") + RADIO + mqtt(node=1) + UNSET + NODES,
    "emonpi2": HUB + oem() + SPI + mqtt() + UNSET + UNNAMED,
    "emonpi3": HUB + oem() + SPI.replace("nodeid", "freqBand = 49\n            nodeid") + mqtt() + NAMES,
    "emonhp": HUB + UNSET + MODBUS + SPI + mqtt() + SENSORS + NODES,
    "old": HUB + RADIO + OLD_MQTT + NODES,
    "example": HUB + RADIO + TIMED,
    "available": TEMPLATES,
    "excerpt": SENSORS,
    "excerpt with a node": MODBUS + FOREIGN,
}
"""Like those that emonhub comes with."""

REPORTER = f"""\
[hub]
loglevel = WARNING
[reporters]
[[emonCMS]]
    Type = EmonHubEmoncmsReporter
    [[[init_settings]]]
    [[[runtimesettings]]]
        apikey = {KEY}
        sslkeyfile = /etc/key.pem
[interfacers]
[[RFM2Pi]]
    Type = EmonHubJeeInterfacer
    [[[init_settings]]]
        com_port = /dev/ttyAMA0
    [[[runtimesettings]]]
        group = 99
[nodes]
[[99]]
\tdatacode = h
\tdatacodes = l, h, h,
"""

CABLE = """\
[[SerialTx]]
    Type = EmonHubTx3eInterfacer
    [[[init_settings]]]
        com_port= /dev/ttyUSB1
        com_baud = 115200
    [[[runtimesettings]]]
        pubchannels = ToEmonCMS,
        nodeoffset = 3
"""

LINES = """\
[[Lines]]
    Type = EmonHubSerialInterfacer
    [[[init_settings]]]
        com_port = /dev/ttyACM0
    [[[runtimesettings]]]
        pub_channels = ToEmonCMS,
"""

SOCKET = f"""\
[[Lines]]
    Type = EmonHubSocketInterfacer
    [[[init_settings]]]
        port_nb = 8090
    [[[runtimesettings]]]
        pubchannels = ToEmonCMS,
        apikey = {"b7" * 16}
"""

INFLUX = """\
[[Influx]]
    Type = EmonHubInfluxInterfacer
    [[[init_settings]]]
        influx_host = 10.1.2.3
        influx_db = house
        influx_passwd = opensesame
    [[[runtimesettings]]]
        subchannels = ToEmonCMS,
        prefix = shed
[[Graphite]]
    Type = EmonHubGraphiteInterfacer
"""

MQTT_OF_2015 = """\
[[MQTT]]
    Type = EmonHubMqttInterfacer
    [[[init_settings]]]
        mqtt_host = 127.0.0.1
    [[[runtimesettings]]]
        subchannels = ToEmonCMS,
        basetopic = emonhub/
"""

SECOND = HTTP.replace("[[emoncms]]", "[[second]]").replace("emoncms.example.org", "second.example.org")

REAL = {
    "a noisy board in another group": HUB + RADIO.replace("= true", "= false") + MQTT_OF_2015 + HTTP + NODES,
    "emonhub 1 with a reporter": REPORTER,
    "an interfacer that emonhub never had": HUB + "[[Yun]]\n    Type = EmonHubYunInterfacer\n" + HTTP,
    "two base topics and a slow upload": HUB
    + RADIO
    + mqtt(node=1, json=1)
    + HTTP.replace("interval = 45", "sendinterval = 300")
    + NODES,
    "an emonTx on a cable, with a number": HUB + CABLE + NAMES,
    "lines on a serial port, two servers": HUB + LINES + HTTP + SECOND,
    "a socket with a key": HUB + SOCKET + HTTP,
    "readings kept apart by channels": HUB + RADIO.replace("ToEmonCMS", "ToHouse") + SENSORS + HTTP,
    "InfluxDB and Graphite": HUB + RADIO + INFLUX,
    "a list where one value is expected": HUB
    + RADIO
    + HTTP
    + NODES.replace("scale = 0.1", "scale = 0.1, 0.2"),
    "a paused radio, and a meter on Modbus": HUB
    + RADIO.replace("baseid = 5", "pause = all\n        baseid = 5")
    + MODBUS
    + mqtt(),
}
"""Like those of people who have published theirs, one for each thing that is unusual in them."""
