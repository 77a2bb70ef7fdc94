"""The report's files, read without a browser: what they say, what they refer to, what is safe in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.conftest import HOSTILE, IDS, OWN, write_problems
from tests.run_folders import originals, write_run
from vml_bench.analysis.comparison import compare
from vml_bench.cards import COLOURS, MARKERS, card
from vml_bench.cli import main
from vml_bench.errors import InputError
from vml_bench.report import write_report
from vml_bench.report.folder import safe_name
from vml_bench.report.marks import GROUNDS, SHAPES, contrast, legible
from vml_bench.report.write import STATIC
from vml_bench.store import layout
from vml_bench.store.runs import open_run


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


def test_everything_the_page_refers_to_is_in_its_folder(results):
    index, left_out = write_report(results)
    assert index == results / "report" / "index.html"
    assert left_out == []
    page = Page(index)
    ids = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    targets = [attrs.get(name) for _, attrs in page.tags for name in ("href", "src") if attrs.get(name)]
    assert len(targets) > 50
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in ids, target
        else:
            assert re.fullmatch(r"[\w./-]+", target), target
            assert (index.parent / target).is_file(), target
    assert len(ids) == sum(bool(attrs.get("id")) for _, attrs in page.tags)
    for asset in (index.parent / "assets").glob("[!p]*"):
        assert not re.search(r"https?://(?!www\.w3\.org)", asset.read_text(encoding="utf-8")), asset


def test_scripts_are_files_or_inert_data(results):
    page = Page(write_report(results)[0])
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert all(attrs.get("src") or attrs.get("type") == "application/json" for attrs in scripts)
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_names_that_are_markup_are_shown_as_text(results):
    write_run(results, dataset="<img src=x onerror=alert(1)>", task="a<b>&amp;", method="pinv")
    index = write_report(results)[0]
    page = Page(index)
    for name in (HOSTILE, "<img src=x onerror=alert(1)>", "a<b>&amp;"):
        assert name in page.text
    assert not [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("src")]
    for script in [index, *index.parent.rglob("data/**/*.js"), *index.parent.rglob("provenance.js")]:
        text = script.read_text(encoding="utf-8")
        assert HOSTILE not in text
        assert "</script><b>" not in text
    assert browser_data(index.parent)["ids"] == list(IDS)
    assert [run["method"] for run in browser_data(index.parent)["restored"]] == ["pinv", "dps", HOSTILE]


@given(st.lists(st.text(max_size=100), unique=True, max_size=20))
def test_safe_names_are_plain_and_distinct_whatever_the_text(texts):
    names = [safe_name(text) for text in texts]
    assert len({name.lower() for name in names}) == len(texts)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9._-]{0,79}", name) and ".." not in name for name in names)


@pytest.mark.parametrize("name", ["sr4", "inpaint_random50", "0.05-0"])
def test_plain_names_stay_as_they_are(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["con", "nul.txt", "A", "", "..", ".hidden", "a..b", safe_name("A")])
def test_names_that_mean_something_to_a_file_system_or_look_like_a_hash_do_not(name):
    assert safe_name(name) != name


def test_pictures_come_along_under_safe_names_and_missing_ones_are_known(results):
    run = open_run(results / "runs" / "toy" / "sr4" / "pinv" / ("0" * 10))
    run.picture(IDS[0]).unlink()
    run.original(IDS[3]).unlink()
    index = write_report(results)[0]
    data = browser_data(index.parent)
    original, measurement = data["given"]
    pinv, dps, _ = data["restored"]
    assert (original["label"], measurement["label"]) == ("ground truth", "measurement")
    assert (original["missing"], measurement["missing"], pinv["missing"], dps["missing"]) == ([3], [], [0], [])
    for series in (original, measurement, pinv, dps):
        for place, file in enumerate(data["files"]):
            assert (index.parent / series["base"] / file).is_file() == (place not in series["missing"])
    copied = index.parent / pinv["base"] / data["files"][2]
    assert copied.read_bytes() == run.picture(IDS[2]).read_bytes()


def test_where_files_cannot_be_linked_they_are_copied(results, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    index = write_report(results)[0]
    before = snapshot(index.parent)
    data = browser_data(index.parent)
    picture = index.parent / data["given"][0]["base"] / data["files"][0]
    assert picture.stat().st_nlink == 1
    assert picture.read_bytes() == layout.picture(originals(results), IDS[0]).read_bytes()
    write_report(results)
    assert snapshot(index.parent) == before


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


def test_a_second_report_touches_nothing_and_a_later_one_clears_away_what_is_gone(results):
    index = write_report(results)[0]
    before = snapshot(index.parent)
    (index.parent / "mine.txt").write_text("kept")
    write_report(results)
    assert snapshot(index.parent) | before == snapshot(index.parent)
    assert {name: time for name, time in snapshot(index.parent).items() if name != "mine.txt"} == before
    shutil.rmtree(results / "runs" / "toy" / "sr4" / "dps")
    write_report(results)
    assert not (index.parent / "runs" / "toy" / "sr4" / "dps").exists()
    assert (index.parent / "mine.txt").read_text() == "kept"


def test_anothers_page_is_not_written_over(results, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    with pytest.raises(InputError, match="not a report"):
        write_report(results, out=tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == "mine"


def test_a_manifest_that_names_files_elsewhere_removes_none_of_them(results, tmp_path):
    (tmp_path / "precious").write_text("kept")
    index = write_report(results, out=tmp_path / "page")[0]
    (index.parent / "report.json").write_text(json.dumps({"files": ["../precious", str(tmp_path / "precious")]}))
    write_report(results, out=index.parent)
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_command_writes_the_page_and_says_what_it_left_out(results, capsys):
    write_run(results, dataset="made_up", synthetic=True)
    main(["report", "--results", str(results), "--out", str(results / "page")])
    told = capsys.readouterr()
    assert f"wrote {results / 'page' / 'index.html'}" in told.out
    assert "every run of 'made_up' is synthetic" in told.err
    main(["report", "--results", str(results), "--synthetic"])
    assert "these numbers mean nothing" in Page(results / "report" / "index.html").text
    with pytest.raises(SystemExit) as caught:
        main(["report", "--results", str(results / "nowhere")])
    assert caught.value.code == 2


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_are_told_apart_in_both_themes(theme):
    style = (STATIC / "page.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: values[theme] for name, *values in pairs}
    for ground in ("paper", "raised"):
        for text in ("ink", "muted", "accent", "bad", "good", "near"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["rule"], colours[ground]) >= 3
    assert contrast(colours["accent"], colours["tint"]) >= 4.5
    assert contrast(colours["bad"], colours["bad-tint"]) >= 4.5
    hover = re.search(r"tr:hover > \* { background: light-dark\((#\w{6}), (#\w{6})\)", style)[theme + 1]
    for colour in COLOURS.values():
        for ground in (colours["paper"], colours["raised"], hover):
            assert contrast(legible(colour, *GROUNDS[theme]), ground) >= 3, (colour, ground)


@pytest.mark.parametrize(("ground", "least"), GROUNDS, ids=["light", "dark"])
def test_a_methods_colour_is_as_in_figures_and_changed_only_as_far_as_it_takes_to_be_seen(ground, least):
    shown = {colour: legible(colour, ground, least) for colour in (*COLOURS.values(), "#000000", "#ffffff", ground)}
    assert all(contrast(mark, ground) >= least for mark in shown.values())
    assert all(mark == colour or contrast(mark, ground) < least + 0.6 for colour, mark in shown.items())
    assert len(set(shown.values()) - {shown[ground]}) >= len(COLOURS)


def test_every_marker_of_a_card_has_a_shape():
    assert set(SHAPES) == set(MARKERS)


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


def test_a_variant_is_hollow_in_the_colour_of_its_method(tmp_path):
    write_run(tmp_path, "ddrm")
    write_run(tmp_path, "ddrm", "5" * 10, record={"settings": {"eta": 0.5}})
    rows = re.findall(r'<tr data-method="ddrm".*?</tr>', write_report(tmp_path)[0].read_text(), re.DOTALL)
    dots = [re.search(r'class="(dot[^"]*)" .*? style="([^"]*)"', row).groups() for row in rows]
    assert [kind for kind, _ in dots] == ["dot", "dot hollow"]
    assert dots[0][1] == dots[1][1]
    assert dots[0][1].startswith("--dot: light-dark(#0072b2, ")


def test_provenance_says_command_date_problem_prior_and_settings(tmp_path):
    command = {"overrides": ["task=sr4", "method=ddrm", "method.sampler.eta=0.5"], "config_dir": None}
    told = {"command": command, "date": "2026-01-02T03:04:05+00:00", "settings": {"eta": 0.5}}
    folder = write_run(tmp_path, "ddrm", record=told)
    write_run(tmp_path, "pinv", record={"prior": None})
    report = write_report(tmp_path)[0].parent
    said = carried(report / folder.relative_to(tmp_path) / "provenance.js")[2]
    assert said["command"].startswith("vml-bench run task=sr4 method=ddrm method.sampler.eta=0.5 ")
    facts = dict(said["facts"])
    assert facts["date"] == "2026-01-02T03:04:05+00:00"
    assert facts["problem"].startswith(open_run(folder).problem.name)
    assert "operator.factor=4" in facts["problem"]
    assert (facts["prior"], facts["settings"]) == ("shipped@0f1e2d3c", "eta=0.5")
    (other,) = (report / "runs" / "toy" / "sr4" / "pinv").rglob("provenance.js")
    other = carried(other)[2]
    assert other["command"] is None
    assert dict(other["facts"])["prior"].startswith("none")


def pack(results: Path, archive: Path) -> None:
    """Pack all runs of a results folder as a repository keeps them, without pictures, and remove them."""
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:xz") as tar:
        for file in sorted((results / "runs").rglob("*")):
            if file.is_file() and file.suffix != ".png":
                tar.add(file, file.relative_to(results / "runs"))
    for name in ("runs", "originals", "measurements"):
        shutil.rmtree(results / name, ignore_errors=True)


def test_an_archive_of_runs_is_shown_without_a_run_on_disk(tmp_path):
    told = {"command": {"overrides": ["task=sr4", "method=pinv"], "config_dir": None}}
    write_run(tmp_path, pictures=True, record=told)
    whole = re.findall(r'data-value="[^"]+"', write_report(tmp_path, out=tmp_path / "whole")[0].read_text())
    pack(tmp_path, tmp_path / "study" / "toy" / "runs.tar.xz")
    index, left_out = write_report(tmp_path)
    page = Page(index)
    assert left_out == []
    assert re.findall(r'data-value="[^"]+"', index.read_text()) == whole
    assert page.with_class("plot")
    assert not page.with_class("images")
    assert "holds every run's rows and record but no pictures" in page.text
    (script,) = index.parent.rglob("provenance.js")
    command = carried(script)[2]["command"]
    assert command.startswith("vml-bench run task=sr4 method=pinv ")
    assert command.endswith(f"runner.results_dir={tmp_path}")
    before = snapshot(tmp_path)
    write_report(tmp_path)
    assert snapshot(tmp_path) == before


def test_an_archive_that_has_changed_is_read_again(tmp_path):
    archive = tmp_path / "toy" / "runs.tar.xz"
    for method in ("pinv", "dps"):
        write_run(tmp_path, method)
        shutil.rmtree(archive.parent, ignore_errors=True)
        pack(tmp_path, archive)
        index = write_report(tmp_path)[0]
        assert set(re.findall(r'<tr data-method="(\w+)"', index.read_text())) == {method}


def test_runs_on_disk_come_before_their_archive_and_the_page_says_how_to_see_both(tmp_path):
    write_run(tmp_path, "dps")
    pack(tmp_path, tmp_path / "toy" / "runs.tar.xz")
    write_run(tmp_path, "pinv")
    index = write_report(tmp_path)[0]
    assert set(re.findall(r'<tr data-method="(\w+)"', index.read_text())) == {"pinv"}
    assert f"tar xJf {tmp_path / 'toy' / 'runs.tar.xz'} -C {tmp_path / 'runs'}" in Page(index).text


def test_an_archive_filed_under_another_name_is_none_of_the_pages_and_a_damaged_one_is_refused(tmp_path):
    write_run(tmp_path, "dps")
    pack(tmp_path, tmp_path / "study" / "runs.tar.xz")
    with pytest.raises(InputError, match="no run under"):
        write_report(tmp_path)
    write_run(tmp_path, "dps", ids=[f"image{i}" for i in range(3)])
    archive = tmp_path / "toy" / "runs.tar.xz"
    pack(tmp_path, archive)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        write_report(tmp_path)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Results of two tasks, in which dps is better than pinv by LPIPS and tied with ddrm, and a report of them."""
    results = tmp_path_factory.mktemp("judged")
    ids = [f"image{i:02d}" for i in range(12)]
    rng = np.random.default_rng(0)
    for task in ("sr4", "deblur_gauss"):
        for place, (method, lpips) in enumerate({"pinv": 0.5, "ddrm": 0.2, "dps": 0.2}.items()):
            values = lpips + 0.02 * rng.standard_normal(12)
            write_run(results, method, str(place) * 10, task=task, ids=ids, lpips=values, psnr=20 + place + 0 * values)
    return results, write_report(results)[0]


