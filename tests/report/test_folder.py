"""The report's folder: what it holds and refers to, what is safe in it, what a later report changes."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.conftest import HOSTILE, IDS, Page, browser_data, snapshot
from tests.run_folders import originals, write_run
from vml_bench.cli import main
from vml_bench.errors import InputError
from vml_bench.report import write_report
from vml_bench.report.folder import safe_name
from vml_bench.store import layout
from vml_bench.store.runs import open_run


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
