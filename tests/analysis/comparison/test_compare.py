"""Comparing what is on disk: like with like, pairs, families, ties, divergence, clusters, mean ranks, files."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import problem_form, write_run
from vml_bench.analysis.comparison import compare, format_comparison, write
from vml_bench.analysis.comparison.cells import EQUAL, unit_names
from vml_bench.analysis.comparison.paired import holm
from vml_bench.cli import main
from vml_bench.errors import InputError
from vml_bench.identity import name_of
from vml_bench.store import layout

IDS = [f"i{k:02d}" for k in range(24)]
SPREAD = np.random.default_rng(0).normal(size=(3, 24))


def write_methods(results, offsets=(("pinv", 0.0), ("ddrm", 1.0), ("dps", 1.001)), ids=IDS, **options):
    """Runs whose scores share the images' difficulty and differ by an offset and a little noise."""
    for k, (method, offset) in enumerate(offsets):
        psnr = 20 + 3 * SPREAD[0, : len(ids)] + offset + 0.05 * np.roll(SPREAD[1], k)[: len(ids)]
        write_run(results, method, ids=ids, psnr=psnr, lpips=1 - psnr / 50, **options)


def with_metric(folder, name, values, form=None):
    """Give a run a metric of its own: values in its rows, and its declaration in its record."""
    table = pd.read_parquet(folder / layout.TABLE)
    table.assign(**{name: values}).to_parquet(folder / layout.TABLE, index=False)
    said = {"name": name, "title": f"<b>{name}", "better": -1, "digits": 4, "unit": "", "form": form or {"M": {}}}
    record = json.loads((folder / layout.RECORD).read_text())
    (folder / layout.RECORD).write_text(json.dumps({**record, "columns": [said]}))


def folder_of(results, method, run="0123456789", task="sr4", dataset="toy"):
    return layout.RunPlace(results, dataset, task, method, run).folder


def shown(text, first):
    """The line of a printed table whose second word is a label's first."""
    return next(line for line in text.splitlines() if line.split()[1:2] == [first])


def ranks_of(found, metric="psnr"):
    return found.ranks[found.ranks["metric"] == metric].set_index("method")


def test_small_steady_differences_are_seen_through_the_images_difficulty_and_ties_stay_ties(tmp_path):
    write_methods(tmp_path)
    found = compare(tmp_path, "toy")
    ranks = ranks_of(found)
    assert ranks["rank"].to_dict() == {"dps": 1, "ddrm": 1, "pinv": 3}
    assert ranks["letters"].to_dict() == {"dps": "a", "ddrm": "a", "pinv": "b"}
    assert ranks_of(found, "lpips_alex")["rank"].to_dict() == {"dps": 1, "ddrm": 1, "pinv": 3}
    assert ranks["p_best"].sum() == pytest.approx(1)
    assert ranks.filter(like="p_rank_").sum(axis=1).to_numpy() == pytest.approx(1)
    pair = found.pairs.query("metric == 'psnr' and method_a == 'pinv' and method_b == 'ddrm'").iloc[0]
    assert (pair["better"], pair["n"], pair["units"]) == ("b", 24, 24)
    assert pair["low"] < pair["difference"] < pair["high"] < 0
    assert pair["difference"] == pytest.approx(-1, abs=0.05)


def test_a_picture_equal_to_its_original_is_the_best_there_is_not_a_missing_one(tmp_path):
    for task in ("sr4", "denoise"):
        write_methods(tmp_path, task=task)
        write_run(tmp_path, "tv", task=task, ids=IDS, psnr=np.full(len(IDS), np.inf), lpips=np.zeros(len(IDS)))
    found = compare(tmp_path, "toy")
    ranks = found.ranks.query("metric == 'psnr' and task == 'sr4'").set_index("method")
    assert ranks["rank"].to_dict() == {"tv": 1, "dps": 2, "ddrm": 2, "pinv": 4}
    assert ranks["mean"]["tv"] == EQUAL
    assert found.overall.query("metric == 'psnr'").set_index("method")["diverged_cells"]["tv"] == 0


def test_the_family_is_all_pairs_of_a_problem_and_metric(tmp_path):
    write_methods(tmp_path)
    write_methods(tmp_path, task="denoise")
    write_methods(tmp_path, run="twice", asked={"operator": {"BlockAverage": {"factor": 2}}})
    found = compare(tmp_path, "toy")
    families = found.pairs.groupby(["task", "problem", "metric"])
    assert [len(family) for _, family in families] == [3] * 9
    for _, family in families:
        np.testing.assert_allclose(family["p_holm"], holm(family["p"].to_numpy()))


