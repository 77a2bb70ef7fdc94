"""The page in a browser: headless Chromium opens the report from disk and a reader uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.report.conftest import HOSTILE, IDS, TITLES, write_problems, write_results
from vml_bench.report import write_report
from vml_bench.store import layout

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PINV, DPS = TITLES["pinv"], TITLES["dps"]
PATIENCE = 120_000
"""Milliseconds that an action may take on a busy machine."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report, alone: nothing that it needs lies elsewhere."""
    return alone(tmp_path_factory, write_results)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of two problems under one task name."""
    return alone(tmp_path_factory, write_problems)


def alone(tmp_path_factory: pytest.TempPathFactory, write: Callable[[Path], None]) -> Path:
    """Write results and a report; leave the report's folder alone."""
    results = tmp_path_factory.mktemp("results")
    write(results)
    write_report(results)
    left = tmp_path_factory.mktemp("alone") / "report"
    shutil.move(results / "report", left)
    shutil.rmtree(results)
    return left


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    """Headless Chromium; where there is none the tests are skipped, except in CI, which must have it."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no Chromium here (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu"]
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PATIENCE)
        yield chromium
        chromium.close()


class Reader:
    """A page, its console's complaints, and what it asked for."""

    def __init__(
        self, browser: playwright.Browser, report: Path, size: dict[str, int], address: str, scheme: str
    ) -> None:
        self.context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=size is PHONE)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("requestfailed", self.failed)
        self.home = report.as_uri()
        self.page.goto(f"{self.home}/index.html#{address}")
        self.panel = self.page.locator("section.panel:not([hidden])")

    def failed(self, request: playwright.Request) -> None:
        """A request that came to nothing, unless the reader left before it ended."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def show(self, dataset: str) -> None:
        self.page.click(f'nav.sets a[data-panel="{dataset}"]')

    def column(self, task: str, name: str) -> list[str]:
        """What stands in a column of a task's leaderboard, of the rows in sight."""
        rows = self.panel.locator(f'section.task[data-task="{task}-0.05"] tbody tr:not([hidden])')
        return [text.strip() for text in rows.locator(name).all_inner_texts()]

    def methods(self, task: str = "sr4") -> list[str]:
        return self.column(task, "th.name")

    def images(self) -> playwright.Locator:
        """The image browser, scrolled to and filled."""
        part = self.panel.locator(".part.images")
        part.scroll_into_view_if_needed()
        part.locator(".extremes figure").first.wait_for()
        return part


@pytest.fixture
def read(browser: playwright.Browser, report: Path) -> Iterator[Callable[..., Reader]]:
    """Open the report for a reader; afterwards none has met an error or left the folder."""
    readers: list[Reader] = []

    def opened(
        size: dict[str, int] = DESK,
        dataset: str = "toy",
        scheme: str = "light",
        page: Path = report,
        address: str | None = None,
    ) -> Reader:
        readers.append(Reader(browser, page, size, address or f"set-{dataset}", scheme))
        return readers[-1]

    yield opened
    for reader in readers:
        reader.page.wait_for_load_state("networkidle")
        assert reader.complaints == []
        assert reader.asked
        assert [url for url in reader.asked if not url.startswith((f"{reader.home}/", "data:", "blob:"))] == []
        assert reader.page.evaluate("window.hacked") is None
        reader.context.close()


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
    assert not dialog.is_visible()
    row.locator("th a").focus()
    reader.page.keyboard.press("ArrowRight")
    assert reader.page.evaluate("document.activeElement.closest('td').dataset.column") == "psnr"
    reader.page.keyboard.press("ArrowDown")
    reader.page.keyboard.press("Enter")
    dialog.locator("dl").wait_for()
    assert HOSTILE in dialog.inner_text()
    dialog.locator(".close").click()
    assert reader.page.evaluate("document.activeElement.closest('tr').dataset.method") == HOSTILE


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


