"""The page in a real browser."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from gateway.frame import Frame, Stamp
from gateway.plugin import Batch
from tests.axe import violations
from tests.browser import Browser
from tests.pages import Present, dead, house, serving, troubled, value
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("chromium")


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path) as browser:
        yield browser


def address(page) -> str:
    return f"http://127.0.0.1:{page.address[1]}/"


def text(browser: Browser, selector: str) -> str:
    return browser.evaluate(f"document.querySelector('{selector}').textContent")


def test_a_new_value_appears_by_itself_and_a_dead_sensor_becomes_a_dash(browser):
    present = Present([value(1), value(2, "flow")])
    with serving(present) as page:
        browser.go(address(page))
        assert text(browser, '[data-key="9/1"] .number') == "11.8"
        wait_until(lambda: present.flags)
        present.change(value(1, value=12.4), dead(2, "flow"))
        present.how = troubled("sensor2 (flow): no answer")
        wait_until(lambda: text(browser, '[data-key="9/1"] .number') == "12.4")
        wait_until(lambda: text(browser, '[data-key="9/2"] .number') == "\u2013")
        assert "last 11.8 3 h ago" in text(browser, '[data-key="9/2"] .when')
        wait_until(lambda: text(browser, "#headline") == "2 things are wrong")
        assert "bridge: sensor2" in text(browser, "#troubles")
        present.change(*present.now, value(3, "return"))
        wait_until(lambda: browser.evaluate("document.querySelectorAll('.tile').length") == 3)
        assert browser.said == []


def test_while_the_page_is_hidden_nothing_follows_and_then_it_does_again(browser):
    present = Present([value(1)])
    with serving(present) as page:
        browser.go(address(page))
        wait_until(lambda: page._live._clients == 1)
        browser.evaluate(HIDDEN % "true")

        def has_left() -> bool:
            present.change(value(1, value=time.monotonic()))
            return page._live._clients == 0

        wait_until(has_left)
        present.change(value(1, value=3.5))
        assert text(browser, '[data-key="9/1"] .number') != "3.5"
        browser.evaluate(HIDDEN % "false")
        wait_until(lambda: text(browser, '[data-key="9/1"] .number') == "3.5")
        assert browser.said == []


def test_a_gateway_that_is_gone_is_said_until_it_is_back(browser):
    present, port = Present([value(1)]), str(free_port())
    with serving(present, port=port) as page:
        browser.go(address(page))
        wait_until(lambda: page._live._clients == 1)
        assert text(browser, "#headline") == "All is well"
    wait_until(lambda: text(browser, "#headline") == "Not reached")
    assert browser.evaluate("document.getElementById('status').className") == "status bad"
    assert text(browser, "#troubles").startswith("the gateway does not answer")
    with serving(present, port=port):
        wait_until(lambda: text(browser, "#headline") == "All is well")
        assert browser.evaluate("document.getElementById('status').className") == "status good"


HIDDEN = """
Object.defineProperty(document, 'hidden', {value: %s, configurable: true});
document.dispatchEvent(new Event('visibilitychange'));
"""


def test_hostile_labels_are_text_live_as_well(browser):
    hostile = "<img src=x onerror=alert(1)>"
    present = Present([value(1, hostile)])
    with serving(present) as page:
        browser.go(address(page))
        wait_until(lambda: present.flags)
        present.how = troubled(hostile)
        present.change(replace(present.now[0], value=1.0))
        wait_until(lambda: hostile in text(browser, "#troubles"))
        assert browser.evaluate("document.images.length") == 0
        assert browser.said == []


def test_without_script_the_figures_and_curves_are_there(browser):
    with serving(Present(house(9, 1))) as page:
        browser.without_script()
        browser.go(address(page))
        assert browser.said == []
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    names = {node["name"]["value"] for node in tree if node.get("name", {}).get("value")}
    assert {"23.1", "return", "All is well"} <= names


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (768, False), (1440, True)])
def test_nothing_is_wider_than_the_screen(browser, width, dark):
    long = value(5, "power", value=-123_456_789_012.0, unit="kilowatt-hours")
    wide = value(4, "a label that is longer than any tile" * 2, value=-123_456_789.0, unit="kilowatts")
    with serving(Present([*house(12, 3), wide, long], troubled("x" * 200))) as page:
        browser.look(width, 900, dark=dark)
        browser.go(address(page))
        for size in ("100%", "200%"):
            browser.evaluate(f"document.documentElement.style.fontSize = '{size}'")
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            assert browser.evaluate(CUT_OFF) == []


def test_the_least_and_the_greatest_of_a_meter_do_not_run_together(browser):
    meter = value(1, "pulse", value=24_176_543.0, hour=(24_176_012.0, 24_176_543.0), unit="")
    with serving(Present([meter, value(2)])) as page:
        browser.look(390, 844)
        browser.go(address(page))
        assert browser.evaluate(RANGE) == [1, 1]


RANGE = """
[...document.querySelectorAll('.tile .range > span')].slice(0, 2).map((each) => {
  const parts = document.createRange();
  parts.selectNodeContents(each);
  return new Set([...parts.getClientRects()].map((part) => part.top)).size;
})
"""
"""The lines that the least and the greatest of the first tile take: an arrow belongs to its number."""

CUT_OFF = """
[...document.querySelectorAll('.tile *')].filter((each) => {
  const tile = each.closest('.tile').getBoundingClientRect(), box = each.getBoundingClientRect();
  return box.width > 0 && (box.right > tile.right || box.left < tile.left);
}).map((each) => each.outerHTML)
"""


def told_apart(browser: Browser, url: str, *, dark: bool) -> None:
    """Load a page in a colour scheme, and have axe-core look at it on a phone and on a wide screen."""
    for width in (360, 1440):
        browser.look(width, 900, dark=dark)
        browser.go(url)
        assert violations(browser) == []


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_on_the_page_a_chart_and_where_there_is_no_answer(browser, tmp_path, dark):
    present = Present([*house(9, 2), value(10, "x" * 60)], troubled("sensor1: no answer"))
    with serving(present, tmp_path) as page:
        page.send(Batch(frames(), [*range(1, 101)], ["a"] * 100))
        told_apart(browser, address(page), dark=dark)
        for span in ("24h", "2y"):
            told_apart(browser, f"{address(page)}chart?node=9&index=1&span={span}&tz=UTC", dark=dark)
        told_apart(browser, f"{address(page)}chart?node=9&index=1&tz=UTC", dark=dark)
    for values in ([], house(3)):
        with serving(Present(values)) as page:
            told_apart(browser, address(page), dark=dark)
            # as after a password that is not given, where headless Chromium shows nothing at all
            told_apart(browser, f"{address(page)}nothing", dark=dark)
            assert text(browser, "h1") == "Not Found"


def frames() -> list[Frame]:
    """Return a hundred minutes that are ten hours old."""
    now = time.time() // 300 * 300
    return [Frame("9", (float(n),), Stamp(now - 36000 + n * 60, "", 0.0)) for n in range(100)]


def test_a_tap_opens_the_chart_in_the_time_zone_of_the_browser_and_it_can_be_read(browser, tmp_path):
    browser.call("Emulation.setTimezoneOverride", timezoneId="Europe/Berlin")
    with serving(Present([value(1)]), tmp_path) as page:
        page.send(Batch(frames(), [*range(1, 101)], ["a"] * 100))
        browser.go(address(page))
        browser.evaluate("document.querySelector('.tile a').click()")
        wait_until(lambda: browser.evaluate("location.search.includes('tz=Europe')"))
        wait_until(lambda: browser.evaluate("document.querySelector('.chart')?.tabIndex === 0"))
        assert "Times are in Europe/Berlin." in text(browser, "figcaption")
        before = text(browser, "#read")
        key = "new KeyboardEvent('keydown', {key: 'End', bubbles: true})"
        browser.evaluate(f"document.querySelector('.chart').dispatchEvent({key})")
        assert "97 °C (95" in text(browser, "#read")
        browser.evaluate("document.querySelector('.chart').dispatchEvent(new PointerEvent('pointerleave'))")
        assert text(browser, "#read") == before
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.said == []


def test_a_chart_without_script_is_there_and_can_be_read(browser, tmp_path):
    with serving(Present([value(1)]), tmp_path) as page:
        page.send(Batch(frames(), [*range(1, 101)], ["a"] * 100))
        browser.without_script()
        browser.go(f"{address(page)}chart?node=9&index=1")
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
        names = {node["name"]["value"] for node in tree if node.get("name", {}).get("value")}
        assert any("Times are in the time zone of the gateway" in name for name in names)
        assert browser.said == []