def test_the_letters_and_ranks_on_the_page_are_those_of_the_comparison(judged):
    results, index = judged
    ranks = compare(results, "toy", ["lpips_alex"]).ranks.set_index(["task", "method"])
    text = index.read_text()
    for task in ("sr4", "deblur_gauss"):
        table = re.search(rf'data-task="{task}-0.05".*?</table>', text, re.DOTALL)[0]
        for method in ("pinv", "ddrm", "dps"):
            row = re.search(rf'<tr data-method="{method}".*?</tr>', table, re.DOTALL)[0]
            cell = re.search(r'data-column="lpips_alex".*?</td>', row, re.DOTALL)[0]
            assert re.search(r'class="alike">(\w+)<', cell)[1] == ranks.loc[(task, method), "letters"]
    assert set(ranks["letters"]) == {"a", "b"}
    board = re.search(r'data-board="lpips_alex".*?</table>', text, re.DOTALL)[0]
    fields = re.findall(r'class="rank( leads)?(?: first)?" title="(\w)">(\d)<', board)
    assert sorted(fields) == sorted([(" leads", "a", "1"), (" leads", "a", "2"), ("", "b", "3")] * 2)


def test_the_verdict_names_who_leads_and_who_does_so_at_the_least_compute(judged):
    page = Page(judged[1])
    text = " ".join(page.text.split())
    verdict = text[text.index("Verdict") :]
    assert re.search(r"PSNR ↑ mean rank over problems DPS 1\.0 \[1\.0, 1\.0\], best in 2 of 2", verdict)
    least = r"(DPS|DDRM) 20 by LPIPS, mean rank \d\.\d DPS 20 by PSNR, mean rank 1\.0"
    assert re.search(f"Compute fewest network passes of those that may lead {least}", verdict)
    lines = [
        " ".join(line.split()) for line in re.findall(r'class="leads-line">(.*?)</p>', judged[1].read_text(), re.S)
    ]
    assert len(lines) == 2
    for line in lines:
        said = re.sub("<[^>]+>", "", line)
        assert re.search(r"LPIPS ↓ (DPS|DDRM) 0\.\d+ \(1 not apart from it\)", said), said
        assert re.search(r"PSNR ↑ DPS 22\.00 ·", said), said
        assert re.search(r"compute (DPS|DDRM) 20 passes$", said), said


