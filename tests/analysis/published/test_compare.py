"""Published results beside runs: verdicts, and notes on what is not alike."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tests.run_folders import write_run
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.published import compare, format_comparison, read_published
from vml_bench.analysis.published.claims import METRICS
from vml_bench.analysis.published.compare import verdict
from vml_bench.analysis.published.render import ABOUT, to_markdown


@pytest.mark.parametrize(
    ("metric", "published", "ours", "low", "high", "expected"),
    [
        ("FID", 50.0, 60.0, 49.0, 71.0, "reproduced"),
        ("FID", 50.0, 52.4, 51.0, 54.0, "near"),
        ("FID", 50.0, 47.6, math.nan, math.nan, "near"),
        ("FID", 50.0, 52.6, 51.0, 54.0, "off"),
        ("PSNR", 20.0, 20.4, 20.1, 20.7, "near"),
        ("PSNR", 20.0, 20.6, 20.1, 20.7, "off"),
        ("LPIPS", 0.2, math.nan, math.nan, math.nan, "not scored"),
    ],
)
def test_verdicts(metric, published, ours, low, high, expected):
    assert verdict(metric, published, ours, low, high) == expected


def test_every_claim_task_convention_and_run_has_a_row(content, written, tmp_path):
    published = read_published(written(content))
    ids = [f"i{k}" for k in range(20)]
    scores = {"ids": ids, "psnr": np.linspace(20, 30, 20)}
    write_run(tmp_path, "dps", "one", lpips=np.linspace(0.1, 0.29, 20), **scores)
    write_run(tmp_path, "dps", "two", lpips=np.linspace(0.5, 0.6, 20), **scores, noise_std=0.1)
    write_run(tmp_path, "vml_map", "three", lpips=np.linspace(0.199, 0.219, 20), **scores)
    write_run(tmp_path, "ddrm", "four", lpips=np.linspace(0.1, 0.3, 20), **scores)
    write_run(tmp_path, "dps", "five", task="sr4_bicubic", lpips=np.full(20, np.nan), **scores)
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    assert len(rows) == 2 * 4
    alex = rows[rows["convention"] == "lpips_alex"].set_index("run")
    assert alex["verdict"].to_dict() == {
        "one": "reproduced", "two": "off", "three": "near", "five": "not scored"
    }  # fmt: skip
    assert alex.at["two", "difference"] == pytest.approx(0.35)
    assert (alex.at["one", "n"], alex.at["two", "noise_std"]) == (20, 0.1)
    vgg = rows[rows["convention"] == "lpips_vgg"]
    assert set(vgg["verdict"]) == {"not scored"}
    assert vgg["note"].str.contains("lpips_vgg in metrics").all()


def test_what_was_not_run_reads_not_run(content, written):
    published = read_published(written(content))
    rows = compare(published.about("toy"), None)
    assert rows["verdict"].tolist() == ["not run"] * 4
    assert rows[["task", "convention"]].to_numpy().tolist() == [
        [task, convention] for task in ("sr4", "sr4_bicubic") for convention in METRICS["LPIPS"]
    ]
    assert rows["ours"].isna().all()
    text = format_comparison(rows, "toy")
    assert text.count("not run") == 1 + ABOUT.count("not run")  # one line for both tasks and both networks
    assert "lpips_alex, lpips_vgg" in text
    assert " ".join(to_markdown(rows, "toy").split()).count("| not run |") == 1


def test_what_is_known_of_the_protocol_is_set_against_the_run(content, written, tmp_path):
    content["claims"][0] |= {"noise_std": 0.05, "images": 100, "remark": "rescales <b>"}
    published = read_published(written(content))
    write_run(tmp_path, "dps", noise_std=0.1, diverged=["b"])
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    expected = "published at σ_y = 0.05; published on 100 images; 1 diverged images left out"
    assert rows.iloc[0]["note"] == expected
    markdown = to_markdown(rows, "toy")
    assert expected.replace("_", r"\_") in markdown
    assert "The source leaves open: the network" in markdown
    assert "rescales &lt;b&gt;" in markdown


def test_a_run_that_is_not_what_its_names_say_is_told_from_one_that_is(content, written, tmp_path):
    published = read_published(written(content))
    scores = {"ids": ["a", "b", "c", "d"], "psnr": np.arange(4.0), "lpips": np.full(4, 0.2)}
    write_run(tmp_path, "dps", "plain", **scores)
    write_run(tmp_path, "dps", "half", **scores, record={"settings": {"eta": 0.5}})
    write_run(tmp_path, "dps", "twice", **scores, asked={"operator": {"BlockAverage": {"factor": 2}}})
    write_run(tmp_path, "dps", "other", **scores, asked={"operator": {"Bicubic": {"factor": 4}}})
    write_run(tmp_path, "dps", "mine", **scores, record={"prior": {"name": "mine", "hash": "ffffffffff"}})
    write_run(tmp_path, "vml_map", "early", ids=["a", "b"], psnr=np.arange(2.0), lpips=np.full(2, 0.2))
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    rows = rows[(rows["convention"] == "lpips_alex") & (rows["task"] == "sr4")].set_index("run")
    assert rows["note"].to_dict() == {
        "plain": "",
        "half": "method with eta=0.5, not as configured",
        "twice": "task with factor=2, not as configured",
        "other": "task with operator=Bicubic, not as configured",
        "mine": "",
        "early": "on 2 of the 4 images of its table",
    }
    assert rows["problem"].nunique() == 3
    assert rows.loc[["half", "plain"], "settings"].tolist() == ["eta=0.5", ""]
    assert rows.loc[["mine", "plain"], "prior"].tolist() == ["mine@ffffffff", "shipped@0f1e2d3c"]
    text = re.sub(" +", " ", format_comparison(rows.reset_index(), "toy"))
    assert "sr4 · operator BlockAverage, factor 2 0.05 dps (twice)" in text
    assert "dps · mine@ffffffff (mine) mine@ffffffff" in text
    assert "dps · eta=0.5 · shipped@0f1e2d3c (half)" in text


def test_a_claim_about_what_is_not_here_says_so_and_a_foreign_network_is_noted(content, written, table, tmp_path):
    published = read_published(written(content | {"claims": [], "tables": [table]}))
    write_run(tmp_path, "dps", noise_std=0.1, ids=["a", "b", "c", "d"], psnr=np.arange(4.0), lpips=np.full(4, 0.2))
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    run, scored, phase, ours, both = (group.iloc[0] for _, group in rows.groupby("claim"))
    assert (run["note"], scored["verdict"]) == ("published with ffhq_10m.pt", "reproduced")
    assert (phase["verdict"], phase["note"]) == ("not here", "no such task here")
    assert (ours["verdict"], ours["note"], both["note"]) == ("not here", *["no such method here"] * 2)
    text = format_comparison(rows, "toy")
    assert "DPS@100 (rerun or quoted)" in text
    assert "Unsafe (PSNR of DPS@100, Phase retrieval): the best of four restarts" in text
    assert text.count("Table 2") == 1
