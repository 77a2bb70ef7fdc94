"""Trackers on cells that run: closed-form priors, so that a cell takes no time."""

import csv

import pandas as pd
import pytest
import wandb

from tests.tracker.conftest import WHICH, OfflineRun, waiting
from vml_bench.analysis.leaderboard import build
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import Runner, run_cell
from vml_bench.store import layout
from vml_bench.tracker.wandb_tracker import WandbTracker

CELL = ("dataset=gmm", "task=random_projection", "method=pinv", "runner.limit=4", "runner.batch_size=2")


def test_a_tracker_names_no_run_and_its_csv_lies_in_the_runs_folder(cell_config):
    folder = run_cell(cell_config(*CELL, "tracker=csv"))
    with open(folder / layout.PROGRESS, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["images"], line["wanted"]) for line in lines] == [("2", "4"), ("4", "4")]
    assert float(lines[-1]["map_gap"]) == pytest.approx(
        pd.read_parquet(folder / layout.TABLE)["map_gap"].mean(), rel=1e-4
    )
    assert Cell(cell_config(*CELL)).folder == folder


@pytest.mark.usefixtures("offline")
def test_a_cell_that_goes_on_goes_on_with_its_wandb_run(cell_config, tmp_path, monkeypatch):
    config = cell_config(*CELL, "tracker=wandb")
    restore, calls = Runner.restore, []

    def stop_at_the_second(self, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return restore(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "restore", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run_cell(config)
    (stopped,) = waiting(tmp_path)
    stopped = OfflineRun(stopped)
    run_cell(config)
    (finished,) = waiting(tmp_path)  # it holds all that the stopped one held
    run = OfflineRun(finished)
    assert stopped.run["run_id"] == run.run["run_id"]
    assert "map_gap" not in stopped.summary
    steps = [entry["progress/images"] for entry in run.history if "progress/images" in entry]
    assert steps == [1, 2, 3, 4]
    row = build(tmp_path, "gmm")[0].iloc[0].drop(list(WHICH)).dropna()
    row = row[[name for name in row.index if not name.endswith(("_low", "_high"))]]  # of one scene
    assert {name: run.summary[name] for name in row.index} == row.to_dict()
    assert {"map_gap", "sw2", "n", "nfe", "seconds", "memory_mb"} <= set(row.index)


@pytest.mark.usefixtures("offline")
def test_a_tracker_that_fails_does_not_cost_a_row(cell_config, monkeypatch, capsys):
    def refuse(**_):
        raise wandb.errors.CommError("no route to host")

    monkeypatch.setattr(wandb, "init", refuse)
    monkeypatch.setattr(WandbTracker, "gave_up", False)
    folder = run_cell(cell_config(*CELL, "tracker=wandb"))
    assert len(pd.read_parquet(folder / layout.TABLE)) == 4
    assert capsys.readouterr().err.count("warning: tracker=wandb stopped (CommError: no route to host)") == 1
