"""What tests in a browser share: an experiment to show, and how a page is opened and used."""

from tops.settings.schema import ColumnConfig, Experiment, PaperReference, RowConfig

BACKBONE = "llava-1.5-7b"
EXPERIMENT = Experiment(
    name="shown",
    title="</title><script>alert('title')</script>",
    backbones=(BACKBONE,),
    benchmarks=(ColumnConfig("gqa", "gqa"), ColumnConfig("pope", "pope")),
    rows=(
        RowConfig(("none",), "reference", levels=()),
        RowConfig(("divprune", "visionzip", "tops")),
        RowConfig(("random",), "control"),
    ),
    levels={"77.8": {BACKBONE: 128}, "88.9": {BACKBONE: 64}},
    paper=PaperReference(tables=(11,)),
)


def opened(chrome, address):
    """Load a page and wait until its data is unpacked."""
    from selenium.webdriver.support.wait import WebDriverWait

    chrome.get(address)
    WebDriverWait(chrome, 30).until(lambda c: c.execute_script("return document.documentElement.dataset.ready"))


def texts(page, selector):
    return [e.text for e in page.find_elements("css selector", selector)]


def choose(page, name, text):
    page.execute_script(
        "const s = document.getElementById(arguments[0]);"
        "s.value = [...s.options].find((o) => o.textContent === arguments[1]).value;"
        "s.dispatchEvent(new Event('change'))",
        name,
        text,
    )
