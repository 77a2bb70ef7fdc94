"""One table is one problem, and a row is called by what it computed."""

from __future__ import annotations

import math

import pandas as pd

from tests.run_folders import write_run
from vml_bench.analysis.leaderboard import build, format_table
from vml_bench.analysis.leaderboard.latex import to_tex
from vml_bench.analysis.leaderboard.render import to_markdown


def markdown_row(frame: pd.DataFrame, method: str) -> str:
    line = next(line for line in to_markdown(frame).splitlines() if line.startswith(f"| {method} "))
    return " ".join(line.split())


def test_two_runs_of_a_method_are_two_rows_told_apart(tmp_path):
    write_run(tmp_path, "dps", "aaaa")
    write_run(tmp_path, "dps", "bbbb")
    frame, _ = build(tmp_path, "toy")
    assert frame["run"].tolist() == ["aaaa", "bbbb"]
    assert "dps (aaaa)" in format_table(frame)
    assert "dps (bbbb)" in format_table(frame)


def test_another_operator_under_one_name_is_a_table_of_its_own_headed_by_what_differs(tmp_path):
    write_run(tmp_path, "pinv")
    write_run(tmp_path, "wiener", psnr=(10.0, 10.0, 10.0))
    write_run(tmp_path, "tv", psnr=(40.0, 40.0, 40.0), asked={"operator": {"BlockAverage": {"factor": 2}}})
    frame, _ = build(tmp_path, "toy")
    assert frame["problem"].nunique() == 2
    for text in (format_table(frame), to_markdown(frame), to_tex(frame)):
        assert all(words in text for words in ("factor 2", "factor 4"))
    assert "**40.00**" not in to_markdown(frame), "nothing stands beside it"
    assert "**22.00**" in to_markdown(frame)


def test_other_images_under_one_name_are_a_table_of_their_own(tmp_path):
    write_run(tmp_path, "pinv", asked={"images": "aaaaaaaaaa"})
    write_run(tmp_path, "wiener", asked={"images": "bbbbbbbbbb"})
    text = to_markdown(build(tmp_path, "toy")[0])
    assert "## sr4 · images aaaaaaaaaa, σ_y = 0.05" in text
    assert "## sr4 · images bbbbbbbbbb, σ_y = 0.05" in text


def test_a_row_is_called_by_its_method_and_what_differs_from_its_configuration(tmp_path):
    write_run(tmp_path, "ddrm", "aaaa", record={"settings": {"eta": 0.5, "schedule.levels": 4}})
    write_run(tmp_path, "ddrm", "bbbb")
    frame, _ = build(tmp_path, "toy")
    assert set(frame.attrs["labels"]) == {"ddrm", "ddrm · eta=0.5, schedule.levels=4"}
    assert "eta=0.5, schedule.levels=4" in set(frame["settings"])
    assert "| ddrm · eta=0.5, schedule.levels=4 |" in to_markdown(frame)


def test_settings_that_no_configuration_told_apart_are_told_apart_by_what_was_computed(tmp_path):
    for run, eta in (("aaaa", 0.7), ("bbbb", 0.85)):
        form = {"problem": "p", "method": {"DDRM": {"eta": eta, "eta_b": 1.0}}, "prior": "x", "compute": {}}
        write_run(tmp_path, "ddrm", run, record={"form": form})
    assert build(tmp_path, "toy")[0].attrs["labels"] == ["ddrm · eta=0.7", "ddrm · eta=0.85"]


def test_priors_are_named_where_a_table_has_more_than_one(tmp_path):
    other = {"name": "mine", "hash": "abcdefabcd", "form": {}}
    write_run(tmp_path, "ddrm", "aaaa", record={"prior": other})
    write_run(tmp_path, "pinv", "bbbb", record={"prior": None})
    assert build(tmp_path, "toy")[0].attrs["labels"] == ["pinv", "ddrm"], "one prior, and none"
    write_run(tmp_path, "ddrm", "cccc", psnr=(30.0, 30.0, 30.0))
    frame, _ = build(tmp_path, "toy")
    assert set(frame.attrs["labels"]) == {"pinv", "ddrm · mine@abcdefab", "ddrm · shipped@0f1e2d3c"}
    for text in (format_table(frame), to_markdown(frame), to_tex(frame)):
        assert "best values are marked across them" in text
    assert frame.set_index("run")["prior"].fillna("").to_dict() == {
        **{"aaaa": "mine@abcdefab", "bbbb": "", "cccc": "shipped@0f1e2d3c"}
    }


