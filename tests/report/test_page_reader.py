"""How a reader moves through the page in a browser: its address, its theme, a telephone."""

from __future__ import annotations

import pytest

from tests.report.conftest import DPS, HOSTILE, PHONE, PINV


def test_the_theme_follows_the_system_until_it_is_chosen(read):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert read(scheme="dark").page.evaluate(ground) == "rgb(20, 22, 26)"
    reader = read()
    assert reader.page.evaluate(ground) == "rgb(251, 251, 249)"
    button = reader.page.locator("button.theme")
    assert button.get_attribute("aria-pressed") == "false"
    button.press("Enter")
    assert reader.page.evaluate(ground) == "rgb(20, 22, 26)"
    assert button.get_attribute("aria-pressed") == "true"
    reader.page.reload()
    assert reader.page.evaluate(ground) == "rgb(20, 22, 26)"


@pytest.mark.parametrize("dataset", ["toy", "celebahq256", "ffhq256"])
def test_a_phone_sees_everything_without_scrolling_sideways(read, dataset):
    reader = read(PHONE, dataset)
    if dataset == "toy":
        reader.images()
        reader.panel.locator(".filters summary").click()
        reader.panel.locator(".methods details summary").first.click()
        reader.panel.locator(".chart .main-svg").first.wait_for()
    widths = reader.page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
    assert max(widths) <= PHONE["width"]
    wide = "(e) => e.getBoundingClientRect().right"
    for part in reader.panel.locator(".part").all():
        assert part.evaluate(wide) <= PHONE["width"]


def test_the_address_holds_what_was_filtered_sorted_plotted_compared_and_opened(read):
    reader = read()
    reader.panel.locator('.chips input[value="dps"]').uncheck()
    reader.panel.locator('.chips input[value="memory_mb"]').check()
    reader.panel.locator('section.task[data-task="sr4-0.05"] th[data-sort="psnr"] button').click()
    reader.panel.locator('.plot [data-choice="quality"]').select_option("psnr")
    part = reader.images()
    part.locator('[data-choice="task"]').select_option("sr4-0.05")
    part.locator('.layer.left img[src*="measurements/toy/sr4/"]').wait_for()
    part.locator('[data-choice="left"]').select_option(label="ground truth")
    part.locator('[data-choice="order"]').select_option("worst")
    part.locator('[data-step="1"]').click()
    seen = part.locator(".image-name").inner_text()
    reader.panel.locator("section.task tbody tr:not([hidden]) th a").first.click()
    reader.page.locator("dialog.provenance dl").wait_for()
    address = reader.page.url.partition("#")[2]
    assert address.startswith("set-toy?")

    again = read(address=address)
    assert again.methods() == [HOSTILE, PINV]
    assert again.column("sr4", 'td[data-column="memory_mb"] a') == ["100", "100"]
    assert again.panel.locator('.plot [data-choice="quality"]').input_value() == "psnr"
    dialog = again.page.locator("dialog.provenance")
    dialog.locator("dl").wait_for()
    assert HOSTILE in dialog.inner_text()
    again.page.keyboard.press("Escape")
    again.page.wait_for_url(lambda url: "run=" not in url)  # the dialog tells of its end a moment after it
    part = again.images()
    assert part.locator(".image-name").inner_text() == seen
    chosen = {name: part.locator(f'[data-choice="{name}"]').input_value() for name in ("task", "order", "left")}
    assert chosen == {"task": "sr4-0.05", "order": "worst", "left": "0"}


def test_an_address_that_is_typed_into_an_open_page_is_followed(read):
    reader = read()
    reader.page.evaluate("location.hash = '#table-toy?sort=psnr&toggled=method:dps'")
    reader.panel.locator('th[data-sort="psnr"][aria-sort="ascending"]').first.wait_for()
    assert reader.methods() == [PINV, HOSTILE]
    reader.page.evaluate("location.hash = '#table-toy?run=../../elsewhere/'")
    reader.panel.locator('tr[data-method="dps"] th').first.wait_for()
    assert reader.methods() == [PINV, DPS, HOSTILE]
    assert not reader.page.locator("dialog.provenance").is_visible()
