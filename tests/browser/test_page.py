"""The page of an experiment in headless Chromium: what can be sorted, opened, searched and chosen."""

import pytest
from in_browser import choose, opened, texts

pytestmark = pytest.mark.browser


def numbers(page, selector):
    return [float(text.rstrip("abcdef")) for text in texts(page, selector)]  # the letter of a footnote may follow


def test_a_click_sorts_inside_each_section(page):
    column = "#shown table tbody:nth-of-type(2) tr:not(.section) td:nth-of-type(1)"
    head = page.find_elements("css selector", "#shown thead tr:last-child button")[1]
    before = numbers(page, column)
    head.click()
    assert numbers(page, column) == sorted(before, reverse=True)
    head.click()
    assert numbers(page, column) == sorted(before)
    assert texts(page, "#shown tbody:first-of-type th[scope=row]") == ["Unpruned"]


def test_a_number_shows_its_provenance(page):
    page.find_element("css selector", "#shown button.cell").click()
    dialog = page.find_element("id", "provenance")
    assert dialog.is_displayed()
    assert "llava-1.5-7b / none / gqa" in dialog.text
    assert "tops run backbone=llava-1.5-7b method=none benchmark=gqa profile=miniature" in dialog.text
    assert "run.versions.torch" in dialog.text
    dialog.find_element("css selector", "form button").click()
    assert not dialog.is_displayed()


def test_documents_are_filtered_by_outcome(page):
    everything = len(texts(page, "#list li"))
    choose(page, "f-outcome", "right")
    right = len(texts(page, "#list li"))
    choose(page, "f-outcome", "wrong")
    wrong = len(texts(page, "#list li"))
    assert right + wrong == everything
    assert right
    assert wrong
    choose(page, "f-outcome", "lost: unpruned right, pruned wrong")
    assert 0 < len(texts(page, "#list li")) <= wrong
    choose(page, "f-benchmark", "GQA")
    assert all("GQA" in small for small in texts(page, "#list small"))


def test_a_document_opens_with_the_tokens_that_were_kept(page):
    page.find_element("css selector", "#list button").click()
    assert "<script>alert" in page.find_element("css selector", "#viewer h3").text
    assert any(text.startswith("from layer 4: 32") for text in texts(page, "#viewer .stages button"))
    pixels = "const c = document.querySelector('canvas'); return c.toDataURL()"
    kept = page.execute_script(pixels)
    page.find_element("css selector", "#viewer .stages button").click()
    assert page.execute_script(pixels) != kept
    methods = texts(page, "#viewer tbody td:first-child")
    assert methods == ["Unpruned", "DivPrune", "VisionZip", "TOPS", "Random"]


def test_another_budget_keeps_the_method_and_the_open_document(page):
    choose(page, "f-method", "DivPrune")
    page.find_element("css selector", "#list button").click()
    question = page.find_element("css selector", "#viewer h3").text
    level = page.find_elements("css selector", "#f-level option")[1]
    choose(page, "f-level", level.text)
    assert page.execute_script("const m = document.getElementById('f-method'); return m.selectedOptions[0].text") == (
        "DivPrune"
    )
    assert page.find_element("css selector", "#viewer h3").text == question


def test_nothing_from_data_becomes_markup_and_nothing_is_fetched(page):
    assert "</title><script>" in page.title
    assert page.title.startswith("Miniature: ")
    assert page.execute_script("return document.querySelectorAll('script').length") == 2
    assert (
        page.execute_script(
            "return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length"
        )
        == 0
    )


def test_a_phone_does_not_scroll_sideways(page):
    page.set_window_size(500, 850)
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        wide = page.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 375
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.set_window_size(1280, 1000)


def test_dark_and_light(page):
    back = "return getComputedStyle(document.body).backgroundColor"
    light = page.execute_script(back)
    page.find_element("id", "theme").click()
    assert light == "rgb(255, 255, 255)"
    assert page.execute_script(back) == "rgb(20, 24, 31)"


def test_search_finds_questions_and_answers(page):
    everything = len(texts(page, "#list li"))
    search = page.find_element("id", "f-search")
    search.send_keys("alert(3)")
    found = texts(page, "#list button")
    assert 0 < len(found) < everything
    assert all("alert(3)" in text for text in found)


def test_arrow_keys_go_through_the_list_and_the_address_names_the_document(page, address):
    from selenium.webdriver.common.keys import Keys

    buttons = page.find_elements("css selector", "#list button")
    page.execute_script("arguments[0].click(); arguments[0].focus()", buttons[0])
    buttons[0].send_keys(Keys.ARROW_DOWN)
    second = page.find_element("css selector", "#viewer .permalink").text
    assert second == texts(page, "#list small")[1].replace(" \u00b7 ", ", ")
    link = page.find_element("css selector", "#viewer .permalink").get_attribute("href")
    page.get("about:blank")
    opened(page, link)
    assert page.find_element("css selector", "#viewer .permalink").text == second


def test_two_methods_stand_side_by_side_and_the_reading_is_shown(page):
    choose(page, "f-method", "DivPrune")
    choose(page, "f-other", "TOPS")
    page.execute_script("arguments[0].click()", page.find_element("css selector", "#list button"))
    assert texts(page, "#viewer .panel h4") == ["DivPrune", "TOPS"]
    assert texts(page, "#viewer thead th") == ["Method", "Answer", "Read as", "", "Tokens"]
    choose(page, "f-outcome", "the scorer could not read it")
    if texts(page, "#list button"):
        page.execute_script("arguments[0].click()", page.find_element("css selector", "#list button"))
        assert "unreadable" in texts(page, "#viewer tbody tr[aria-selected=true] td:nth-of-type(3)")


def test_a_table_is_one_stop_and_arrow_keys_go_from_number_to_number(page):
    from selenium.webdriver.common.keys import Keys

    region = page.find_element("css selector", "#shown .scroll")
    page.execute_script("arguments[0].focus()", region)
    region.send_keys(Keys.ARROW_DOWN)
    at = "return document.activeElement.textContent.trim()"
    assert page.execute_script(at) == "Method"
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    number = page.execute_script(at)
    assert float(number) >= 0
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.find_element("id", "provenance").is_displayed()


def test_every_table_prints_whole_and_head_and_first_column_stay_in_sight(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    cut = "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollHeight > e.clientHeight + 1).length"
    assert page.execute_script(cut) == 0
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    style = "return getComputedStyle(document.querySelector(arguments[0])).position"
    assert page.execute_script(style, "#shown thead") == "sticky"
    assert page.execute_script(style, "#shown tbody th[scope=row]") == "sticky"


def test_a_phone_shows_the_page_without_scrolling_sideways(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    wide = page.execute_script("return document.documentElement.scrollWidth")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 390