def test_pairs_are_over_images_both_restored_and_who_diverged_is_marked_not_ranked(tmp_path):
    write_methods(tmp_path, diverged=())
    psnr = 30 + SPREAD[2]
    write_run(tmp_path, "vml_map", ids=IDS, psnr=psnr, lpips=1 - psnr / 50, diverged=IDS[:4])
    found = compare(tmp_path, "toy", ["psnr"])
    rows = found.pairs[found.pairs["method_b"] == "vml_map"]
    assert rows["n"].tolist() == [20, 20, 20]
    assert (rows["better"] == "b").all()
    ranks = ranks_of(found)
    assert pd.isna(ranks.at["vml_map", "rank"])
    assert (ranks.at["vml_map", "n"], ranks.at["vml_map", "diverged"]) == (20, 4)
    assert ranks.at["dps", "rank"] == 1
    assert any("vml_map is not ranked, 4 diverged" in note for note in found.notes)
    assert any(line.split()[:2] == ["†", "vml_map"] for line in format_comparison(found, "psnr").splitlines())


def test_an_unfinished_run_is_paired_over_what_it_has_and_keeps_nobody_from_a_rank(tmp_path):
    write_methods(tmp_path)
    write_methods(tmp_path, [("vml_map", 2.0)], ids=IDS[:10])
    found = compare(tmp_path, "toy", ["psnr"])
    assert found.pairs.query("method_b == 'vml_map'")["n"].tolist() == [10, 10, 10]
    ranks = ranks_of(found)
    assert ranks["rank"].notna().to_dict() == {"dps": True, "ddrm": True, "pinv": True, "vml_map": False}
    assert any("14 of 24 images not finished" in note for note in found.notes)


def test_a_table_says_on_how_many_common_images_it_stands(tmp_path):
    write_methods(tmp_path, ids=IDS[:4])
    write_methods(tmp_path, task="denoise", ids=IDS[:4])
    write_methods(tmp_path, [("vml_map", 2.0)], ids=IDS[:2])
    found = compare(tmp_path, "toy", ["psnr"])
    text = format_comparison(found, "psnr")
    of_sr4, of_denoise = text[text.index("· sr4 ·") :], text[text.index("· denoise ·") : text.index("· sr4 ·")]
    assert of_denoise.splitlines()[1] == "on 4 images"
    assert of_sr4.splitlines()[1].startswith("on 4 images, 2 of them scored in all runs: vml_map has 2 of 4;")
    assert "  2 of 4 ⚠  " in shown(of_sr4, "vml_map")
    assert "⚠" not in shown(of_sr4, "dps")
    assert "On 4 images, 2 of them" in write(found, tmp_path / "toy")[3].read_text()
    ranks = found.ranks.query("task == 'sr4'").set_index("method")
    assert ranks.loc["vml_map", ["n", "images", "common"]].tolist() == [2, 4, 2]
    assert ranks.loc["dps", ["n", "images", "common"]].tolist() == [4, 4, 2]


def test_a_run_of_more_images_than_the_others_is_compared_on_theirs(tmp_path):
    write_methods(tmp_path, ids=IDS[:4])
    psnr = np.concatenate([np.full(4, 40.0), np.full(20, -99.0)])
    write_run(tmp_path, "vml_map", ids=IDS, psnr=psnr, lpips=1 - psnr / 50, diverged=IDS[-1:])
    found = compare(tmp_path, "toy", ["psnr"])
    row = ranks_of(found).loc["vml_map"]
    assert (row["rank"], row["n"], row["mean"]) == (1, 4, 40.0)
    assert found.pairs["n"].tolist() == [4] * 6
    assert any("vml_map has 20 images more than the 4 that are compared" in note for note in found.notes)


def test_runs_that_all_lost_an_image_are_compared_and_none_is_ranked(tmp_path):
    write_methods(tmp_path, diverged=IDS[:1])
    found = compare(tmp_path, "toy", ["psnr"])
    assert found.ranks["rank"].isna().all()
    assert format_comparison(found, "psnr").count("†  ") == 3


