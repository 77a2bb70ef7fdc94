"""The page's pictures in a browser: two beside each other, one under every method, the worst and the best."""

from __future__ import annotations

import pytest

from tests.report.conftest import DPS, HOSTILE, IDS, PINV


def test_the_slider_moves_by_arrow_keys_and_by_dragging(read):
    reader = read()
    part = reader.images()
    slider, frame = part.locator(".slider"), part.locator(".frame")
    cut = "e => parseFloat(getComputedStyle(e).getPropertyValue('--cut'))"
    assert frame.evaluate(cut) == 50
    slider.focus()
    for _ in range(4):
        reader.page.keyboard.press("ArrowRight")
    assert frame.evaluate(cut) == 52
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    middle = box["y"] + box["height"] / 2
    reader.page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    reader.page.mouse.down()
    reader.page.mouse.move(box["x"] + 0.25 * box["width"], middle, steps=3)
    reader.page.mouse.up()
    assert frame.evaluate(cut) == pytest.approx(25, abs=1)
    clip = part.locator(".layer.right").evaluate("e => getComputedStyle(e).clipPath")
    assert clip == f"inset(0px 0px 0px {slider.input_value()}%)"


def test_pictures_enlarge_by_whole_pixels(read):
    reader = read()
    part = reader.images()
    picture = part.locator(".layer.right img")
    before = picture.bounding_box()["width"]
    part.locator('[data-zoom="in"]').click()
    assert part.locator("output.scale").inner_text() == "2×"
    assert picture.bounding_box()["width"] == pytest.approx(2 * before)
    assert picture.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    part.locator(".frame").press("0")
    assert picture.bounding_box()["width"] == pytest.approx(before)


def test_any_two_pictures_compare_and_each_image_has_its_scores(read):
    reader = read()
    part = reader.images()
    part.locator('[data-choice="task"]').select_option("sr4-0.05")
    labels = part.locator('[data-choice="left"] option').all_inner_texts()
    assert labels == ["ground truth", "measurement", PINV, DPS, HOSTILE]
    part.locator('[data-choice="left"]').select_option(label="ground truth")
    part.locator('[data-choice="right"]').select_option(label=DPS)
    sources = [part.locator(f".layer.{side} img").get_attribute("src") for side in ("left", "right")]
    assert sources[0].startswith("originals/toy/")
    assert sources[1].startswith("runs/toy/sr4/dps/")
    assert part.locator(".layer.right img").evaluate("e => e.decode().then(() => e.naturalWidth)") == 8
    names = []
    for _ in IDS:
        names.append(part.locator(".image-name").inner_text())
        part.locator('[data-step="1"]').click()
    assert names == list(IDS)
    part.locator('[data-step="1"]').click()
    scores = part.locator("table.scores tbody tr").all_inner_texts()
    assert scores[0].split()[:4] == [PINV, "21.00", "0.500", "0.300"]
    assert "diverged" in scores[1]
    assert "diverged" in part.locator(".tag.right").inner_text()


def test_extremes_show_the_diverged_first_and_open_in_the_viewer(read):
    reader = read()
    part = reader.images()
    sections = part.locator(".extremes section")
    assert [name.strip() for name in sections.locator("h4").all_inner_texts()] == [DPS, PINV, HOSTILE]
    captions = sections.first.locator("figcaption").all_inner_texts()
    assert [caption.split()[0] for caption in captions] == ["diverged", "worst", "median", "best"]
    assert captions[1:] == ["worst 0.400", "median 0.300", "best 0.100"]
    sections.nth(1).locator("figure button").first.click()
    assert part.locator(".image-name").inner_text() == IDS[0]
    assert part.locator(".tag.right").inner_text() == f"{PINV} 0.400"
    part.locator('[data-choice="score"]').select_option("psnr")
    assert sections.first.locator("figcaption").all_inner_texts()[1:] == ["worst 28.00", "median 29.00", "best 31.00"]
    part.locator('[data-choice="right"]').select_option(label=DPS)
    part.locator('[data-choice="order"]').select_option("worst")
    assert [button.get_attribute("title") for button in part.locator(".strip button").all()] == [
        *(IDS[1], IDS[3], IDS[2], IDS[0])
    ]
    assert part.locator(".image-name").inner_text() == IDS[1]


def test_one_image_stands_beside_itself_under_every_method_and_a_click_enlarges_it(read):
    reader = read()
    part = reader.images()
    tiles = part.locator(".grid figure")
    assert tiles.locator("b").all_inner_texts() == ["ground truth", "measurement", PINV, DPS, HOSTILE]
    assert tiles.nth(2).locator("span").inner_text() == "0.400"
    tiles.nth(3).locator("button").click()
    assert part.locator(".tag.right b").inner_text() == DPS
    reader.panel.locator('.chips input[value="pinv"]').uncheck()
    assert tiles.locator("b").all_inner_texts() == ["ground truth", "measurement", DPS, HOSTILE]
