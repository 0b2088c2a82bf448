"""A browser, and the page of an experiment in it."""

import shutil

import pytest
from in_browser import EXPERIMENT, opened
from synthetic_store import fill

from tops.planning.plan import plan
from tops.reporting.build import build
from tops.reporting.data.results import collect


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    root, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("reports")
    fill(root, EXPERIMENT, documents=40, hostile=True, pictures=True)
    build(collect(plan(EXPERIMENT, "miniature", results=root), root), out)
    return (out / "shown.html").as_uri()


@pytest.fixture(scope="session")
def chrome():
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("Chromium or its driver is not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "no-first-run",
        "force-prefers-reduced-motion",
        "window-size=1280,1000",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def page(chrome, address):
    chrome.get("about:blank")
    opened(chrome, address)
    yield chrome
    assert [entry for entry in chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
