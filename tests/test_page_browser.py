"""The page in a real browser."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from gateway.frame import Frame, Stamp
from gateway.plugin import Batch
from tests.browser import Browser
from tests.pages import Present, dead, house, serving, troubled, value
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
    wide = value(4, "a label that is longer than any tile" * 2, value=-123_456_789.0, unit="kilowatts")
    with serving(Present([*house(12, 3), wide], troubled("x" * 200))) as page:
        browser.look(width, 900, dark=dark)
        browser.go(address(page))
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        browser.evaluate("document.documentElement.style.fontSize = '200%'")
        assert browser.evaluate("document.documentElement.scrollWidth") == width


CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.children.length === 0 && e.textContent.trim())
    .map((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.className, e.textContent];
    }).filter(([contrast]) => contrast < 4.5);
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(browser, dark):
    with serving(Present(house(9, 2), troubled("sensor1: no answer"))) as page:
        browser.look(360, 900, dark=dark)
        browser.go(address(page))
        assert browser.evaluate("document.querySelectorAll('body *').length") > 50
        assert browser.evaluate(CONTRAST) == []


def test_a_tap_opens_the_chart_in_the_time_zone_of_the_browser_and_it_can_be_read(browser, tmp_path):
    browser.call("Emulation.setTimezoneOverride", timezoneId="Europe/Berlin")
    now = time.time() // 300 * 300
    frames = [Frame("9", (float(n),), Stamp(now - 36000 + n * 60, "", 0.0)) for n in range(100)]
    with serving(Present([value(1)]), tmp_path) as page:
        page.send(Batch(frames, [*range(1, 101)], ["a"] * 100))
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


@pytest.mark.parametrize("dark", [False, True])
def test_a_chart_without_script_is_there_and_can_be_read(browser, tmp_path, dark):
    now = time.time() // 300 * 300
    frames = [Frame("9", (float(n),), Stamp(now - 36000 + n * 60, "", 0.0)) for n in range(100)]
    with serving(Present([value(1)]), tmp_path) as page:
        page.send(Batch(frames, [*range(1, 101)], ["a"] * 100))
        browser.look(360, 700, dark=dark)
        browser.go(f"{address(page)}chart?node=9&index=1&tz=UTC")
        assert browser.evaluate(CONTRAST) == []
        browser.without_script()
        browser.go(f"{address(page)}chart?node=9&index=1")
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
        names = {node["name"]["value"] for node in tree if node.get("name", {}).get("value")}
        assert any("Times are in the time zone of the gateway" in name for name in names)
        assert browser.said == []