def test_the_plot_comes_when_it_is_near_and_follows_the_filters(read):
    reader = read({"width": 1440, "height": 400})
    assert not [url for url in reader.asked if url.endswith(("plotly.min.js", "deblur_gauss-0.05.js"))]
    chart = reader.panel.locator(".chart")
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    shown = "e => e.data.filter((trace) => trace.mode === 'markers').map((trace) => trace.text)"
    assert chart.evaluate(shown) == [[PINV, f"{DPS}<br>1 diverged, left out", "&lt;script&gt;window.hacked=1"]] * 2
    assert HOSTILE in reader.panel.locator(".plot .key").inner_text()
    reader.panel.locator('.plot [data-choice="task"]').select_option("sr4-0.05")
    reader.panel.locator('[data-choice="quality"]').select_option("psnr")
    reader.panel.locator('[data-choice="compute"]').select_option("seconds")
    assert chart.evaluate("e => e.layout.yaxis.title.text") == "PSNR ↑ (dB)"
    error = chart.evaluate("e => e.data.find((trace) => trace.mode === 'markers').error_y")
    assert error["array"][0] > 0
    reader.panel.locator('.chips input[value="dps"]').uncheck()
    assert [len(texts) for texts in chart.evaluate(shown)] == [2]


def test_points_of_equal_compute_and_quality_stand_side_by_side(read, problems):
    reader = read(page=problems)
    chart = reader.panel.locator(".chart")
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    reader.panel.locator('.plot [data-choice="quality"]').select_option("ssim")
    (marks,) = [
        trace
        for trace in chart.evaluate("e => e.data.filter((trace) => trace.mode === 'markers')")
        if len(trace["text"]) == 3
    ]
    assert len(set(marks["y"])) == 1
    assert {compute for _, compute in marks["customdata"]} == {20}
    assert len(set(marks["x"])) == 3


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


def test_what_was_claimed_stands_beside_what_was_measured(read):
    reader = read(dataset="celebahq256")
    claim = reader.panel.locator(".claim").filter(has_text="Face inpainting")
    assert "0.208" in claim.inner_text()
    assert claim.locator('.verdict[data-verdict="reproduced"]').count() == 1
    reader.show("ffhq256")
    assert (
        reader.panel.locator(".claim").filter(has_text="Gaussian Deblurring").first.inner_text().count("not run") == 1
    )


def test_each_problem_is_a_choice_of_plot_and_browser_and_own_scores_are_offered(read, problems):
    reader = read(page=problems)
    part = reader.images()
    known = ["sr4 · factor 2, σ_y = 0.05", "sr4 · factor 4, σ_y = 0.05"]
    assert sorted(part.locator('[data-choice="task"] option').all_inner_texts()) == known
    part.locator('[data-choice="task"]').select_option(label=known[1])
    part.locator('[data-choice="right"] option', has_text="eta=0.5").wait_for(state="attached")
    part.locator('[data-choice="score"]').select_option("sharp")
    section = part.locator(".extremes section").filter(has_text="eta=0.5")
    assert section.locator("figcaption").all_inner_texts() == ["worst 10.0", "median 20.0", "best 30.0"]
    assert section.locator("h4 .dot.hollow").count() == 1
    plot = reader.panel.locator(".part.plot")
    assert sorted(plot.locator('[data-choice="task"] option').all_inner_texts()[1:]) == known
    plot.locator('[data-choice="task"]').select_option(label=known[1])
    plot.locator(".main-svg").first.wait_for()
    symbols = plot.locator(".chart").evaluate("e => e.data.find((t) => t.mode === 'markers').marker.symbol")
    assert symbols[:2] == ["circle", "circle-open"]
    plot.locator('[data-choice="quality"]').select_option("sharp")
    assert plot.locator(".chart").evaluate("e => e.layout.yaxis.title.text").startswith("&lt;b&gt;sharp")


def test_the_command_of_a_run_is_there_to_be_copied(read, problems):
    reader = read(page=problems)
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    reader.panel.locator('tr[data-label*="eta=0.5"] th a').click()
    command = reader.page.locator("dialog.provenance .command")
    assert command.locator("code").inner_text().startswith("vml-bench run task=sr4")
    command.locator("button").click()
    command.locator("button", has_text="copied").wait_for()
    assert reader.page.evaluate("navigator.clipboard.readText()") == command.locator("code").inner_text()


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
    assert "run=" not in again.page.url
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
    assert not tip.is_visible()


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
