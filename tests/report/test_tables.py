"""The report's tables, read without a browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd

from tests.report.conftest import (
    IDS,
    OWN,
    Page,
    browser_data,
    carried,
    write_problems,
)
from tests.run_folders import write_run
from vml_bench.report import write_report
from vml_bench.store import layout


def test_diverged_and_unfinished_images_have_a_status_and_no_scores(results):
    folder = results / "runs" / "toy" / "sr4" / "pinv" / ("0" * 10)
    pd.read_parquet(folder / layout.TABLE).iloc[:3].to_parquet(folder / layout.TABLE)
    index = write_report(results)[0]
    pinv, dps, _ = browser_data(index.parent)["restored"]
    assert dps["status"] == ["ok", "diverged", "ok", "ok"]
    assert dps["scores"]["psnr"] == [31, None, 29, 28]
    assert pinv["status"] == ["ok", "ok", "ok", "missing"]
    page = Page(index)
    assert len(page.with_class("diverged")) == 2
    assert any("still to come" in line for line in page.text.splitlines())


def test_infinite_scores_survive_json(results):
    folder = results / "runs" / "toy" / "sr4" / "pinv" / ("0" * 10)
    table = pd.read_parquet(folder / layout.TABLE).assign(psnr=[np.inf, 20, 20, 20])
    table.to_parquet(folder / layout.TABLE)
    assert browser_data(write_report(results)[0].parent)["restored"][0]["scores"]["psnr"][0] == "∞"


def test_a_task_without_pictures_has_a_table_and_no_browser(tmp_path):
    write_run(tmp_path)
    index = write_report(tmp_path)[0]
    page = Page(index)
    assert page.with_class("plot")
    assert not page.with_class("images")
    assert not list(index.parent.rglob("*.png"))


def test_scores_against_an_exact_posterior_are_columns_of_the_table(tmp_path):
    folder = write_run(tmp_path, dataset="gmm", asked={"reference": {"Oracle": {"samples": 256}}})
    table = pd.read_parquet(folder / layout.TABLE).drop(columns=["psnr", "ssim", "lpips_alex"])
    table.assign(map_gap=[0.1, 0.2, 0.3], map_distance=1.5, scene=["x", "y", "z"]).to_parquet(folder / layout.TABLE)
    page = Page(write_report(tmp_path)[0])
    cell = next(attrs for tag, attrs in page.tags if tag == "td" and attrs.get("data-column") == "map_gap")
    assert cell["data-value"] == "0.2"
    assert float(cell["data-low"]) < 0.2 < float(cell["data-high"])
    assert not page.with_class("images")


def test_every_number_leads_to_its_run(results):
    index = write_report(results)[0]
    page = Page(index)
    numbers = [attrs for tag, attrs in page.tags if tag == "a" and attrs.get("data-run")]
    assert len(numbers) > 30
    for attrs in numbers:
        assert attrs["href"] == f"{attrs['data-run']}{layout.RECORD}"
        kind, key, run = carried(index.parent / attrs["data-run"] / "provenance.js")
        assert (kind, key) == ("run", attrs["data-run"])
        for name in (layout.RECORD, layout.CONFIG):
            assert (index.parent / key / name).read_text() == run["texts"][name]
    dps = "runs/toy/sr4/dps/1111111111"
    texts = carried(index.parent / dps / "provenance.js")[2]["texts"]
    assert texts[layout.CONFIG] == (results / dps / layout.CONFIG).read_text()
    assert pd.read_csv(index.parent / dps / "images.csv")["image_id"].tolist() == list(IDS)


def test_published_values_stand_beside_ours_and_what_was_not_run_says_so(results):
    text = " ".join(Page(write_report(results)[0]).text.split())
    assert "publ. 0.208" in text
    assert "reproduced" in text
    assert "ffhq256 not run" in text
    assert "84.88" in text
    only = Page(write_report(results, "toy", results / "other")[0])
    assert not only.with_class("claim")


def test_two_problems_under_one_task_name_are_two_tables_headed_by_what_differs(tmp_path):
    write_problems(tmp_path)
    index = write_report(tmp_path)[0]
    page = Page(index)
    tables = {attrs["aria-label"]: attrs["data-task"] for attrs in page.with_class("task")}
    assert set(tables) == {"sr4 · factor 4 at noise level 0.05", "sr4 · factor 2 at noise level 0.05"}
    rows = re.findall(r'data-label="([^"]+)"', index.read_text())
    assert sorted(rows) == [
        "ddrm",
        "ddrm · eta=0.5 · shipped@0f1e2d3c",
        "ddrm · shipped@0f1e2d3c",
        "dps · mine@ffffffff",
    ]
    assert "Priors differ (shipped@0f1e2d3c, mine@ffffffff)" in page.text
    four, two = (
        carried(index.parent / "data" / "toy" / f"{tables[f'sr4 · factor {factor} at noise level 0.05']}.js")[2]
        for factor in (4, 2)
    )
    assert [len(data["restored"]) for data in (four, two)] == [3, 1]
    assert four["given"][0]["base"] == two["given"][0]["base"] == "originals/toy/1111111111/"
    assert four["given"][1]["base"] != two["given"][1]["base"]
    assert all((index.parent / data["given"][1]["base"] / "a.png").is_file() for data in (four, two))


def test_a_row_of_fewer_images_is_marked_and_takes_no_mark_of_best(tmp_path):
    write_problems(tmp_path)
    index = write_report(tmp_path)[0]
    (short,) = Page(index).with_class("short")
    assert "fewer images" in short["title"]
    assert re.findall(r">([^<]*⚠)<", index.read_text()) == ["2 of 3 ⚠"]
    row = re.search(r'<tr data-method="dps".*?</tr>', index.read_text(), re.DOTALL)[0]
    assert ">40.50<" in row
    assert " best" not in row


def test_a_metric_of_ones_own_is_in_the_table_the_plot_and_the_browser(tmp_path):
    write_problems(tmp_path)
    index = write_report(tmp_path)[0]
    page = Page(index)
    cells = [attrs for tag, attrs in page.tags if tag == "td" and attrs.get("data-column") == "sharp"]
    assert [cell.get("data-value") for cell in cells if cell.get("data-value")] == ["20.0"]
    data = json.loads(re.search(r'id="index">(.*?)</script>', index.read_text(), re.DOTALL)[1])
    (column,) = [column for column in data["panels"]["toy"]["columns"] if column["name"] == "sharp"]
    assert {key: column[key] for key in OWN} == OWN
    browsers = [carried(file)[2] for file in (index.parent / "data" / "toy").glob("*.js")]
    names = {tuple(score["name"] for score in browser["scores"]) for browser in browsers}
    plain = ("psnr", "ssim", "lpips_alex", "residual", "seconds")
    assert names == {plain, (*plain[:3], "sharp", *plain[3:])}


def test_a_data_set_that_was_not_run_says_what_it_takes_what_to_type_and_where_it_comes_from(results):
    index = write_report(results)[0]
    panel = re.search(r'<section class="panel" id="set-ffhq256".*?</main>', index.read_text(), re.DOTALL)[0]
    for words in ("CC BY-NC-SA 4.0", "NVlabs/ffhq-dataset", "ffhq256-prior (", "a GPU"):
        assert words in panel
    for command in ("doctor ffhq", "fetch ffhq", "plan experiment=reproduce_ffhq", "run experiment=reproduce_ffhq"):
        assert f"<code>vml-bench {command}</code>" in panel
    assert re.search(r"<code>vml-bench run -m dataset=ffhq256 task=[^<]+ method=[^<]+</code>", panel)
