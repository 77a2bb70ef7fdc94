import csv
import json
import math

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_reference, write_run
from tests.tracker.conftest import WHICH
from vml_bench.analysis.leaderboard import build
from vml_bench.runner.tracking import tracked
from vml_bench.store import layout
from vml_bench.store.runs import open_run, read_run
from vml_bench.tracker import CSVTracker
from vml_bench.tracker.progress import Progress, rows_on_disk
from vml_bench.tracker.record import outcome_of, subject_of

IDS = ("a", "b", "c")


def test_scores_are_the_leaderboards_own(tmp_path):
    rng = np.random.default_rng(0)
    folder = write_run(tmp_path, diverged=["b"], features=rng.normal(size=(3, 4)))
    write_reference(tmp_path, IDS, rng.normal(size=(3, 4)))
    outcome, _ = outcome_of(read_run(folder), panel=2)
    frame, _ = build(tmp_path, "toy")
    row = frame.iloc[0].drop(list(WHICH)).dropna()
    assert outcome.scores == row.to_dict()
    assert {"psnr", "psnr_low", "psnr_high", "lpips_alex", "fd_alex", "n", "diverged", "nfe"} <= outcome.scores.keys()


def test_running_figures_end_at_the_leaderboards_means(tmp_path):
    folder = write_run(tmp_path, diverged=["b"])
    progress = Progress()
    steps = [progress.add(row) for row in rows_on_disk(folder)]
    assert [step["images"] for step in steps] == [1, 2, 3]
    assert [step["diverged"] for step in steps] == [0, 1, 1]
    assert [step["psnr"] for step in steps] == [20.0, 20.0, 22.0]
    assert steps[-1]["lpips_alex"] == pytest.approx(build(tmp_path, "toy")[0].iloc[0]["lpips_alex"])
    assert steps[-1]["nfe_per_second"] == 20 / 0.25


def test_before_an_image_is_well_there_is_no_mean():
    row = {"image_id": "a", "psnr": math.nan, "residual": math.inf, "nfe": 5, "seconds": 0.0, "status": "diverged"}
    figures = Progress().add(row)
    assert figures["diverged"] == 1
    assert all(math.isnan(figures[name]) for name in ("psnr", "residual", "nfe_per_second"))


def test_csv_has_one_line_per_batch_and_goes_on_where_it_ended(tmp_path):
    folder = write_run(tmp_path, ids=("a",), psnr=(20.0,), lpips=(0.3,))
    record = json.loads((folder / layout.RECORD).read_text())
    (folder / layout.RECORD).write_text(json.dumps(record | {"ids": list("abcde")}))

    def rows(ids, psnr, status="ok"):
        numbers = {"psnr": psnr, "ssim": 0.5, "lpips_alex": 0.1, "residual": 1.0, "nfe": 20, "vjp": 0}
        return [{"image_id": i, **numbers, "seconds": 0.25, "memory_mb": 100.0, "status": status} for i in ids]

    with tracked(CSVTracker(), folder) as handle:
        handle.images_done(rows("bc", 23.0))
    table = pd.concat([pd.read_parquet(folder / layout.TABLE), pd.DataFrame(rows("bc", 23.0))])
    table.to_parquet(folder / layout.TABLE, index=False)
    with tracked(CSVTracker(), folder) as handle:
        handle.images_done(rows("d", 26.0))
        handle.images_done(rows("e", math.nan, "diverged"))
    with open(folder / layout.PROGRESS, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["images"], line["wanted"], line["diverged"], line["psnr"]) for line in lines] == [
        ("3", "5", "0", "22"),
        ("4", "5", "0", "23"),
        ("5", "5", "1", "23"),
    ]
    assert all(line["nfe_per_second"] == "80" and line["time"].endswith("+00:00") for line in lines)


def test_how_a_run_was_made_does_not_change_what_is_logged_but_its_numbers_do(tmp_path):
    folder = write_run(tmp_path, pictures=True)

    def digest():
        return outcome_of(read_run(folder), panel=2)[0].digest(subject_of(folder))

    before = digest()
    config = json.loads((folder / layout.CONFIG).read_text())
    (folder / layout.CONFIG).write_text(json.dumps(config | {"runner": {"batch_size": 3}, "tracker": {"tag": "x"}}))
    assert digest() == before
    table = pd.read_parquet(folder / layout.TABLE)
    table.loc[0, "psnr"] += 0.5
    table.to_parquet(folder / layout.TABLE, index=False)
    assert digest() != before


def test_pictures_stand_side_by_side_and_a_missing_one_is_left_out(tmp_path):
    folder = write_run(tmp_path, pictures=True, diverged=["b"])
    open_run(folder).picture("b").unlink()
    first, second = outcome_of(read_run(folder), panel=2)[0].pictures
    assert first.caption == "a: original, measurement, restoration · 20.00 dB · LPIPS 0.300"
    assert second.caption == "b: original, measurement · diverged"
    assert first.strip().size == (24, 8)
    assert second.strip().size == (16, 8)
    assert [first.strip().getpixel((8 * i, 0))[0] for i in range(3)] == [50, 80, 60]


def test_a_subject_is_called_and_grouped_by_what_it_computed(tmp_path):
    told = {"settings": {"eta": 0.5}, "about": {"family": "mine"}}
    folder = write_run(tmp_path, "own_method", record=told)
    subject, run = subject_of(folder), open_run(folder)
    assert subject.name == "own_method · eta=0.5"
    assert subject.group == f"toy/sr4 σ_y=0.05 {run.problem.name}"
    assert subject.key == ("toy", "sr4", "own_method", "0123456789")
    words = {"name": run.name, "problem": run.problem.name, "prior": "shipped@0f1e2d3c", "settings": "eta=0.5"}
    assert subject.config["run"] == words
    assert subject.tags == ("mine", "toy", "sr4")
    other = write_run(tmp_path, "own_method", "of two", asked={"operator": {"BlockAverage": {"factor": 2}}})
    assert subject_of(other).group != subject.group


def test_tags_fit_wandb(tmp_path):
    folder = write_run(tmp_path, "m" * 80, task="t" * 80, dataset="t" * 80, synthetic=True)
    assert subject_of(folder).tags == ("t" * 64, "synthetic")
