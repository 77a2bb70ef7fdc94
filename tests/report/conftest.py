"""Small reports with everything in them that a page must cope with, and readers of them, with a browser and without."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.run_folders import write_run
from vml_bench.report import write_report
from vml_bench.store import layout

if TYPE_CHECKING:  # a browser may be missing
    from playwright import sync_api as playwright

HOSTILE = "<script>window.hacked=1"
"""A method whose name is markup."""
OWN = {"name": "sharp", "title": "<b>sharp", "better": 1, "digits": 1, "unit": "%"}
"""What a metric from outside the package declares."""
TITLES = {"pinv": "pseudo-inverse", "dps": "DPS", HOSTILE: HOSTILE}
"""What the page calls the methods: by their cards."""
IDS = ("plain", "a b#?%&'\"", "ü</script><b>", "UPPER")
"""Ids that file names and URLs do not take as they are; one of them names a folder."""
PINV, DPS = TITLES["pinv"], TITLES["dps"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 120_000
"""Milliseconds that an action may take on a busy machine."""


def write_results(results: Path) -> None:
    """Two tasks of three methods with pictures, one of which diverged; and a data set that papers speak of."""
    for task in ("sr4", "deblur_gauss"):
        shared = {"task": task, "ids": IDS, "pictures": True}
        write_run(results, "pinv", "0" * 10, psnr=(20, 21, 22, 23), lpips=(0.4, 0.3, 0.2, 0.1), **shared)
        dps = {"psnr": (31, 30, 29, 28), "lpips": (0.1, 0.2, 0.3, 0.4), "diverged": IDS[1:2]}
        write_run(results, "dps", "1" * 10, **dps, **shared)
        write_run(results, HOSTILE, "2" * 10, psnr=(26, 25, 24, 27), lpips=(0.2, 0.1, 0.3, 0.25), **shared)
    write_run(results, "vml_map_pre", dataset="celebahq256", task="inpaint_half", lpips=(0.2, 0.21, 0.22))


def write_problems(results: Path) -> None:
    """Two problems under one task name: of factor 4 with a variant, fewer images and own scores; and of factor 2."""
    write_run(results, "ddrm", "4" * 10, pictures=True)
    own = {"settings": {"eta": 0.5}, "columns": [OWN], "command": {"overrides": ["task=sr4"], "config_dir": None}}
    folder = write_run(results, "ddrm", "5" * 10, pictures=True, record=own)
    table = pd.read_parquet(folder / layout.TABLE).assign(sharp=[10.0, 30.0, 20.0])
    table.to_parquet(folder / layout.TABLE, index=False)
    few = {"ids": ("a", "b"), "psnr": (40.0, 41.0), "lpips": (0.01, 0.02), "pictures": True}
    prior = {"name": "mine", "hash": "ffffffffff", "form": {}}
    write_run(results, "dps", "6" * 10, record={"prior": prior}, **few)
    asked = {"operator": {"BlockAverage": {"factor": 2}}}
    write_run(results, "ddrm", "7" * 10, psnr=(30.0, 31.0, 32.0), pictures=True, asked=asked)


def write_unknown(results: Path) -> None:
    """Two runs of this project, and a better one of another program that took nobody knows how much."""
    ids = [f"image{i:02d}" for i in range(12)]
    steps = [0.002 * i for i in range(12)]
    for place, (method, lpips) in enumerate({"pinv": 0.5, "ddrm": 0.3, "external_theirs": 0.1}.items()):
        values = [lpips + step for step in (steps if place % 2 else steps[::-1])]
        about = {"title": "Theirs (external)", "family": "external"} if place == 2 else {}
        scores = {"ids": ids, "lpips": values, "psnr": [20 + place] * 12}
        folder = write_run(results, method, str(place) * 10, **scores, record={"about": about})
        if place == 2:
            table = pd.read_parquet(folder / layout.TABLE).assign(nfe=float("nan"), vjp=float("nan"))
            table.to_parquet(folder / layout.TABLE, index=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_results(tmp_path)
    return tmp_path


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, its text, its scripts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def carried(file: Path) -> tuple[str, str, dict]:
    """What a data script hands to the page."""
    call = re.fullmatch(r"vml\.put\((.*)\);\n", file.read_text(encoding="utf-8"), re.DOTALL)
    return tuple(json.loads(f"[{call[1]}]"))


def browser_data(report: Path, task: str = "sr4") -> dict:
    return carried(report / "data" / "toy" / f"{task}-0.05.js")[2]


def snapshot(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report, alone: nothing that it needs lies elsewhere."""
    return alone(tmp_path_factory, write_results)


@pytest.fixture(scope="session")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of two problems under one task name."""
    return alone(tmp_path_factory, write_problems)


@pytest.fixture(scope="session")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of runs of which one's compute is not known."""
    return alone(tmp_path_factory, write_unknown)


def alone(tmp_path_factory: pytest.TempPathFactory, write: Callable[[Path], None]) -> Path:
    """Write results and a report; leave the report's folder alone."""
    results = tmp_path_factory.mktemp("results")
    write(results)
    write_report(results)
    left = tmp_path_factory.mktemp("alone") / "report"
    shutil.move(results / "report", left)
    shutil.rmtree(results)
    return left


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    """Headless Chromium; where there is none the tests are skipped, except in CI, which must have it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing (pip install -e '.[dev]')")
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no Chromium here (apt-get install chromium)")
    with sync_api.sync_playwright() as started:
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
