"""The leaderboard that travels with the project is what its rows say, and a cell run again says the same."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vml_bench.analysis.leaderboard import build
from vml_bench.columns import EFFORT, METRICS
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import run_cell
from vml_bench.store import layout
from vml_bench.store.runs import open_run
from vml_bench.studies import equal_compute, programs
from vml_bench.studies.frontier import report as frontier

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
PAPER = RESULTS.parent / "paper_small"
OPERATORS = RESULTS.parent / "operators"
LATENT = RESULTS.parent / "latent"
FRONTIER = RESULTS.parent / "frontier"
PAPERS_AGAIN = [("paper_small/levels", "inpaint_box", "library/ddrm"), ("paper_small", "sr4", "library/vml_map")]
CELL = ["task", "noise_std", "problem", "method", "run"]


def leaderboard(folder: Path) -> pd.DataFrame:
    """A committed leaderboard; names are text."""
    return pd.read_csv(folder / layout.LEADERBOARD, dtype={"run": str, "problem": str})


def unpacked(kept: Path, results: Path, task: str = "") -> Path:
    """A results folder with the runs of an archive, all or one task's."""
    with tarfile.open(kept / "runs.tar.xz") as archive:
        members = [member for member in archive if f"/{task}/" in member.name] if task else None
        archive.extractall(results / layout.RUNS, members, filter="data")
    return results


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A results folder with the runs of the embedded benchmark, unpacked."""
    return unpacked(RESULTS, tmp_path_factory.mktemp("results"))


def test_the_leaderboard_is_what_the_rows_say(photos):
    written = leaderboard(RESULTS).set_index(CELL).sort_index()
    found = build(photos, "photos64")[0].set_index(CELL).sort_index()
    assert written.index.equals(found.index)
    for name in ["n", "diverged", *(column.name for column in (*METRICS, *EFFORT))]:
        if name in written:
            np.testing.assert_allclose(written[name], found[name].astype(float), rtol=1e-6, err_msg=name)


def test_every_run_says_how_it_was_made(photos):
    folders = layout.run_folders(photos)
    assert len(folders) == len(leaderboard(RESULTS))
    for folder in folders:
        run = open_run(folder)
        assert run.record["environment"]["git"].strip("0123456789abcdef") == "", folder
        assert run.record["run"] == folder.name, folder
        assert run.record["command"]["overrides"], folder
        assert len(run.asked) >= 64, folder


@pytest.mark.parametrize(("task", "noise_std", "method"), AGAIN)
def test_a_cell_has_the_name_of_its_committed_run(task, noise_std, method, cell_config, photos):
    cell = (f"task={task}", f"task.noise_std={noise_std}", f"method={method}")
    name = Cell(cell_config("experiment=reproduce_photos", *cell)).name
    assert layout.RunPlace(photos, "photos64", task, method, name).folder.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(("task", "noise_std", "method"), AGAIN)
def test_a_cell_run_again_agrees(task, noise_std, method, cell_config):
    """The same run by name, and its numbers to what bfloat16 on another CPU, or other threads, may move."""
    cell = (f"task={task}", f"task.noise_std={noise_std}", f"method={method}")
    folder = run_cell(cell_config("experiment=reproduce_photos", *cell))
    again = open_run(folder).images
    row = leaderboard(RESULTS).set_index(["task", "noise_std", "method"]).loc[(task, noise_std, method)]
    assert (folder.name, len(again)) == (row["run"], row["n"])
    assert again["psnr"].mean() == pytest.approx(row["psnr"], abs=0.05)
    assert again["lpips_alex"].mean() == pytest.approx(row["lpips_alex"], abs=0.003)


def test_program_and_formula_differ_by_what_the_rows_say(tmp_path):
    folder = RESULTS.parent / "programs"
    with tarfile.open(folder / "runs.tar.xz") as archive:
        archive.extractall(tmp_path / layout.RUNS, filter="data")
    for run in map(open_run, layout.run_folders(tmp_path)):
        assert run.record["environment"]["git"].strip("0123456789abcdef") == "", run.folder
    found = programs.table(tmp_path)
    pd.testing.assert_frame_equal(found, pd.read_csv(folder / "programs.csv"), rtol=1e-6)
    assert programs.to_markdown(found) == (folder / "programs.md").read_text()
    page = (RESULTS.parents[1] / "docs" / "published.md").read_text()
    assert all(line in page for line in programs.to_markdown(found).splitlines() if line.startswith("|"))


@pytest.fixture(scope="module")
def paper_small(tmp_path_factory) -> Path:
    """A results folder with the runs of the paper's comparison, unpacked."""
    return unpacked(PAPER, tmp_path_factory.mktemp("paper_small"))


