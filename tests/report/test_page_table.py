"""The page's tables in a browser: sorted, filtered, explained, copied, each number with its run."""

from __future__ import annotations

import pytest

from tests.report.conftest import DPS, HOSTILE, PHONE, PINV
from vml_bench.store import layout


def test_a_click_on_a_heading_sorts_every_task_and_a_second_turns_it_round(read):
    reader = read()
    assert reader.methods() == [PINV, DPS, HOSTILE]
    heading = reader.panel.locator('section.task[data-task="sr4-0.05"] th[data-sort="psnr"]')
    heading.locator("button").click()
    assert reader.methods("sr4") == reader.methods("deblur_gauss") == [DPS, HOSTILE, PINV]
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").press("Enter")
    assert reader.methods() == [PINV, HOSTILE, DPS]
    assert heading.get_attribute("aria-sort") == "ascending"
    reader.panel.locator('th[data-sort="lpips_alex"] button').first.click()
    assert reader.methods() == [HOSTILE, PINV, DPS]
    assert heading.get_attribute("aria-sort") is None


def test_filters_by_task_method_and_metric(read):
    reader = read()
    chip = reader.panel.locator(".chips input")
    chip.and_(reader.page.locator('[value="dps"]')).uncheck()
    assert reader.methods() == [PINV, HOSTILE]
    chip.and_(reader.page.locator('[value="deblur_gauss-0.05"]')).uncheck()
    assert reader.panel.locator("section.task:not([hidden])").count() == 1
    assert reader.panel.locator(".count").inner_text() == "2 rows"
    assert reader.column("sr4", 'td[data-column="ssim"] a') == ["0.500", "0.500"]
    chip.and_(reader.page.locator('[value="ssim"]')).uncheck()
    assert not reader.panel.locator('[data-column="ssim"]').first.is_visible()
    reader.panel.locator('[data-filter="method"] button[data-all=""]').click()
    assert reader.panel.locator(".empty").is_visible()
    reader.panel.locator('[data-filter="method"] button[data-all="1"]').click()
    assert reader.methods() == [PINV, DPS, HOSTILE]


def test_intervals_are_drawn_on_the_scale_of_the_rows_in_sight(read):
    reader = read()
    bar = reader.panel.locator('section.task[data-task="sr4-0.05"] tr[data-method="pinv"] td[data-column="psnr"] .bar')
    low, high = (bar.evaluate(f"e => parseFloat(e.style.getPropertyValue('--{end}'))") for end in ("low", "high"))
    assert 0 <= low < high <= 100
    reader.panel.locator('[data-filter="method"] button[data-all=""]').click()
    reader.panel.locator('.chips input[value="pinv"]').check()
    assert bar.evaluate("e => [e.style.getPropertyValue('--low'), e.style.getPropertyValue('--high')]") == [
        "0%",
        "100%",
    ]


def test_a_number_opens_the_run_it_comes_from_by_mouse_and_by_keyboard(read):
    reader = read()
    row = reader.panel.locator('section.task[data-task="sr4-0.05"] tr[data-method="dps"]')
    row.locator('td[data-column="psnr"] a').click()
    dialog = reader.page.locator("dialog.provenance")
    dialog.locator("dl").wait_for()
    text = dialog.inner_text()
    for words in ("29.33 dB", "PSNR", "toy / sr4 / dps / 1111111111", layout.RECORD, "noise_std"):
        assert words in text
    reader.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    row.locator("th a").focus()
    reader.page.keyboard.press("ArrowRight")
    assert reader.page.evaluate("document.activeElement.closest('td').dataset.column") == "psnr"
    reader.page.keyboard.press("ArrowDown")
    reader.page.keyboard.press("Enter")
    dialog.locator("dl").wait_for()
    assert HOSTILE in dialog.inner_text()
    dialog.locator(".close").click()
    assert reader.page.evaluate("document.activeElement.closest('tr').dataset.method") == HOSTILE


def test_what_was_claimed_stands_beside_what_was_measured(read):
    reader = read(dataset="celebahq256")
    claim = reader.panel.locator(".claim").filter(has_text="Face inpainting")
    assert "0.208" in claim.inner_text()
    assert claim.locator('.verdict[data-verdict="reproduced"]').count() == 1
    reader.show("ffhq256")
    assert (
        reader.panel.locator(".claim").filter(has_text="Gaussian Deblurring").first.inner_text().count("not run") == 1
    )


def test_the_command_of_a_run_is_there_to_be_copied(read, problems):
    reader = read(page=problems)
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    reader.panel.locator('tr[data-label*="eta=0.5"] th a').click()
    command = reader.page.locator("dialog.provenance .command")
    assert command.locator("code").inner_text().startswith("vml-bench run task=sr4")
    command.locator("button").click()
    command.locator("button", has_text="copied").wait_for()
    assert reader.page.evaluate("navigator.clipboard.readText()") == command.locator("code").inner_text()


def test_terms_and_methods_are_explained_where_they_are_pointed_at_or_focused(read):
    reader = read()
    tip = reader.page.locator("#tip")
    assert not tip.is_visible()
    reader.panel.locator('section.task th[data-sort="vjp"] button').first.hover()
    assert "Vector-Jacobian products" in tip.inner_text()
    name = reader.panel.locator('section.task tr[data-method="dps"] th a').first
    name.focus()
    assert "ICLR 2023" in tip.inner_text()
    assert name.get_attribute("aria-describedby") == "tip"
    reader.page.keyboard.press("Escape")
    tip.wait_for(state="hidden")


def test_a_phone_shows_the_metric_that_is_asked_for(read):
    reader = read(PHONE)

    def shown() -> list[str]:
        heads = reader.panel.locator("section.task").first.locator("th[data-column]")
        return [head.get_attribute("data-column") for head in heads.all() if head.is_visible()]

    assert shown() == ["lpips_alex", "nfe"]
    reader.panel.locator('[data-choice="metric"]').select_option("memory_mb")
    assert shown() == ["nfe", "memory_mb"]
    assert "metric=memory_mb" in reader.page.url


@pytest.mark.parametrize(
    ("kind", "first", "best"),
    [
        ("markdown", "| method | n | div. | PSNR ↑ dB | SSIM ↑ |", "| **25.50** |"),
        ("latex", "\\begin{tabular}{lrrrrrrrr}\n\\toprule\nmethod & n &", "& \\textbf{25.50} &"),
    ],
    ids=["markdown", "latex"],
)
def test_the_table_in_sight_is_copied_as_markdown_and_as_latex(read, kind, first, best):
    reader = read()
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if kind == "markdown":
        reader.panel.locator('.chips input[value="dps"]').uncheck()
    button = reader.panel.locator(f'section.task[data-task="sr4-0.05"] [data-table="{kind}"]')
    button.click()
    reader.panel.locator("button", has_text="copied").wait_for()
    text = reader.page.evaluate("navigator.clipboard.readText()")
    assert text.startswith(first)
    assert best in text
    assert (PINV in text, DPS in text) == (True, kind == "latex")
