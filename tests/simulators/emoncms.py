"""An Emoncms server with its inputs and feeds, with the kindnesses and traps measured on Emoncms 11.16.8.

Nearly everything is answered with status 200. A null is stored as 0.0, a read key gets an empty page, and a
batch that is refused has been stored up to the row that was not liked.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.simulators.emoncms_feeds import DamagedFeed, Feeds, NoDatabase, Params


class Stored(NamedTuple):
    """One value as the server took it, in the order in which it did."""

    node: str
    key: str
    time: int
    value: float


class Request(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Input:
    """The last time and value of a key, and what is done with a value."""

    id: int
    time: int | None
    value: float | None
    description: str = ""
    processes: str = ""


NO_KEY = Answer(headers={"Set-Cookie": "EMONCMS_SESSID=0123456789; path=/"})
LOGIN_PAGE = Answer(
    body="<!doctype html>\n<html><head><title>Emoncms</title></head><body>Login</body></html>"
)
WRONG_KEY = Answer(
    401, "Invalid API key", {"WWW-Authenticate": 'Bearer realm="API KEY", error="invalid_apikey"'}
)
FATAL = Answer(
    body="<br />\n<b>Fatal error</b>:  Uncaught mysqli_sql_exception: Connection refused in index.php:65\n"
    "Stack trace:\n#0 {main}\n  thrown in <b>index.php</b> on line <b>65</b><br />\n"
)
NO_DATABASE = Answer(
    body="<br />\n<b>Fatal error</b>:  Uncaught mysqli_sql_exception: MySQL server has gone away in "
    "/var/www/emoncms/Modules/feed/feed_model.php:269\nStack trace:\n"
    "#0 /var/www/emoncms/Modules/feed/feed_model.php(269): mysqli-&gt;query()\n"
    "#1 /var/www/emoncms/Modules/input/input_methods.php(362): Process-&gt;input()\n#2 {main}\n"
)
NAME_REFUSED = Answer(
    body="<br />\n<b>Fatal error</b>:  Uncaught mysqli_sql_exception: Incorrect string value: "
    "'\\xC5\\x81azie...' for column `emoncms`.`input`.`name` at row 1 in "
    "/var/www/emoncms/Modules/input/input_model.php:44\nStack trace:\n"
    "#0 /var/www/emoncms/Modules/input/input_model.php(44): mysqli_stmt-&gt;execute()\n"
    "#1 /var/www/emoncms/Modules/input/input_methods.php(341): Input-&gt;create_input()\n#2 {main}\n"
)
DAMAGED_FEED = Answer(
    body="<br />\n<b>Fatal error</b>:  Uncaught DivisionByZeroError: Division by zero in "
    "/var/www/emoncms/Modules/feed/engine/PHPFina.php:221\nStack trace:\n#0 {main}\n"
    "  thrown in <b>/var/www/emoncms/Modules/feed/engine/PHPFina.php</b> on line <b>221</b><br />\n"
)
DISK_FULL = Answer(
    body="<br />\n<b>Notice</b>:  fwrite(): Write of 4 bytes failed with errno=28 No space left on device in "
    "<b>/var/www/emoncms/Modules/feed/engine/PHPFina.php</b> on line <b>299</b><br />\nok"
)
NOT_JSON = "Format error, json string supplied is not valid"


def refusal(message: str) -> Answer:
    """Return a refusal as Emoncms words it: with status 200."""
    return Answer(body=json.dumps({"success": False, "message": message}, separators=(",", ":")))


class _Fatal(Exception):
    """PHP ends here: what was stored before stays."""


class _NameRefused(Exception):
    """PHP ends at a name that the tables cannot keep: what was stored before stays."""


class _Refused(Exception):
    """Emoncms ends here, with a message: what was stored before stays."""


_ENDS: dict[type[Exception], Answer] = {
    _Fatal: FATAL,
    _NameRefused: NAME_REFUSED,
    NoDatabase: NO_DATABASE,
    DamagedFeed: DAMAGED_FEED,
}


@dataclass
class FakeEmoncms:
    """`with FakeEmoncms(key="...") as server:` listens at `server.url`, on a port of its own.

    Each fault is the number of coming requests that it affects (math.inf: until it is set to 0 again).
    `stop` and `start` are the server going away and coming back, at the same port.
    """

    key: str = "0123456789abcdef0123456789abcdef"
    read_key: str = "fedcba9876543210fedcba9876543210"
    device_key: str = "00000000000000000000000000000000"  # it writes, and reads nothing
    port: int = 0
    tls: tuple[Path, Path] | None = None  # certificate, private key
    max_nodes: int = 32  # beyond these a row of another node is refused, and those after it are not looked at
    redis: bool = True  # without it values are shown from a float column of MySQL, with 6 digits
    devices: list[str] | None = None  # nodes with a device; None: the device module is not there
    now: Callable[[], float] = time.time
    version: str = "11.16.8"
    clock_ahead: float | None = 0  # seconds that its Date is ahead; None: it shows none
    no_database: float = math.inf  # values that inputs take until the database fails once
    charset: str = "utf-8"  # of its tables: a name that is not in it ends in PHP's fatal error
    closed_to_new: bool = False  # values of inputs that are not there are dropped, and it says ok

    reset_before: float = 0  # the connection is reset, and nothing stored
    reset_after: float = 0  # stored, and the connection reset instead of an answer
    hang: float = 0  # no answer and nothing stored, until `release`
    hang_after: float = 0  # stored, and no answer until `release`
    slow: float = 0  # answered after `delay` seconds, or at `release`
    delay: float = 0.3
    pace: float = 0  # seconds (or until `release`) to store a value; others are answered meanwhile
    wrong_key: float = 0  # 401
    status_500: float = 0  # PHP's fatal error with display_errors off
    broken_off: float = 0  # the same in the middle of a batch, whose first half is stored
    error_text: float = 0  # 200 with a message
    html_fatal: float = 0  # 200 with PHP's fatal error, as while the database is down
    canned: list[Answer] = field(default_factory=list)  # answers to give instead, one by one

    stored: list[Stored] = field(default_factory=list)
    inputs: dict[tuple[str, str], Input] = field(default_factory=dict)
    feeds: Feeds = field(default_factory=Feeds)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0  # so far
    hanging: int = 0  # requests without an answer at this moment
    bugs: list[BaseException] = field(default_factory=list)  # of this simulator; raised at the end

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._released = threading.Event()
        self._server: _Server | None = None
        self._place: socket.socket | None = None  # keeps the port ours while the server is away

    # The server as a thing that is there or not.

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, at the port of last time if there was one."""
        if self._place is None:
            self._place = socket.socket()
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", self.port))
            self.port = self._place.getsockname()[1]
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Go away: connections end, new ones are refused. May be called twice."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()
        server.drop_connections()
        self.release()

    def release(self) -> None:
        """Let the hanging requests end, without an answer, and the slow ones go on."""
        with self._lock:
            self._released.set()
            self._released = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._place is not None:
            self._place.close()
        if self.bugs:
            raise self.bugs[0]

    def values(self, node: str) -> dict[str, float | None]:
        """Return the last value of every key of a node."""
        with self._lock:
            return {key: kept.value for (owner, key), kept in self.inputs.items() if owner == node}

    # One request.

    def handle(self, request: Request) -> Answer | None:
        """Return the answer; None where the connection is to be reset instead."""
        with self._lock:
            self.requests.append(request)
            fault = next((name for name in FAULTS if self._take(name)), "")
        if fault == "slow":
            self._released.wait(self.delay)
        elif fault == "hang":
            self._hang()
        if fault in ("hang", "reset_before"):
            return None
        with self._lock:
            if fault in _INSTEAD:
                return _INSTEAD[fault]
            if fault == "broken_off":
                self._answer(_first_half(request))
                return Answer(500)
            answer = self.canned.pop(0) if self.canned and not fault else self._answer(request)
        if fault == "hang_after":
            self._hang()
        return None if fault in ("hang_after", "reset_after") else answer

    def _take(self, fault: str) -> bool:
        left: float = getattr(self, fault)
        if left > 0:
            setattr(self, fault, left - 1)
        return left > 0

    def _hang(self) -> None:
        with self._lock:
            self.hanging += 1
            released = self._released
            if self._server is None:
                released.set()
        released.wait()
        with self._lock:
            self.hanging -= 1

    def _answer(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        query = _form(url.query)
        form = {}
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = _form(request.body.decode("utf-8", "replace"))
        # The key in the address wins over the one in the body, and that over the header's.
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        key = query.get("apikey", form.get("apikey", bearer))
        if key and key not in (self.key, self.read_key, self.device_key):
            return WRONG_KEY
        route = [part for part in url.path.removeprefix("/emoncms").split("/") if part]
        params = {name: _stripslashes(value) for name, value in {**query, **form}.items()}
        return self._route(route, params, key)

    def _route(self, route: list[str], params: Params, key: str) -> Answer:
        names = [part.removesuffix(".json") for part in route]
        controller, action, node = [*names, "", "", ""][:3]
        if controller == "version":
            return Answer(body=self.version)
        if controller == "feed" or (controller, action) in _OF_ACCOUNT or self._has_devices(controller):
            return self._account(controller, [action, node], params, key)
        if controller != "input" or action not in ("post", "bulk"):
            return Answer(406, json.dumps({"success": False, "message": "406 Not Acceptable"}))
        if key not in (self.key, self.device_key):
            return Answer() if key else NO_KEY
        if node:
            params["node"] = node
        return self._store(self._bulk if action == "bulk" else self._post, params)

    def _has_devices(self, controller: str) -> bool:
        return controller == "device" and self.devices is not None

    def _account(self, controller: str, action: list[str], params: Params, key: str) -> Answer:
        """Answer what only the key of an account may ask: to read, or to change, what is there."""
        if key in (self.device_key, ""):
            return WRONG_KEY if key else _json(False) if controller == "feed" else LOGIN_PAGE
        if action[0] in ("set", "create", "process", "delete") and key != self.key:
            return _json(False)
        if controller == "device":
            return self._device(action[0], params)
        if controller == "feed":
            return self._of_feed(action[0], params)
        if action[0] in ("get", "list"):
            return _json(self._get(params) if action[0] == "get" else self._list())
        return self._of_input(action, params)

    def _device(self, action: str, params: Params) -> Answer:
        """Answer device/list and device/delete, as read in their source; ids are places in the list."""
        devices = self.devices or []
        if action == "list":
            return _json([{"id": str(n), "nodeid": node} for n, node in enumerate(devices, 1)])
        number = int(params.get("id", 0))
        if not 0 < number <= len(devices):
            return refusal("Device does not exist")
        del devices[number - 1]
        return _json(None)

    def _of_feed(self, action: str, params: Params) -> Answer:
        if action in ("create", "set") and not self._can_keep(
            params.get("unit", "") + params.get("fields", "")
        ):
            return NAME_REFUSED
        try:
            answer = self.feeds.answer(action, params)
        except OverflowError:
            return FATAL
        return Answer() if answer is None else _json(answer)

    def _of_input(self, action: list[str], params: Params) -> Answer:
        place, there = next(
            (item for item in self.inputs.items() if str(item[1].id) == params.get("inputid")),
            (("", ""), None),
        )
        if there is None:
            return _json(False)
        if action[0] == "delete":
            del self.inputs[place]
            return _json({"success": True, "message": "Input deleted", "userid": 1, "inputid": there.id})
        if action[0] == "process":
            return self._of_processes(action, there, params)
        description = json.loads(params["fields"])["description"]
        if _kept(description) != description:
            return refusal("invalid characters in input description")
        if not self._can_keep(description):
            return NAME_REFUSED
        there.description = description
        return _json({"success": True, "message": "Field updated"})

    def _of_processes(self, action: list[str], there: Input, params: Params) -> Answer:
        if action == ["process", "get"]:
            return _json(there.processes)
        answer, kept = self.feeds.set_list(params)
        if kept and kept == there.processes:
            answer = {"success": False, "message": "Input processlist was not updated"}
        there.processes = kept or there.processes
        return _json(answer)

    def _store(self, action: Callable[[Params], None], params: Params) -> Answer:
        try:
            action(params)
        except _Refused as refused:
            return refusal(str(refused))
        except tuple(_ENDS) as ended:
            return _ENDS[type(ended)]
        if self.feeds.unwritable and self.feeds.full:
            return DISK_FULL
        return _json({"success": True}) if "fulljson" in params else Answer(body="ok")

    # input/bulk

    def _bulk(self, params: Params) -> None:
        rows = _decode(params.get("data", ""))
        if not isinstance(rows, list):
            raise _Fatal
        if not rows:
            raise _Refused(NOT_JSON)
        last = rows[-1]
        if not (isinstance(last, list) and last and last[0] is not None):
            raise _Refused("Format error, last item in bulk data does not contain any data")
        start = self._start(params, last[0])
        for row in rows:
            if not isinstance(row, list):
                raise _Fatal
            if len(row) > 2:
                self._bulk_row(start, row)

    def _start(self, params: Params, last: object) -> int:
        """Return what the times of the rows count from."""
        now = int(self.now())
        for name in ("sentat", "offset"):
            if name in params:
                return now - _integer(params[name])
        return _integer(params["time"]) if "time" in params else now - _integer(last)

    def _bulk_row(self, start: int, row: list[object]) -> None:
        when, node, *items = row
        if isinstance(node, dict):
            raise _Refused("Format error, node must not be an object")
        if isinstance(node, list):
            raise _Fatal
        values: dict[str, float] = {}
        position = 1
        for item in items:
            if isinstance(item, list):
                raise _Fatal
            if isinstance(item, dict):
                values |= {key: _number(value) for key, value in item.items()}
            else:
                values[str(position)] = _number(item)
                position += 1
        self._take_values(start + _integer(when), _text(node), values)

    # input/post

    def _post(self, params: Params) -> None:
        names = [name for name in ("json", "fulljson", "csv", "data") if params.get(name)]
        if not names:
            raise _Refused("Request contains no data via csv, json or data tag")
        text = params[names[0]]
        values = _full_json(text) if "fulljson" in params else _lenient(text)
        when = params.get("time", "")
        if "fulljson" in params and "time" in values:
            when = str(values.pop("time"))
        exact = re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", when)
        self._take_values(int(float(when)) if exact else int(self.now()), params.get("node", "0"), values)

    # What is kept, and read back.

    def _take_values(self, when: int, node: str, values: dict[str, float]) -> None:
        node = _kept(node) or "0"
        nodes = {known for known, _ in self.inputs}
        if node not in nodes and len(nodes) >= self.max_nodes:
            raise _Refused(
                "Error: Reached the maximal allowed number of different NodeIds, "
                f"limit is {self.max_nodes}. Node '{node}' was ignored."
            )
        if node not in nodes and self.devices is not None and node not in self.devices:
            self.devices.append(node)
        for name, value in values.items():
            if self.no_database <= 0:
                self.no_database = math.inf
                raise _Fatal
            self.no_database -= 1
            key = _kept(name)
            if self.closed_to_new and (node, key) not in self.inputs:
                continue
            if (node, key) not in self.inputs and not self._can_keep(node + key):
                raise _NameRefused
            known = self.inputs.setdefault((node, key), Input(next(self._ids), when, value))
            known.time, known.value = when, value
            self.stored.append(Stored(node, key, when, value))
            if self.pace:
                released = self._released
                self._lock.release()
                released.wait(self.pace)
                self._lock.acquire()
        # The inputs of a row are all set before the first of them is processed.
        for name, value in values.items():
            if known := self.inputs.get((node, _kept(name))):
                self.feeds.run(known.processes, when, value)

    def _can_keep(self, name: str) -> bool:
        return name.encode(self.charset, "ignore").decode(self.charset) == name

    def _get(self, params: Params) -> object:
        nodes: dict[str, dict[str, object]] = {}
        for (node, key), known in self.inputs.items():
            shown = {"time": known.time, "value": self._shown(known.value), "processList": known.processes}
            nodes.setdefault(node, {})[key] = shown
        if "node" not in params:
            return nodes or []
        of_node = nodes.get(_kept(params["node"]))
        if not of_node:
            return "Node does not exist"
        if "name" in params:
            return of_node.get(_kept(params["name"]), "Node variable does not exist")
        # PHP cannot tell an array with the keys 0..n-1 from a list.
        return list(of_node.values()) if list(of_node) == [str(n) for n in range(len(of_node))] else of_node

    def _shown(self, value: float | None) -> float | None:
        """Return a value as it is shown: with 14 digits, or with 6 of the float32 that MySQL keeps."""
        if value is None:
            return None
        if self.redis:
            return float(f"{value:.14g}")
        return float(f"{struct.unpack('f', struct.pack('f', value))[0]:.6g}")

    def _listed(self, number: float | None) -> float | str | None:
        """Return a number as input/list has it: MySQL's own come as text."""
        return number if self.redis or number is None else f"{number:.14g}"

    def _list(self) -> object:
        return [
            {
                "id": str(known.id),
                "nodeid": node,
                "name": key,
                "description": known.description,
                "processList": known.processes,
                "time": self._listed(known.time),
                "value": self._listed(self._shown(known.value)),
            }
            for (node, key), known in self.inputs.items()
        ]


_OF_ACCOUNT = {("input", action) for action in ("get", "list", "set", "process", "delete")}
_INSTEAD = {
    "wrong_key": WRONG_KEY,
    "status_500": Answer(500),
    "error_text": refusal(NOT_JSON),
    "html_fatal": FATAL,
}
FAULTS = ("reset_before", "reset_after", "hang", "hang_after", "slow", "broken_off", *_INSTEAD)
"""All that can happen to a request, by the names of the attributes."""


def _first_half(request: Request) -> Request:
    form = _form(request.body.decode())
    rows = json.loads(form.get("data", "[]"))
    return request._replace(body=urlencode({**form, "data": json.dumps(rows[: len(rows) // 2])}).encode())


# What PHP makes of text and JSON.


def _form(text: str) -> Params:
    return dict(parse_qsl(text, keep_blank_values=True))


def _stripslashes(text: str) -> str:
    """Undo backslashes, as Emoncms does to every parameter: escapes in JSON do not survive it."""
    return re.sub(r"\\(.?)", r"\1", text, flags=re.DOTALL)


def _decode(text: str) -> object:
    """Decode JSON as strictly as PHP, which knows no NaN."""

    def refuse(_: str) -> None:
        raise ValueError

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        raise _Refused(NOT_JSON) from None


def _number(value: object) -> float:
    """Cast to float: null, "" and "abc" are 0, and an object is 1."""
    if isinstance(value, str):
        number = re.match(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", value)
        return float(number[0]) if number else 0.0
    return float(value) if isinstance(value, int | float) else float(bool(value))


def _integer(value: object) -> int:
    number = _number(value)
    return int(number) if math.isfinite(number) else 0


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.14g}"
    return "" if value is None or value is False else "1" if value is True else str(value)


def _kept(name: str) -> str:
    """Return what is left of a name of a node or a key."""
    return re.sub(r"[^\w\s.-]", "", name)


def _full_json(text: str) -> dict[str, float]:
    wrong = _Refused("Input in not a valid JSON object")
    try:
        values = _decode(text)
    except _Refused:
        raise wrong from None
    if isinstance(values, list):
        values = {str(index): value for index, value in enumerate(values)}
    if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
        raise wrong
    return {key: _number(value) for key, value in values.items()}


def _lenient(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    position = 1
    for pair in re.sub(r"[^\w\s.:,-]", "", text).split(","):
        key, colon, value = pair.rpartition(":")
        if not colon:
            key = str(position)
            position += 1
        if value != "null" and not re.fullmatch(
            r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*", value
        ):
            raise _Refused("Format error, json value is not numeric")
        values[key] = _number(value)
    return values


def _json(value: object) -> Answer:
    return Answer(body=json.dumps(value), headers={"Content-Type": "application/json"})


# The wire.


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, emoncms: FakeEmoncms) -> None:
        super().__init__(("127.0.0.1", emoncms.port), _Handler)
        self.emoncms = emoncms
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._context: ssl.SSLContext | None = None
        if emoncms.tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*emoncms.tls)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        if not self._context:
            return request, address
        try:
            request.getpeername()  # if the client is gone, `wrap_socket` would leave a socket open
            # The handshake is the handler's business: it must not keep others from being accepted.
            secured = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        except OSError:
            request.close()
            raise
        return secured, address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
            self.emoncms.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what is no client's going away, to be raised where the test can see it."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.emoncms.bugs.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.emoncms.handle(Request(self.command, self.path, headers, body))
        if answer is None:
            self._reset()
        else:
            self._send(answer)

    def do_POST(self) -> None:
        self.do_GET()

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        headers = {"Content-Type": "text/plain", "Content-Length": str(len(body)), **answer.headers}
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_response(self, code: int, message: str | None = None) -> None:
        self.send_response_only(code, message)
        if self.server.emoncms.clock_ahead is not None:
            self.send_header("Date", self.date_time_string(time.time() + self.server.emoncms.clock_ahead))

    def _reset(self) -> None:
        self.close_connection = True
        linger_zero = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        self.rfile.close()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
