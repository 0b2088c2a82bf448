"""How pages look in headless Chromium: contrast, print, phones, pictures of kept tokens, and a site as a whole."""

import base64
import re
import zlib

import pytest
from in_browser import choose, opened, texts
from synthetic_store import fill

from tops.planning.plan import plan
from tops.reporting.build import build
from tops.reporting.data.results import collect
from tops.reporting.site import build_site
from tops.settings.schema import ColumnConfig, Experiment, RowConfig

pytestmark = pytest.mark.browser

# Each text with too little contrast to what is really behind it, by the formula of WCAG 2: 4.5, or 3 where it is large.
FAINT = """
const rgb = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = rgb(getComputedStyle(at).backgroundColor);
    if (color[3] > 0) return color;
  }
  return [255, 255, 255, 1];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
let seen = 0;
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const words = walker.currentNode.textContent.trim();
  if (!words || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
  const style = getComputedStyle(node);
  const [a, b] = [light(rgb(style.color)), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize);
  const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  seen += 1;
  if (ratio < least) found.push(`${ratio.toFixed(2)}: ${words.slice(0, 30)} (${node.tagName})`);
}
return [seen, found];
"""


def faint(page):
    seen, found = page.execute_script(FAINT)
    assert seen > 100
    return sorted(set(found))


def in_theme(page, dark):
    page.execute_script("if (arguments[0] === (document.documentElement.dataset.theme !== 'dark')) theme.click()", dark)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_what_is_behind_it(page, dark):
    in_theme(page, dark)
    choose(page, "f-outcome", "wrong")
    page.execute_script("document.querySelector('#list button').click()")
    assert faint(page) == []
    page.execute_script("document.querySelector('#shown button.cell').click()")
    assert faint(page) == []
    page.execute_script(
        "document.documentElement.style.setProperty('--soft', arguments[0])", "#555" if dark else "#aaa"
    )
    assert faint(page) != []  # the measure does measure


def tags(page):
    """How often each kind of element stands in the page's PDF, which Chromium tags for screen readers."""
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    parts = [printed]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", printed, re.S):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    found = re.findall(rb"/S\s*/(\w+)", b"".join(parts))
    return {tag: found.count(tag) for tag in set(found)}


def test_print_holds_every_table_with_every_row_and_every_figure(page):
    shown = "return [...document.querySelectorAll('main table')].filter((t) => !t.closest('#documents')).length"
    rows = "return [...document.querySelectorAll('main tr')].filter((t) => !t.closest('#documents')).length"
    figures = "return document.querySelectorAll('main figure').length"
    found = tags(page)
    assert found[b"Table"] == page.execute_script(shown) >= 6
    assert found[b"TR"] >= page.execute_script(rows)  # a head is told again on each page
    assert found[b"Figure"] >= page.execute_script(figures) >= 1


def test_a_dark_page_prints_dark_on_white(page):
    in_theme(page, True)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    colors = page.execute_script("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert colors == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


def test_the_first_screen_has_a_verdict_the_table_and_the_curves(page):
    top = "return document.querySelector(arguments[0])?.getBoundingClientRect().top + scrollY"
    page.execute_script("scrollTo(0, 0)")
    places = [page.execute_script(top, selector) for selector in (".verdict", "#shown table", "#results figure")]
    assert places == sorted(places)
    assert places[1] < 700
    words = page.find_element("id", "account").text
    counts = [int(n) for n in re.findall(r"\d+", words)]
    assert counts[0] == sum(counts[1:])  # every place is accounted for


def test_terms_are_one_hover_or_one_link_away(page):
    assert page.find_element("css selector", "thead abbr").get_attribute("title")
    page.find_element("css selector", "nav a[href='#glossary']").click()
    assert "Rel" in texts(page, "#glossary dt")


def test_nothing_lies_outside_a_desktop_screen(page):
    page.set_window_size(1400, 1000)
    over = """const edge = document.documentElement.clientWidth + 1;
      return [...document.querySelectorAll('body *')]
        .filter((e) => e.checkVisibility() && !e.closest('.scroll, .skip') && e.getBoundingClientRect().right > edge)
        .map((e) => e.outerHTML.slice(0, 60))"""
    assert page.execute_script(over) == []
    page.set_window_size(1280, 1000)


def test_an_open_document_fits_a_phone(page):
    choose(page, "f-other", "TOPS")
    page.execute_script("document.querySelector('#list button').click()")
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide = page.execute_script("return document.documentElement.scrollWidth")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 390


TILED = Experiment(
    name="tiled",
    title="tiled",
    backbones=("internvl3-8b",),
    benchmarks=(ColumnConfig("gqa", "gqa"),),
    rows=(RowConfig(("none",), "reference", levels=()), RowConfig(("divprune",))),
    levels={"88.9": {"internvl3-8b": 0.11}},
    subject="divprune",
)


def test_kept_tokens_of_a_family_that_cuts_tiles_lie_on_their_tiles_and_on_the_overview(chrome, tmp_path):
    tiles = {"placing": "tiles", "sheets": [[0, i, 6, 6, 36 * i, 6] for i in range(5)]}  # 2 x 2, and a thumbnail
    kept = {"0": [*range(36), *range(144, 150)], "places": tiles}  # the first tile, and the thumbnail's first row
    fill(tmp_path, TILED, documents=4, pictures=True, kept=kept)
    build(collect(plan(TILED, "miniature", results=tmp_path), tmp_path), tmp_path / "out")
    opened(chrome, (tmp_path / "out" / "tiled.html").as_uri())
    choose(chrome, "f-method", "DivPrune")
    chrome.execute_script("document.querySelector('#list button').click()")
    assert any(": 42" in text for text in texts(chrome, "#viewer .stages button"))
    chrome.execute_script("[...document.querySelectorAll('#viewer .stages button')].pop().click()")
    from selenium.webdriver.support.wait import WebDriverWait

    bright = """const c = document.querySelector('#viewer canvas'), d = c.getContext('2d');
      const sum = ([x, y]) => {
        const [red, green, blue] = d.getImageData(x * c.width, y * c.height, 1, 1).data;
        return red + green + blue;
      };
      return arguments[0].map((at) => sum(at) > 250);"""
    at = [[0.1, 0.1], [0.4, 0.1], [0.4, 0.9], [0.75, 0.05], [0.75, 0.9]]  # of two views side by side
    WebDriverWait(chrome, 10).until(lambda c: c.execute_script(bright, at) == [True, False, False, True, False])


def test_a_site_leads_to_its_experiments_and_back(chrome, tmp_path):
    smoke = plan("smoke", "miniature", results=tmp_path)
    fill(tmp_path, smoke, documents=4)
    assert build_site("miniature", tmp_path, tmp_path / "site", say=lambda line: None) == []
    chrome.get_log("browser")  # what other tests left there
    opened(chrome, (tmp_path / "site" / "index.html").as_uri())
    assert "experiments have numbers" in chrome.find_element("css selector", ".verdict").text
    assert texts(chrome, "#experiments tbody:first-of-type tr")[0] == "With numbers"
    link = chrome.find_element("css selector", "#experiments tbody th a")
    assert link.get_attribute("href").endswith("smoke.html")
    for dark in (False, True):
        in_theme(chrome, dark)
        assert faint(chrome) == []
    chrome.find_element("css selector", "nav a[href='smoke.html']").click()
    chrome.find_element("css selector", "nav a[href='index.html']")
    chrome.find_element("css selector", "nav a[href='claims.html']").click()
    chrome.find_element("css selector", "nav a[href='index.html']").click()
    assert chrome.current_url.endswith("index.html")
    assert [entry for entry in chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