def test_the_papers_comparison_is_what_the_rows_say(paper_small):
    for run in map(open_run, layout.run_folders(paper_small)):
        assert run.record["environment"]["git"].strip("0123456789abcdef") == "", run.folder
    equal_compute.main(["--results", str(paper_small)])
    for written in PAPER.glob("*.csv"):
        if written.stem.endswith("_distances"):  # of features, which need the pictures
            continue
        kept, made = (pd.read_csv(folder / written.name) for folder in (PAPER, paper_small))
        pd.testing.assert_frame_equal(made, kept, rtol=1e-5)
        page = f"{written.stem.removesuffix('_pairs')}.md"
        kept, made = (
            re.split("## (?:Task by task|Fréchet distance)", (folder / page).read_text())[0].strip()
            for folder in (PAPER, paper_small)
        )
        assert made == kept  # what follows holds Fréchet distances


@pytest.mark.parametrize("folder", [OPERATORS, LATENT], ids=lambda folder: folder.name)
def test_the_table_of_the_new_tasks_is_what_the_rows_say(folder, tmp_path):
    unpacked(folder, tmp_path)
    written = leaderboard(folder / "photos64").set_index(CELL).sort_index()
    found = build(tmp_path, "photos64")[0].set_index(CELL).sort_index()
    assert written.index.equals(found.index)
    for name in ("n", "diverged", "psnr", "lpips_alex", "psnr_mean", "psnr_best", "nfe", "applications"):
        np.testing.assert_allclose(written[name], found[name].astype(float), rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_the_frontier_is_what_the_rows_say(tmp_path):
    unpacked(FRONTIER, tmp_path)
    frontier.main(["--results", str(tmp_path)])
    for written in FRONTIER.glob("*.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / written.name), pd.read_csv(written), rtol=1e-5)
    assert (tmp_path / "frontier.md").read_text() == (FRONTIER / "frontier.md").read_text()


def test_a_task_of_the_frontier_is_what_its_rows_say(tmp_path):
    task = "inpaint_half"
    unpacked(FRONTIER, tmp_path, task)
    frontier.main(["--results", str(tmp_path)])
    for name in ("frontier.csv", "frontier_pairs.csv"):
        written = pd.read_csv(FRONTIER / name)
        of_task = written[written["task"] == task].reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / name), of_task, rtol=1e-5)


@pytest.mark.parametrize(("experiment", "task", "method"), PAPERS_AGAIN)
def test_a_cell_of_the_papers_comparison_has_the_name_of_its_committed_run(
    experiment, task, method, cell_config, paper_small
):
    config = cell_config(f"experiment={experiment}", f"task={task}", f"method={method}", "method.budget=at_50")
    name = Cell(config).name
    assert layout.RunPlace(paper_small, "photos64", config.task.name, config.method.name, name).folder.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "task", "method"), PAPERS_AGAIN)
def test_a_cell_of_the_papers_comparison_run_again_agrees(experiment, task, method, cell_config, paper_small):
    config = cell_config(f"experiment={experiment}", f"task={task}", f"method={method}", "method.budget=at_50")
    again = open_run(run_cell(config))
    kept = open_run(layout.RunPlace(paper_small, "photos64", again.task, again.method, again.name).folder)
    assert list(again.images["image_id"]) == list(kept.images["image_id"])
    for metric, off in (("psnr", 0.05), ("lpips_alex", 0.003), ("lpips_vgg", 0.003)):
        assert again.images[metric].mean() == pytest.approx(kept.images[metric].mean(), abs=off)


@pytest.mark.parametrize(("experiment", "dataset", "task", "noise_std", "method"), EXACT)
def test_an_exact_cell_run_again_agrees(experiment, dataset, task, noise_std, method, cell_config):
    """To what the order of sums in float64 may move on another CPU, or with other threads."""
    cell = (f"dataset={dataset}", f"task={task}", f"task.noise_std={noise_std}", f"method={method}")
    folder = run_cell(cell_config(f"experiment={experiment}", *cell))
    run = open_run(folder)
    again, scenes = run.images, run.scenes
    written = leaderboard(ORACLE / dataset).set_index("run").loc[folder.name]
    assert run.problem.name == written["problem"]
    assert (written["task"], written["noise_std"], written["n"]) == (task, noise_std, len(again))
    assert again["map_gap"].median() == pytest.approx(written["map_gap"], rel=1e-3, abs=1e-6)
    assert again["residual"].mean() == pytest.approx(written["residual"], rel=1e-3, abs=1e-9)
    assert scenes["sw2"].mean() == pytest.approx(written["sw2"], rel=1e-3)
    assert scenes["sw2_floor"].mean() == pytest.approx(written["sw2_floor"], rel=1e-3)
