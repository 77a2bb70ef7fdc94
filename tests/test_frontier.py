"""The frontier: what is on it, and when a method with a knob is dominated, ties or dominates."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_run
from vml_bench.errors import InputError
from vml_bench.store import layout
from vml_bench.store.runs import select_runs
from vml_bench.studies.frontier.cells import KNOBS, OWN, cells, front, over_tasks, point_table
from vml_bench.studies.frontier.report import main

IDS = [f"{photograph}-{crop}" for photograph in "abcdefgh" for crop in range(2)]
WAVE = np.cos(np.arange(len(IDS)))


def leave(results, method, lpips=0.3, psnr=25.0, knob=1.0, nfe=30, task="sr4", dataset="photos64", noise=0.0, seed=0):
    """A run whose images score about so much; two runs of equal scores are equal image by image, but for `noise`."""
    name = f"{len(layout.run_folders(results)):010d}"
    wander = np.random.default_rng(seed).standard_normal(len(IDS))
    scores = {
        "lpips": lpips + 0.1 * WAVE + 0.01 * lpips * WAVE**2 + noise * wander,
        "psnr": psnr + WAVE + 0.001 * psnr * WAVE**2,
    }
    folder = write_run(results, method, name, dataset=dataset, task=task, noise_std=0.05, ids=IDS, **scores)
    table = pd.read_parquet(folder / layout.TABLE).assign(nfe=nfe)
    table.to_parquet(folder / layout.TABLE, index=False)
    record = json.loads((folder / layout.RECORD).read_text())
    record["form"]["method"] = {"X": {KNOBS[method][0]: knob} if method in KNOBS else {}}
    (folder / layout.RECORD).write_text(json.dumps(record))


def found(results):
    return list(cells(select_runs(results, "photos64")[0]))


@pytest.mark.parametrize(
    ("places", "verdict", "lowest"),
    [
        ([(0.30, 25.0)], "tie", True),
        ([(0.25, 25.0)], "dominates", True),
        ([(0.30, 25.5)], "dominates", True),
        ([(0.25, 25.5)], "dominates", True),
        ([(0.35, 24.5)], "dominated", False),
        ([(0.25, 24.5)], "dominated", True),
        ([(0.25, 24.5), (0.35, 25.5)], "dominated", True),
        ([(0.25, 24.5), (0.30, 25.0)], "tie", True),
        ([(0.35, 25.5), (0.40, 26.0)], "dominated", False),
    ],
)
def test_verdicts_against_one_other(tmp_path, places, verdict, lowest):
    leave(tmp_path, "ddrm")
    for i, (lpips, psnr) in enumerate(places):
        leave(tmp_path, OWN, lpips, psnr, knob=float(i))
    (cell,) = found(tmp_path)
    assert (cell.verdict(), cell.lowest_lpips()) == (verdict, lowest)


def test_to_dominate_it_must_be_ahead_of_every_other(tmp_path):
    leave(tmp_path, "ddrm")
    leave(tmp_path, "ddnm", lpips=0.25)
    leave(tmp_path, OWN, lpips=0.25, knob=1.0)
    (cell,) = found(tmp_path)
    assert cell.verdict() == "tie"


def test_each_place_of_anothers_knob_must_be_answered(tmp_path):
    leave(tmp_path, "lmaps", knob=1.0)
    leave(tmp_path, "lmaps", 0.2, 24.0, knob=0.5)
    leave(tmp_path, OWN, knob=1.0)
    (cell,) = found(tmp_path)
    assert cell.verdict() == "dominated"
    assert cell.answers["answers"].to_dict() == {"lmaps, ρ = 0.5": False, "lmaps, ρ = 1": True}


def test_cells_are_by_budget_and_task_and_hold_what_compares(tmp_path):
    for nfe, task in ((20, "sr4"), (51, "sr4"), (30, "inpaint_box")):
        leave(tmp_path, "ddrm", nfe=nfe, task=task)
        leave(tmp_path, OWN, nfe=nfe - 1, task=task, knob=1.0)
    leave(tmp_path, "ddrm", task="deblur_gauss")
    leave(tmp_path, "ddrm", nfe=100)
    assert [cell.problem[:1] + cell.problem[2:] for cell in found(tmp_path)] == [
        (20, "sr4"),
        (30, "inpaint_box"),
        (50, "sr4"),
    ]


def test_two_runs_at_one_place_are_refused(tmp_path):
    leave(tmp_path, OWN, knob=1.0, nfe=29)
    leave(tmp_path, OWN, knob=1.0, nfe=30)
    with pytest.raises(InputError, match=r"two runs of sr4 .* cost about 30"):
        found(tmp_path)


def test_the_front_is_what_no_other_beats_in_both():
    points = pd.DataFrame({"lpips_alex": [0.1, 0.2, 0.3, 0.2, 0.15], "psnr": [20.0, 22.0, 21.0, 21.5, 20.0]})
    assert front(points).index.tolist() == [0, 1]


def test_means_are_over_the_same_tasks_for_all_and_none_that_is_solved_exactly(tmp_path):
    for task in ("sr4", "inpaint_box"):
        leave(tmp_path, "ddrm", 0.2, task=task)
        leave(tmp_path, OWN, 0.25, knob=1.0, task=task)
    leave(tmp_path, OWN, 0.1, knob=10.0)
    leave(tmp_path, "ddrm", task="denoise", psnr=np.inf)
    leave(tmp_path, OWN, 0.1, knob=1.0, task="denoise")
    (means,) = over_tasks(found(tmp_path))
    assert means.problem == (30, 0.05, "2 tasks")
    table = point_table([means])
    assert table[["method", "knob", "front"]].values.tolist() == [["ddrm", 1.0, True], [OWN, 1.0, False]]
    assert table["lpips_alex"].diff().iloc[1] == pytest.approx(0.05, abs=0.01)
    assert means.verdict() == "dominated"


def test_over_tasks_of_a_sweep_that_is_not_done_there_may_be_nothing_to_compare(tmp_path):
    for task, knob in (("sr4", 1.0), ("inpaint_box", 0.3)):
        leave(tmp_path, "ddrm", task=task)
        leave(tmp_path, OWN, knob=knob, task=task)
    assert list(over_tasks(found(tmp_path))) == []


def test_over_tasks_counts_what_no_task_shows_alone(tmp_path):
    for seed, task in ((1, "sr4"), (2, "inpaint_box"), (4, "deblur_gauss"), (5, "colorize")):
        leave(tmp_path, "ddrm", 0.3, task=task)
        leave(tmp_path, OWN, 0.288, knob=1.0, task=task, noise=0.03, seed=seed)
    alone = found(tmp_path)
    assert {cell.verdict() for cell in alone} == {"tie"}
    (together,) = over_tasks(alone)
    assert together.verdict() == "dominates"


def test_the_command_writes_tables_and_a_figure_of_the_means_and_of_each_task(tmp_path, capsys):
    for nfe, task in ((20, "sr4"), (30, "sr4"), (30, "denoise")):
        leave(tmp_path, "ddrm", nfe=nfe, task=task)
        leave(tmp_path, OWN, 0.25, 25.5, knob=1.0, nfe=nfe, task=task)
        leave(tmp_path, OWN, 0.35, 26.0, knob=0.3, nfe=nfe, task=task)
    for eta, lpips, psnr in ((0.4, 0.35, 25.0), (0.7, 0.3, 26.0), (1.0, 0.25, 25.0)):
        leave(tmp_path, "ddrm", lpips, psnr, knob=eta, nfe=20, dataset="photos64_tune")
        leave(tmp_path, "ddrm", 1 - lpips, psnr, knob=eta, nfe=50, dataset="photos64_tune")
    main(["--results", str(tmp_path)])
    names = ["frontier.csv", "frontier.md", "frontier.png", "frontier_denoise.png", "frontier_pairs.csv"]
    names += ["frontier_sr4.png", "frontier_tuning.csv"]
    assert sorted(capsys.readouterr().out.split()) == [str(tmp_path / name) for name in names]
    page = (tmp_path / "frontier.md").read_text()
    assert "| 30 | 2 | 0 | 0 | 2 | 2 | 2 | 0.000 / 0.00 |" in page.replace("  ", " ")
    assert "| DDRM, η = 1 | 3 | 0 | 0 |" in page
    assert "σ_y = 0.05, 30 (2 tasks) |" in page  # one task has no mean over tasks
    tuning = pd.read_csv(tmp_path / "frontier_tuning.csv")
    best = {name: tuning[tuning[name]].set_index("budget")["knob"] for name in ("lowest_lpips", "highest_psnr")}
    assert best["lowest_lpips"].to_dict() == {20: 1.0, 50: 0.4}
    assert best["highest_psnr"].to_dict() == {20: 0.7, 50: 0.7}
    assert "| DDRM, η = 0.7 | 0.306 / **26.06** | 0.708 / **26.06** | 0% |" in page
    table = pd.read_csv(tmp_path / "frontier.csv")
    assert table.groupby("method")["front"].all().to_dict() == {OWN: True, "ddrm": False}
    assert point_table(found(tmp_path))["lpips_alex"].min() == pytest.approx(table["lpips_alex"].min(), abs=1e-6)


def test_without_the_method_it_says_what_runs_it(tmp_path):
    leave(tmp_path, "ddrm")
    with pytest.raises(InputError, match="make reproduce-frontier"):
        main(["--results", str(tmp_path)])
