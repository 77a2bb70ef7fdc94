"""Comparing what is on disk: pairs, families, ties, divergence, clusters, mean ranks, files, command."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_run
from vml_bench.cli import main
from vml_bench.comparison import compare, format_comparison, write
from vml_bench.comparison.cells import EQUAL, unit_names
from vml_bench.comparison.paired import holm
from vml_bench.errors import InputError

IDS = [f"i{k:02d}" for k in range(24)]
SPREAD = np.random.default_rng(0).normal(size=(3, 24))


def write_methods(results, offsets=(("pinv", 0.0), ("ddrm", 1.0), ("dps", 1.001)), ids=IDS, **options):
    """Runs whose scores share the images' difficulty and differ by an offset and a little noise."""
    for k, (method, offset) in enumerate(offsets):
        psnr = 20 + 3 * SPREAD[0, : len(ids)] + offset + 0.05 * np.roll(SPREAD[1], k)[: len(ids)]
        write_run(results, method, ids=ids, psnr=psnr, lpips=1 - psnr / 50, **options)


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


def test_the_family_is_all_pairs_of_a_task_and_metric(tmp_path):
    write_methods(tmp_path)
    write_methods(tmp_path, task="denoise")
    found = compare(tmp_path, "toy")
    families = found.pairs.groupby(["task", "noise_std", "metric"])
    assert [len(family) for _, family in families] == [3] * 6
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
    assert "photographs" in format_comparison(found, "psnr")
    alone = compare(tmp_path, "photos64", ["psnr"], by="image")
    assert (alone.unit, alone.pairs["units"].tolist()) == ("image", [24, 24, 24])


def test_mean_ranks_are_over_the_cells_that_all_ran_and_divergence_takes_the_last_place(tmp_path):
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


def test_two_settings_of_a_method_are_told_apart(tmp_path):
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
        (["--metric", "lpips_vgg"], "has no lpips_vgg; choose among"),
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