def test_two_operators_under_one_task_name_are_two_tables(tmp_path):
    write_methods(tmp_path)
    write_methods(tmp_path, run="twice", asked={"operator": {"BlockAverage": {"factor": 2}}})
    found = compare(tmp_path, "toy", ["psnr"])
    assert len(found.pairs) == 2 * 3
    assert set(found.ranks["problem"]) == {
        name_of(problem_form(asked={"operator": {"BlockAverage": {"factor": factor}}})) for factor in (2, 4)
    }
    assert {frozenset(rows["run"]) for _, rows in found.ranks.groupby("problem")} == {
        frozenset({"twice"}),
        frozenset({"0123456789"}),
    }
    text = format_comparison(found, "psnr")
    assert "toy · sr4 · factor 2 · σ_y = 0.05 · PSNR" in text
    assert "toy · sr4 · factor 4 · σ_y = 0.05 · PSNR" in text
    assert "## sr4 · factor 2, σ_y = 0.05: PSNR ↑" in write(found, tmp_path / "toy")[3].read_text()
    assert set(found.overall["cells"]) == {2}


def test_two_folders_of_pictures_are_two_tables_and_are_not_paired(tmp_path):
    write_methods(tmp_path, [("pinv", 0.0), ("ddrm", 1.0)])
    write_methods(tmp_path, [("dps", 5.0), ("tmpd", 6.0)], asked={"images": "2222222222"})
    found = compare(tmp_path, "toy", ["psnr"])
    assert found.pairs[["method_a", "method_b"]].to_numpy().tolist() == [["pinv", "ddrm"], ["tmpd", "dps"]]
    assert found.overall.empty
    assert "sr4 · images 2222222222" in format_comparison(found, "psnr")


def test_problems_with_one_run_each_have_nothing_to_compare_and_one_beside_others_is_named(tmp_path):
    write_methods(tmp_path, [("pinv", 0.0)])
    write_methods(tmp_path, [("ddrm", 1.0)], asked={"seed": 1})
    with pytest.raises(InputError, match="nothing of 'toy' to compare"):
        compare(tmp_path, "toy")
    write_methods(tmp_path, [("dps", 1.0)])
    notes = compare(tmp_path, "toy", ["psnr"]).notes
    assert "sr4 · seed 1 at noise_std 0.05: ddrm is the only run of this problem and is not compared" in notes


def test_other_settings_are_two_labels_and_two_rows_of_the_mean_ranks(tmp_path):
    half = {"settings": {"eta": 0.5}, "form": {"method": {"DDRM": {"eta": 0.5}}, "compute": {}}}
    for task in ("sr4", "denoise"):
        write_methods(tmp_path, [("ddrm", 0.0), ("pinv", -1.0), ("dps", -2.0)], task=task)
        write_methods(tmp_path, [("ddrm", 2.0)], task=task, run="halved", record=half)
    write_methods(tmp_path, [("ddrm", 2.0)], task="colorize", run="halved", record=half)
    write_methods(tmp_path, [("pinv", 2.0)], task="colorize")
    found = compare(tmp_path, "toy", ["psnr"])
    ranks = found.ranks.query("task == 'sr4'").set_index("label")
    in_order = {"ddrm · eta=0.5": 1, "ddrm": 2, "pinv": 3, "dps": 4}
    assert ranks["rank"].to_dict() == in_order
    assert ranks["settings"].to_dict() == {"ddrm · eta=0.5": "eta=0.5", "ddrm": "", "pinv": "", "dps": ""}
    assert set(found.pairs["label_a"]) | set(found.pairs["label_b"]) == set(ranks.index)
    assert found.overall.set_index("label")["mean_rank"].to_dict() == in_order
    assert set(found.overall["cells"]) == {2}  # colorize lacks the configured ddrm
    text = format_comparison(found, "psnr")
    assert "1  ddrm · eta=0.5" in text
    assert "priors differ" not in text


def test_another_prior_is_said_and_never_mixed_with_the_first(tmp_path):
    mine = {"prior": {"name": "mine", "hash": "ffffffffffff", "form": {}}}
    for task in ("sr4", "denoise"):
        write_methods(tmp_path, task=task)
        write_methods(tmp_path, [("ddrm", 3.0)], task=task, run="other", record=mine)
    found = compare(tmp_path, "toy", ["psnr"])
    text = format_comparison(found, "psnr")
    assert text.count("priors differ (mine@ffffffff, shipped@0f1e2d3c): ranks go across them") == 3
    assert "1  ddrm · mine@ffffffff" in text
    ranks = found.overall.set_index("label")
    assert ranks.loc["ddrm · mine@ffffffff", ["mean_rank", "prior"]].tolist() == [1, "mine@ffffffff"]
    assert ranks.loc["ddrm · shipped@0f1e2d3c", "mean_rank"] > 1
    written = pd.read_csv(write(found, tmp_path / "toy")[0])
    assert {"prior_a", "prior_b", "label_a", "label_b", "problem"} <= set(written)