def test_a_verdict_on_exact_posteriors_counts_where_each_method_is_best(tmp_path):
    for place, method in enumerate(("pinv", "dps")):
        asked = {"reference": {"Oracle": {"samples": 256}}}
        folder = write_run(tmp_path, method, str(place) * 10, dataset="gmm", asked=asked)
        table = pd.read_parquet(folder / layout.TABLE).drop(columns=["psnr", "ssim", "lpips_alex"])
        table.assign(map_gap=1.0 - 0.5 * place, map_distance=1.5, scene=["x", "y", "z"]).to_parquet(
            folder / layout.TABLE, index=False
        )
    text = " ".join(Page(write_report(tmp_path)[0]).text.split())
    assert "MAP gap ↓ best, ties counted DPS 1 of 1 problems" in text


def test_each_method_has_a_card_with_its_paper_family_and_settings(results):
    write_run(
        results, "ddrm", "8" * 10, record={"form": {"method": {"DDRM": {"eta": 0.85}}, "prior": "", "compute": {}}}
    )
    page = Page(write_report(results)[0])
    text = " ".join(page.text.split())
    cards = text[text.rindex("Methods") :]
    for words in ("Diffusion Posterior Sampling for General Noisy Inverse Problems (2023)", "method=dps", "guidance"):
        assert words in cards
    assert re.search(r"DDRM spectral · method=ddrm .* Settings class DDRM eta 0\.85", cards)


