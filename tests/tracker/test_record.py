import csv
import json
import math

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_reference, write_run
from vml_bench.leaderboard import build
from vml_bench.leaderboard.runs import read_run
from vml_bench.tracker import CSVTracker, tracked
from vml_bench.tracker.progress import Progress, rows_on_disk
from vml_bench.tracker.record import outcome_of, subject_of

IDS = ("a", "b", "c")


def test_scores_are_the_leaderboards_own(tmp_path):
    rng = np.random.default_rng(0)
    folder = write_run(tmp_path, diverged=["b"], features=rng.normal(size=(3, 4)))
    write_reference(tmp_path, IDS, rng.normal(size=(3, 4)))
    outcome, _ = outcome_of(read_run(folder), panel=2)
    frame, _ = build(tmp_path, "toy")
    row = frame.iloc[0].drop(["dataset", "task", "noise_std", "method", "run"]).dropna()
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


def test_csv_has_a_line_a_batch_and_goes_on_where_it_ended(tmp_path):
    folder = write_run(tmp_path, ids=("a",), psnr=(20.0,), lpips=(0.3,))
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"ids": list("abcde")}))

    def rows(ids, psnr, status="ok"):
        numbers = {"psnr": psnr, "ssim": 0.5, "lpips_alex": 0.1, "residual": 1.0, "nfe": 20, "vjp": 0}
        return [{"image_id": i, **numbers, "seconds": 0.25, "memory_mb": 100.0, "status": status} for i in ids]

    with tracked(CSVTracker(), folder) as handle:
        handle.images_done(rows("bc", 23.0))
    table = pd.concat([pd.read_parquet(folder / "images.parquet"), pd.DataFrame(rows("bc", 23.0))])
    table.to_parquet(folder / "images.parquet", index=False)
    with tracked(CSVTracker(), folder) as handle:
        handle.images_done(rows("d", 26.0))
        handle.images_done(rows("e", math.nan, "diverged"))
    with open(folder / "progress.csv", newline="", encoding="utf-8") as file:
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
    config = json.loads((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(json.dumps(config | {"runner": {"batch_size": 3}, "tracker": {"tag": "x"}}))
    assert digest() == before
    table = pd.read_parquet(folder / "images.parquet")
    table.loc[0, "psnr"] += 0.5
    table.to_parquet(folder / "images.parquet", index=False)
    assert digest() != before


def test_pictures_stand_side_by_side_and_a_missing_one_is_left_out(tmp_path):
    folder = write_run(tmp_path, pictures=True, diverged=["b"])
    (folder / "recon" / "b.png").unlink()
    first, second = outcome_of(read_run(folder), panel=2)[0].pictures
    assert first.caption == "a: original, measurement, restoration · 20.00 dB · LPIPS 0.300"
    assert second.caption == "b: original, measurement · diverged"
    assert first.strip().size == (24, 8)
    assert second.strip().size == (16, 8)
    assert [first.strip().getpixel((8 * i, 0))[0] for i in range(3)] == [50, 80, 60]