def test_a_metric_of_ones_own_is_compared_by_what_it_declares(tmp_path, capsys):
    write_methods(tmp_path)
    for k, method in enumerate(("pinv", "ddrm")):
        with_metric(folder_of(tmp_path, method), "blur", 2e-3 + k + 1e-4 * SPREAD[0])
    main(["compare", "--results", str(tmp_path), "--metric", "blur"])
    text = capsys.readouterr().out
    assert "toy · sr4 · σ_y = 0.05 · <b>blur" in text
    assert shown(text, "pinv").split()[0] == "1"  # less is better
    assert "0.00" in shown(text, "pinv")
    assert shown(text, "dps").split()[0] == "†"
    assert set(pd.read_csv(tmp_path / "toy" / "ranks.csv")["metric"]) == {"psnr", "ssim", "lpips_alex", "blur"}
    assert "&lt;b&gt;blur ↓" in (tmp_path / "toy" / "comparison.md").read_text()


def test_a_metric_of_ones_own_with_other_settings_is_not_compared(tmp_path):
    write_methods(tmp_path, [("pinv", 0.0), ("ddrm", 1.0)])
    for width, method in enumerate(("pinv", "ddrm")):
        with_metric(folder_of(tmp_path, method), "blur", SPREAD[0], {"Blur": {"width": width}})
    found = compare(tmp_path, "toy")
    assert "blur" not in set(found.ranks["metric"])
    assert any("the runs computed blur with different settings" in note for note in found.notes)
    with pytest.raises(InputError, match="blur with different settings"):
        compare(tmp_path, "toy", ["blur"])


def test_crops_of_one_photograph_are_drawn_together(tmp_path):
    ids = [f"photo{k % 4}-{k:03d}-064" for k in range(24)]
    assert unit_names("photos64_tune", ids[:2]) == ["photo0", "photo1"]
    assert unit_names("ffhq256", ids[:2]) == ids[:2]
    assert unit_names("photos64", ids[:2], "image") == ids[:2]
    assert unit_names("mine", ids[:2], "photograph") == ["photo0", "photo1"]
    write_methods(tmp_path, ids=ids, dataset="photos64")
    found = compare(tmp_path, "photos64", ["psnr"])
    assert found.unit == "photograph"
    assert found.pairs["units"].tolist() == [4, 4, 4]
    assert "resampled by photograph" in format_comparison(found, "psnr")
    alone = compare(tmp_path, "photos64", ["psnr"], by="image")
    assert (alone.unit, alone.pairs["units"].tolist()) == ("image", [24, 24, 24])


def test_mean_ranks_are_over_the_problems_that_all_ran_and_divergence_takes_the_last_place(tmp_path):
    write_methods(tmp_path, task="denoise")
    write_methods(tmp_path, task="sr4", diverged=())
    write_methods(tmp_path, [("vml_map", 5.0)], task="sr4")
    lost = [("pinv", 0.0), ("ddrm", 1.0)]
    write_methods(tmp_path, lost, task="colorize")
    write_methods(tmp_path, [("dps", 9.0)], task="colorize", diverged=IDS[:1])
    found = compare(tmp_path, "toy", ["psnr"])
    overall = found.overall.set_index("method")
    assert sorted(overall.index) == ["ddrm", "dps", "pinv"]
    assert set(overall["cells"]) == {3}
    assert overall["diverged_cells"].to_dict() == {"ddrm": 0, "dps": 1, "pinv": 0}
    assert overall.at["pinv", "mean_rank"] == pytest.approx((3 + 3 + 2) / 3)
    assert overall.at["dps", "mean_rank"] >= 5 / 3
    assert (overall["low"] <= overall["high"]).all()
    assert "dps†" in format_comparison(found, "psnr")


def test_two_runs_that_nothing_else_tells_apart_are_told_by_their_names(tmp_path):
    write_methods(tmp_path, [("dps", 0.0)], run="aaaa")
    write_methods(tmp_path, [("dps", 1.0)], run="bbbb")
    found = compare(tmp_path, "toy", ["psnr"])
    assert len(found.pairs) == 1
    text = format_comparison(found, "psnr")
    assert "dps (aaaa)" in text
    assert "dps (bbbb)" in text
    assert found.overall.empty