def test_names_and_colours_are_those_of_the_figures(results):
    index = write_report(results)[0]
    text = index.read_text()
    for method in ("pinv", "dps"):
        known = card(method)
        row = re.search(rf'<tr data-method="{method}".*?</th>', text, re.DOTALL)[0]
        assert f"--fill: {known.colour}" in row
        assert f'data-title="{known.title}"' in row
    data = json.loads(re.search(r'id="index">(.*?)</script>', text, re.DOTALL)[1])
    assert data["methods"]["dps"]["title"] == card("dps").title


def test_a_data_set_that_was_not_run_says_what_it_takes_what_to_type_and_where_it_comes_from(results):
    index = write_report(results)[0]
    panel = re.search(r'<section class="panel" id="set-ffhq256".*?</main>', index.read_text(), re.DOTALL)[0]
    for words in ("CC BY-NC-SA 4.0", "NVlabs/ffhq-dataset", "ffhq256-prior (", "a GPU"):
        assert words in panel
    for command in ("doctor ffhq", "fetch ffhq", "plan experiment=reproduce_ffhq", "run experiment=reproduce_ffhq"):
        assert f"<code>vml-bench {command}</code>" in panel
    assert re.search(r"<code>vml-bench run -m dataset=ffhq256 task=[^<]+ method=[^<]+</code>", panel)


def test_the_page_says_when_by_which_code_and_on_what_its_runs_were_made(tmp_path):
    environment = {"git": "0123456789abcdef", "device": "AMD EPYC"}
    for place, date in enumerate(("2026-01-02T03:04:05+00:00", "2026-01-05T00:00:00+00:00")):
        write_run(tmp_path, run=str(place) * 10, record={"date": date, "environment": environment})
    text = " ".join(Page(write_report(tmp_path)[0]).text.split())
    assert "made 2026-01-02 to 2026-01-05 revision 0123456789 device AMD EPYC (unknown) prior shipped@0f1e2d3c" in text
