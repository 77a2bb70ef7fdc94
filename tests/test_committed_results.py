"""The leaderboard that travels with the project is what its rows say, and a cell run again says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vml_bench.leaderboard import build
from vml_bench.leaderboard.columns import MEANS
from vml_bench.runner.cell import run_cell

RESULTS = Path(__file__).parents[1] / "results" / "photos64"
ORACLE = RESULTS.parent / "oracle"
AGAIN = [("sr4", 0.05, "ddrm"), ("inpaint_random", 0.05, "vml_fixed_point"), ("deblur_gauss", 0, "vml_fixed_point_20")]
EXACT = [
    ("oracle", "gmm", "sr4", 0.05, "vml_fixed_point"),
    ("oracle", "gmm", "random_projection", 0.001, "oracle/dps"),
    ("oracle", "gauss", "deblur_gauss", 0, "ddnm"),
    ("oracle_vector", "gmm_vector", "denoise", 0.3, "vml_map_pre"),
    ("oracle_2d", "gmm_2d", "random_projection", 0.05, "tmpd"),
]
CELL = ["task", "noise_std", "method", "run"]


def test_the_leaderboard_is_what_the_rows_say():
    written = pd.read_csv(RESULTS / "leaderboard.csv", dtype={"run": str}).set_index(CELL).sort_index()
    found = build(RESULTS, "photos64")[0].set_index(CELL).sort_index()
    assert written.index.equals(found.index)
    for name in ["n", "diverged", *(column.name for column in MEANS)]:
        if name in written:
            np.testing.assert_allclose(written[name], found[name].astype(float), rtol=1e-6, err_msg=name)


def test_every_run_says_how_it_was_made():
    for file in RESULTS.glob("runs/*/*/*/*/run.json"):
        record = pd.read_json(file, typ="series")
        assert record["environment"]["git"].strip("0123456789abcdef") == "", file
        assert len(record["ids"]) >= 64, file


@pytest.mark.slow
@pytest.mark.parametrize(("task", "noise_std", "method"), AGAIN)
def test_a_cell_run_again_agrees(task, noise_std, method, cell_config):
    """The same run by name, and its numbers to what bfloat16 on another processor, or other threads, may move."""
    cell = (f"task={task}", f"task.noise_std={noise_std}", f"method={method}")
    folder = run_cell(cell_config("experiment=reproduce_photos", *cell))
    again = pd.read_parquet(folder / "images.parquet")
    written = pd.read_csv(RESULTS / "leaderboard.csv", dtype={"run": str}).set_index(["task", "noise_std", "method"])
    row = written.loc[(task, noise_std, method)]
    assert (folder.name, len(again)) == (row["run"], row["n"])
    assert again["psnr"].mean() == pytest.approx(row["psnr"], abs=0.05)
    assert again["lpips_alex"].mean() == pytest.approx(row["lpips_alex"], abs=0.003)


@pytest.mark.parametrize(("experiment", "dataset", "task", "noise_std", "method"), EXACT)
def test_an_exact_cell_run_again_agrees(experiment, dataset, task, noise_std, method, cell_config):
    """To what the order of sums in float64 may move on another processor, or with other threads."""
    cell = (f"dataset={dataset}", f"task={task}", f"task.noise_std={noise_std}", f"method={method}")
    folder = run_cell(cell_config(f"experiment={experiment}", *cell))
    again, scenes = pd.read_parquet(folder / "images.parquet"), pd.read_parquet(folder / "oracle.parquet")
    written = pd.read_csv(ORACLE / dataset / "leaderboard.csv", dtype={"run": str}).set_index("run").loc[folder.name]
    assert (written["task"], written["noise_std"], written["n"]) == (task, noise_std, len(again))
    assert again["map_gap"].median() == pytest.approx(written["map_gap"], rel=1e-3, abs=1e-6)
    assert again["residual"].mean() == pytest.approx(written["residual"], rel=1e-3, abs=1e-9)
    assert scenes["sw2"].mean() == pytest.approx(written["sw2"], rel=1e-3)
    assert scenes["sw2_floor"].mean() == pytest.approx(written["sw2_floor"], rel=1e-3)