def test_files_are_whole_repeatable_and_names_inert(tmp_path):
    write_methods(tmp_path, [("<script>a|b", 0.0), ("ddrm", 1.0)], task="sr4_$x$")
    found = compare(tmp_path, "toy")
    paths = write(found, tmp_path / "toy")
    assert [path.name for path in paths] == ["comparison.csv", "ranks.csv", "mean_ranks.csv", "comparison.md"]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write(compare(tmp_path, "toy"), tmp_path / "toy")] == before
    assert len(pd.read_csv(paths[0])) == 3
    markdown = paths[3].read_text()
    assert "<script>" not in markdown
    assert r"&lt;script&gt;a\|b" in markdown
    assert r"sr4\_\$x\$" in markdown


def test_the_command_prints_one_metric_and_writes_all(tmp_path, capsys):
    write_methods(tmp_path)
    main(["compare", "--results", str(tmp_path), "--metric", "psnr"])
    told = capsys.readouterr().out
    assert "toy · sr4 · σ_y = 0.05 · PSNR" in told
    assert "1=  dps" in told
    assert set(pd.read_csv(tmp_path / "toy" / "comparison.csv")["metric"]) == {"psnr", "ssim", "lpips_alex"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "lpips_vgg"], "has no lpips_vgg; choose among psnr, ssim, lpips_alex"),
        (["--dataset", "nothing"], "no run of 'nothing'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, capsys, arguments, said):
    write_methods(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--results", str(tmp_path), *arguments])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_one_method_alone_has_nobody_to_be_compared_with(tmp_path):
    write_methods(tmp_path, [("pinv", 0.0)])
    with pytest.raises(InputError, match="run two methods on the same task"):
        compare(tmp_path, "toy")
    with pytest.raises(InputError, match="no score of single images"):
        compare(tmp_path, "toy", ["fid"])


@pytest.fixture
def resampled(monkeypatch):
    """The metrics of the cells that are compared anew, in their order."""
    from vml_bench.analysis.comparison.compare import compare_cell

    seen = []

    def counting(cell, column, by):
        seen.append((cell.problem.task, column.name))
        return compare_cell(cell, column, by)

    monkeypatch.setattr(sys.modules["vml_bench.analysis.comparison.compare"], "compare_cell", counting)
    return seen


def equal(a, b):
    for name in ("pairs", "ranks", "overall"):
        pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name), check_exact=True)
    assert (a.notes, a.titles) == (b.notes, b.titles)


def write_two_tasks(results, ids=IDS):
    for task in ("sr4", "denoise"):
        write_methods(results, ids=ids, task=task)
    write_run(results, "dps", "9" * 10, ids=ids, psnr=30 + SPREAD[2], lpips=0.1 + SPREAD[2] ** 2, diverged=ids[:1])


def test_what_was_compared_is_kept_to_the_bit_until_a_score_changes(tmp_path, resampled):
    write_two_tasks(tmp_path)
    fresh = compare(tmp_path, "toy")
    assert len(resampled) == 6
    equal(compare(tmp_path, "toy"), fresh)
    compare(tmp_path, "toy", ("lpips_alex", "psnr"))
    assert len(resampled) == 6
    resampled.clear()
    table = folder_of(tmp_path, "ddrm") / layout.TABLE
    rows = pd.read_parquet(table)
    rows.loc[3, "psnr"] += 1e-9
    rows.to_parquet(table, index=False)
    changed = compare(tmp_path, "toy")
    assert resampled == [("sr4", "psnr")]
    for file in (tmp_path / ".cache").glob("*.compared"):
        file.unlink()
    equal(compare(tmp_path, "toy"), changed)


def test_a_comparison_is_made_anew_by_other_units_and_where_what_was_kept_is_damaged(tmp_path, resampled):
    write_two_tasks(tmp_path, [f"photo{k % 6}-{k}" for k in range(24)])
    fresh = compare(tmp_path, "toy")
    compare(tmp_path, "toy", by="photograph")
    assert len(resampled) == 12
    resampled.clear()
    compare(tmp_path, "toy")
    for file in (tmp_path / ".cache").glob("*.compared"):
        file.write_bytes(file.read_bytes().replace(b"0.", b"9.", 1))
    equal(compare(tmp_path, "toy"), fresh)
    assert len(resampled) == 12
