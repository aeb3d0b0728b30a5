"""The address of an Emoncms as people write it, and what may be wrong with it.

A text that may contain a secret is never repeated in a message.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_KEY = re.compile(r"apikey|[0-9a-f]{32}", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_HOST = re.compile(r"\[[0-9a-f:.]+(%\w+)?\]|[\w-]+(\.[\w-]+)*\.?", re.IGNORECASE)
_PAGE = re.compile(
    r"/(index\.php|(input|feed)(\.json)?"
    r"|(user|dashboard|vis|graph|app|device|admin|schedule|process)"
    r"/(view|list|edit|login|logout|register|profile|info|api)(\.json)?)(?=/|$)",
    re.IGNORECASE,
)
"""The part of a path after Emoncms's own path that names one of its pages (Modules/*/*_controller.php)."""


def check_url(url: str) -> None:
    """Raise ValueError for a malformed address, one with a key in it, and the address of a page."""
    if _KEY.search(url):
        raise ValueError("the address alone expected: the key belongs in apikey")
    if "@" in url:
        raise ValueError("an address without user name and password expected: Emoncms asks for none")
    if re.search(r"[?#;]", url):
        raise ValueError("an address without ?, # or ; expected, such as http://emonpi/emoncms")
    if re.search(r"[\s\\]", url):
        raise ValueError(f"an address without spaces and backslashes expected, not {url}")
    scheme = _SCHEME.match(url)
    if not scheme:
        raise ValueError(f"http://host or https://host expected, not {url}{_hint(url)}")
    host, slash, path = url[scheme.end() :].partition("/")
    if re.match(r"https?(:|$)", host, re.IGNORECASE):
        raise ValueError(f"http:// or https:// expected once, not {url}")
    _check_host(host)
    if page := _PAGE.search(slash + path):
        address = url[: scheme.end()] + host + (slash + path)[: page.start()]
        found = (slash + path)[page.start() :]
        raise ValueError(f"{found} is a page of Emoncms, and no part of its address: write {address}")


def _hint(url: str) -> str:
    """Say which address a text without a scheme may stand for."""
    if found := re.fullmatch(r"(https?)[:/]+(\w.*)", url, re.IGNORECASE):
        return f": write {found[1]}://{found[2]}"
    if re.match(r"[\w.-]+(:[0-9]+)?(/|$)", url) and not re.match(r"https?[:/]", url, re.IGNORECASE):
        return f": write https://{url} or http://{url}"
    return ""


def _check_host(netloc: str) -> None:
    name, colon, port = netloc.partition(":") if netloc[:1] != "[" else netloc.partition("]:")
    name += "]" if netloc[:1] == "[" and colon else ""
    if colon and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"a port from 1 to 65535 expected behind the host, not {port or 'nothing'}")
    if not _HOST.fullmatch(name):
        raise ValueError(f"the name or the IP address of a host expected, not {name or 'nothing'}")
    try:
        _ = urlsplit(f"//{name}").hostname  # a ValueError for what is no IPv6 address
        name.encode("idna")
    except ValueError:
        raise ValueError(f"the name or the IP address of a host expected, not {name}") from None


def odd_port(url: str) -> str:
    """Say that the port is the usual one of the other scheme, http or https; "" if it is not."""
    found = urlsplit(url)
    if (found.scheme, found.port) == ("http", 443):
        return "port 443 is that of https: write https:// if the server speaks that there"
    if (found.scheme, found.port) == ("https", 80):
        return "port 80 is that of http: write http:// if the server speaks that there"
    return ""