def test_ways_of_computing_are_named_where_a_table_has_more_than_one(tmp_path):
    form = {"problem": "p", "method": {"DDRM": {}}, "prior": "x", "compute": {"dtype": "bfloat16"}}
    write_run(tmp_path, "ddrm", "aaaa", record={"form": form})
    assert build(tmp_path, "toy")[0].attrs["labels"] == ["ddrm"]
    write_run(tmp_path, "dps", "bbbb")
    frame, _ = build(tmp_path, "toy")
    assert frame.attrs["labels"] == ["ddrm · dtype=bfloat16", "dps · float32"]
    assert frame["settings"].tolist() == ["compute.dtype=bfloat16", ""]


def test_fewer_images_than_others_are_marked_and_never_best(tmp_path):
    write_run(tmp_path, "pinv", ids=["a", "b"], psnr=(90.0, 90.0), lpips=(0.0, 0.0))
    write_run(tmp_path, "ddrm")
    write_run(tmp_path, "dps", psnr=(10.0, 10.0, 10.0))
    frame, warnings = build(tmp_path, "toy")
    for text in (format_table(frame), to_markdown(frame)):
        assert "2 of 3 ⚠" in text
    assert "**90.00**" not in to_markdown(frame)
    assert "**22.00**" in to_markdown(frame)
    assert any("different images" in line for line in warnings)


def test_the_metric_of_a_run_of_ones_own_is_a_column_like_any_other(tmp_path):
    declared = {"name": "sharpness", "title": "sharpness", "better": 1, "digits": 1, "unit": "%"}
    for method, values in (("pinv", [1.0, 2.0, 3.0]), ("ddrm", [4.0, 5.0, 6.0])):
        folder = write_run(tmp_path, method, record={"columns": [declared]})
        table = pd.read_parquet(folder / "images.parquet").assign(sharpness=values)
        table.to_parquet(folder / "images.parquet", index=False)
    write_run(tmp_path, "dps")
    frame, _ = build(tmp_path, "toy")
    assert frame["sharpness"].tolist()[:2] == [2.0, 5.0]
    assert math.isnan(frame["sharpness"][2])
    assert "sharpness ↑ (%)" in to_markdown(frame)
    assert "**5.0**" in markdown_row(frame, "ddrm")
    assert {"sharpness", "sharpness_low", "sharpness_high"} <= set(frame.columns)


def test_a_metric_of_ones_own_with_other_settings_is_left_out_of_the_table_by_name(tmp_path):
    declared = {"name": "sharpness", "title": "sharpness", "better": 1, "digits": 1, "unit": "%"}
    for method, scale in (("pinv", 1), ("ddrm", 100)):
        said = {**declared, "form": {"Sharpness": {"scale": scale}}}
        folder = write_run(tmp_path, method, record={"columns": [said]})
        pd.read_parquet(folder / "images.parquet").assign(sharpness=1.0 * scale).to_parquet(folder / "images.parquet")
    frame, warnings = build(tmp_path, "toy")
    assert frame["sharpness"].isna().all()
    assert any("sharpness is left out, the runs computed it with different settings" in line for line in warnings)


def test_what_a_handed_around_record_declares_cannot_spoil_a_table(tmp_path):
    bad = [{"name": "psnr", "title": "mine", "better": -1, "digits": 0, "unit": ""}, {"name": "x y"}, 3, {}]
    write_run(tmp_path, "pinv", record={"columns": bad, "about": {"colour": "no colour", "order": "first"}})
    frame, _ = build(tmp_path, "toy")
    assert frame.attrs["columns"]["psnr"].title == "PSNR"
    assert "x y" not in frame.columns
