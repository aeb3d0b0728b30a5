"""What each interfacer of emonhub 2.7, and each type of oem_gateway, is here.

The settings, their defaults and what they do are those of src/interfacers and emonhub_interfacer.py there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.commands.migrate.moved import New, Old
from gateway.commands.migrate.source import words
from gateway.registry import Kind, UnknownType, find, kind_of, known
from gateway.settings import declared

SERIAL = {"com_port": "port", "com_baud": "baud"}
RADIO = {
    **SERIAL,
    **{key: key for key in ("group", "frequency", "baseid", "quiet")},
    "interval": "sendtimeinterval",
}
_PLACEHOLDER = "x" * 8


@dataclass(frozen=True)
class Rule:
    """What a type becomes: `copied` are its keys by their old names, `usual` values where none are given.

    `finish` does what needs more than that; it may return further sections.
    """

    kind: Kind
    type: str
    copied: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, str] = field(default_factory=dict)
    finish: Callable[[Old, New], list[New] | None] | None = None

    def apply(self, old: Old) -> list[New]:
        """Return the sections that an old one becomes; settings that are not used are lost."""
        new = New(self.kind, self.type, old.name, old.section)
        for before, after in self.copied.items():
            if value := old.text(before):
                new.put(after, value, old.line_of(before))
        for key, value in self.usual.items():
            if key not in new.settings and key not in old.entries:
                new.put(key, value)
        more = (self.finish(old, new) if self.finish else None) or []
        _common(old, new)
        return [new, *more]


def _common(old: Old, new: New) -> None:
    """Move what every interfacer has."""
    if old.text("pause", "off").lower() not in ("off", "in" if new.kind == "dispatchers" else "out"):
        new.off = new.off or "it is paused in emonhub too"
    for key, (harmless, reason) in _EVERYWHERE.items():
        if key not in old.used and old.text(key).lower() not in ("", *harmless):
            new.lose(old, key, reason, needed=key == "nodeoffset")
    usual = "h" if old.type in ("EmonHubJeeInterfacer", "EmonHubOEMInterfacer") else "0"
    if "datacode" not in old.used and old.text("datacode", usual) != usual:  # H is not h
        new.lose(old, "datacode", _OF_BYTES if new.type == "rfm12pi" else _OF_TEXT)
    for key in old.entries.keys() - old.used - _UNNEEDED:
        new.lose(old, key, _LOST.get(key, "there is no such setting here"))


_EVERYWHERE = {
    "nodeoffset": (("0",), "the numbers of nodes are not shifted here"),
    "scale": (("1",), "give it to the sections in [nodes] that have neither scale nor scales"),
    "timestamped": (("false", "0"), "a reading has the time at which it arrived"),
    "targeted": (("false", "0"), "there are no targets here"),
    "nodelistonly": (("false", "0"), "nodes that are not in [nodes] are read too, as signed 16-bit numbers"),
    "sendstatus": (("0",), "the page MyIP of Emoncms does not get the address of this machine"),
    "calibration": (("230v",), "it is not sent to the board"),
}
_OF_BYTES = "give it to the sections in [nodes] that have neither datacode nor datacodes"
_OF_TEXT = "a number that comes as text is a value here, and no byte of one"
_UNNEEDED = {
    "pubchannels",
    "subchannels",
    "pub_channels",
    "sub_channels",
    "compress",
    "batchsize",
    "interval",
}
_LOST = dict.fromkeys(
    ("vcal", "ical1", "ical2", "ical3", "ical4", "period"),
    "it is not sent to the device, which keeps what it was given last",
)


def _oem(old: Old, new: New) -> None:
    """Take it for a radio or for a device that prints names: this interfacer reads the lines of both.

    A board with the rate of a radio, or settings of one, prints packets; all others print `name:value`.
    """
    if old.text("com_baud", "38400") != "115200" or old.entries.keys() & {"group", "frequency", "baseid"}:
        old.used.add("nodename")
        new.notes.append("It reads lines such as OK 5 1 2 3. If it prints MSG:1,P1:2 it is type = keyvalue")
        return
    for key in new.settings.keys() - {"port", "baud"}:
        del new.settings[key]
    new.type = "keyvalue"
    new.put("node", old.text("nodename", old.name), old.line_of("nodename"))
    new.notes.append("It reads lines such as MSG:1,P1:2. If it prints OK 5 1 2 3 it is type = rfm12pi")
    new.changes.append(f"node {new.settings['node']}: without the inputs missed and missedprc")
    old.used.add("nodeoffset")


def _tx3e(old: Old, new: New) -> None:
    node = old.text("nodename") or old.text("nodeoffset", "0")
    old.used.add("nodeoffset")
    new.put("node", node, old.line_of("nodename" if old.text("nodename") else "nodeoffset"))
    new.changes.append(f"node {node}: without the inputs missed and missedprc")


def _serial(old: Old, new: New) -> None:
    if old.text("nodeoffset", "0") != "0":
        reason = "the device prints no node before its values, which a line needs here"
        new.lose(old, "nodeoffset", reason, needed=True)


def _socket(old: Old, new: New) -> None:
    if "host" not in (*new.settings, *old.entries):
        new.put("host", "0.0.0.0")
        new.notes.append("Without host it takes lines from this machine only")
    key = old.text("apikey")
    if len(key) == 32 and not key.lower().startswith(_PLACEHOLDER):
        new.put("key", key, old.line_of("apikey"))
    for flag in ("timestamped", "targeted"):
        if old.is_on(flag):
            new.lose(old, flag, "a line is `node v1 v2 ...` here, and no more", needed=True)


def _ds18b20(old: Old, new: New) -> None:
    new.put("node", old.text("nodename", "sensors"), old.line_of("nodename"))
    ids, names = words(old.raw("ids")), words(old.raw("names"))
    for index, rom in enumerate(ids, 1):
        name = names[index - 1] if index <= len(names) else rom
        new.put(f"sensor{index}", [rom.strip(), name.strip()], old.line_of("ids") if index == 1 else 0)
    if not ids:
        new.put("sensor1", "Dummy")
        reason = (
            "emonhub reads what it finds: give each sensor its index (`oemgateway sensors` shows the ids)"
        )
        new.lose(old, "ids", reason)
    new.changes.append(f"node {new.settings['node']}: the index of a sensor is its place in ids, for good")


def _http(old: Old, new: New) -> None:
    new.put("url", old.text("url", "http://emoncms.org"), old.line_of("url") if "url" in old.entries else 0)
    key = old.text("apikey")
    new.put("apikey", key, old.line_of("apikey") if key else 0)
    if len(key) != 32 or key.lower().startswith(_PLACEHOLDER):
        new.off = "it needs the write key of your account, without which emonhub sends nothing either"
    if not old.is_on("senddata", "1"):
        new.off = "senddata = 0: emonhub sends it no readings either"
    if old.text("batchsize").isdecimal():
        new.put("batch", str(min(250, int(old.text("batchsize")))), old.line_of("batchsize"))
    if old.is_on("sendnames"):
        new.put("keys", "name", old.line_of("sendnames"))


_FORMS = {  # what publishes in each format; its base topic, and emonhub's defaults of both
    "nodevar": ("nodevar_format_enable", "0", "nodevar_format_basetopic", "nodes/"),
    "node": ("node_format_enable", "1", "node_format_basetopic", "emonhub/"),
    "json": ("node_JSON_enable", "0", "node_JSON_basetopic", "emon/"),
}


def _mqtt(old: Old, new: New) -> list[New]:
    """Make a section for each base topic."""
    if old.is_on("mqtt_tls_enabled"):
        new.put("tls", "yes", old.line_of("mqtt_tls_enabled"))
        for before, after in (("ca_certs", "ca_file"), ("certfile", "cert_file"), ("keyfile", "key_file")):
            if value := old.text(f"mqtt_tls_{before}"):
                new.put(after, value, old.line_of(f"mqtt_tls_{before}"))
        if old.is_on("mqtt_tls_insecure"):
            new.lose(old, "mqtt_tls_insecure", "a certificate is always checked here: name it in ca_file")
    old.used |= {key for key in old.entries if key.startswith("mqtt_tls_")} | {"timestamped"}
    forms: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for form, (enable, on, topic, usual) in _FORMS.items():
        base, is_on = old.text(topic, usual), old.is_on(enable, on)
        if is_on:
            forms.setdefault(base, []).append(form)
            lines.setdefault(base, old.line_of(topic) if topic in old.entries else 0)
            if not base.endswith("/"):
                new.lose(old, topic, "there is a / between it and the name of the node here")
    if not forms:
        new.off = "none of emonhub's formats is enabled: it publishes nothing there either"
    if words(old.raw("pubchannels")):
        topic = f"{old.text('node_format_basetopic', 'emonhub/')}tx/"
        new.changes.append(f"what is published to {topic} is not sent by radio: type = repeater does that")
    sections = []
    for number, (base, which) in enumerate(forms.items()):
        part = New(new.kind, new.type, new.name, new.old, dict(new.settings)) if number else new
        part.name += f"-{which[0]}" if number else ""
        part.put("format", "emonhub")
        part.put("emonhub", which)
        part.put("topic", base.rstrip("/"), lines[base])
        part.off = new.off
        sections.append(part)
    return sections[1:]


def _influx(old: Old, new: New) -> None:
    host, port = (old.text(f"influx_{key}", usual).strip("[']") for key, usual in _INFLUX.items())
    line = old.line_of("influx_host") if "influx_host" in old.entries else 0
    new.put("url", f"http://{host}:{port}", line)
    new.put("version", "1")
    new.put("tags", [f"prefix={old.text('prefix', 'prefix')}"])
    new.put("layout", "name")
    new.changes.append("InfluxDB: a value was a measurement with its name; it is `reading` with the tag name")


_INFLUX = {"host": "localhost", "port": "8086"}
_BOARD = {"port": "/dev/ttyAMA0", "baud": "38400"}
_MQTT = {"mqtt_host": "host", "mqtt_port": "port", "mqtt_user": "user", "mqtt_passwd": "password"}
_INFLUXDB = {
    "influx_db": "database",
    "influx_user": "user",
    "influx_passwd": "password",
    "influx_interval": "interval",
}
_INFLUXDB_USUAL = {"database": "emoncms", "user": "emoncms", "password": "emoncmspw", "interval": "30"}

RULES = {
    "EmonHubJeeInterfacer": Rule("listeners", "rfm12pi", RADIO, _BOARD),
    "EmonHubOEMInterfacer": Rule("listeners", "rfm12pi", RADIO, _BOARD, _oem),
    "EmonHubTx3eInterfacer": Rule("listeners", "keyvalue", SERIAL, {"baud": "9600"}, _tx3e),
    "EmonHubSerialInterfacer": Rule("listeners", "serial", SERIAL, {"baud": "9600"}, _serial),
    "EmonHubSocketInterfacer": Rule("listeners", "tcp", {"port_nb": "port"}, {"port": "50011"}, _socket),
    "EmonHubDS18B20Interfacer": Rule("listeners", "w1", {"read_interval": "interval"}, {}, _ds18b20),
    "EmonHubEmoncmsHTTPInterfacer": Rule(
        "dispatchers", "emoncms", {"interval": "interval"}, {"interval": "30"}, _http
    ),
    "EmonHubEmoncmsReporter": Rule("dispatchers", "emoncms", {"interval": "interval"}, {}, _http),
    "EmonHubMqttInterfacer": Rule("dispatchers", "mqtt", _MQTT, {"host": "127.0.0.1"}, _mqtt),
    "EmonHubInfluxInterfacer": Rule("dispatchers", "influxdb", _INFLUXDB, _INFLUXDB_USUAL, _influx),
}
"""What each interfacer with a counterpart becomes; the reporter is that of emonhub 1."""

_OWN = "a program that prints lines `node v1 v2 ...` can do it (type = exec)"
_SERIAL_RADIO = "an RFM69Pi prints its packets on a serial port"
_REASONS = {
    f"a radio on SPI is not read: {_SERIAL_RADIO}; else {_OWN}": "EmonHubRFM69LPL EmonHubRF69",
    f"the pins of the Pi are not read: {_OWN}": "EmonHubPulseCounter EmonHubDigitalInput",
    f"Modbus is not read: {_OWN}": "EmonHubMinimalModbus EmonHubSDM120 EmonModbusTcp EmonHubModbusRenogy "
    "EmonFroniusModbusTcp",
    f"M-Bus is not read: {_OWN}": "EmonHubMBUS",
    f"this device is not read: {_OWN}": "EmonHubSunamp EmonHubVEDirect EmonHubSMASolar EmonHubSDS011 "
    "EmonHubBle EmonHubGoodWe EmonHubEconet300 EmonHubEconext EmonHubTeslaPowerWall EmonHubSmilics",
    f"the account of a car is not read: {_OWN}": "EmonHubBMW EmonHubJaguarLandRover",
    "there is no dispatcher for Graphite: InfluxDB takes the same (type = influxdb)": "EmonHubGraphite",
    "there is no dispatcher for Redis: MQTT has the present readings (type = mqtt)": "EmonHubRedis",
    "Emoncms is not asked for packets to send: type = repeater takes them by TCP": "EmonHubPacketGen",
    "it is an example for programmers, and reads nothing": "EmonHubTemplate",
}
NOT_HERE = {f"{name}Interfacer": reason for reason, names in _REASONS.items() for name in names.split()}
"""Why each of the other interfacers has no counterpart."""


def rule_of(named: str, above: Kind | None) -> Rule | None:
    """Return what a type in a section of this kind (None: emonhub's) becomes, None if it is nothing here.

    A type of oem_gateway gets its name of today, with the settings by theirs; one of ours stays what it is.
    """
    if named in RULES:
        return RULES[named]
    kind = kind_of(named) or (above if above and named in known(above) else None)
    if kind is None:
        return None
    new, usual, finish = _OEM_GATEWAY.get(named, (named, {}, None))
    renamed: dict[str, str] = {}
    with suppress(UnknownType):  # what it takes is not installed, which `check` says
        fields = declared(find(kind, named)).items()
        renamed = {key: name for name, about in fields for key in about.metadata.get("was", ())}
    return Rule(kind, new, renamed, usual, lambda old, section: _renamed(old, section, finish))


def _renamed(old: Old, new: New, finish: Callable[[Old, New], None] | None) -> None:
    if finish:
        finish(old, new)
    for key in [key for key in old.entries if key not in old.used]:
        new.put(key, old.raw(key), old.line_of(key))


def _address(old: Old, new: New) -> None:
    """Put together the address of Emoncms, which oem_gateway has in three parts."""
    path = old.text("path").strip("/") if "path" in old.entries else "emoncms"
    url = f"{old.text('protocol', 'http://')}{old.text('domain', 'localhost')}/{path}"
    new.put("url", url.rstrip("/"), old.line_of("domain") if "domain" in old.entries else 0)
    new.put("interval", old.text("interval", "0"))
    if "buffer_size" in old.entries:
        new.lose(old, "buffer_size", "readings wait on disk: see max_frames in [gateway]")


_OEM_GATEWAY: dict[str, tuple[str, dict[str, str], Callable[[Old, New], None] | None]] = {
    "OemGatewayRFM2PiListener": ("rfm12pi", {"baud": "9600"}, None),
    "OemGatewayRFM2PiListenerRepeater": ("repeater", {"baud": "9600"}, None),
    "OemGatewaySerialListener": ("serial", {}, None),
    "OemGatewaySocketListener": ("tcp", {}, _socket),
    "OemGatewayOWFSListener": ("owfs", {}, None),
    "OemGatewayEmoncmsBuffer": ("emoncms", {}, _address),
}
