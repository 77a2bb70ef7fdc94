"""A page made from the archives of runs that a repository keeps."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.report.conftest import Page, carried, snapshot
from tests.run_folders import write_run
from vml_bench.errors import InputError
from vml_bench.report import write_report


def pack(results: Path, archive: Path) -> None:
    """Pack all runs of a results folder as a repository keeps them, without pictures, and remove them."""
    archive.parent.mkdir(parents=True, exist_ok=True)
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


def test_the_archive_of_the_results_folder_itself_may_hold_several_data_sets(tmp_path):
    write_run(tmp_path, "dps", record={"date": "2026-01-02T03:04:05+00:00"})
    write_run(tmp_path, "pinv", dataset="other")
    pack(tmp_path, tmp_path / "runs.tar.xz")
    index, left_out = write_report(tmp_path)
    assert left_out == []
    toy, other = (
        re.search(rf'id="set-{name}"(.*?)(?=class="panel"|$)', index.read_text(), re.DOTALL)[1]
        for name in ("toy", "other")
    )
    assert "2026-01-02" in toy
    assert "dates not recorded" in other


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
