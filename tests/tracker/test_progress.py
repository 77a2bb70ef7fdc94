import csv
import json
import math

import pandas as pd
import pytest

from tests.run_folders import write_run
from vml_bench.analysis.leaderboard import build
from vml_bench.runner.tracking import tracked
from vml_bench.store import layout
from vml_bench.store.runs import open_run
from vml_bench.tracker import CSVTracker
from vml_bench.tracker.progress import Progress


def test_running_figures_end_at_the_leaderboards_means(tmp_path):
    folder = write_run(tmp_path, diverged=["b"])
    progress = Progress()
    steps = [progress.add(row) for row in open_run(folder).images.to_dict("records")]
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


def test_a_disk_that_refuses_progress_stops_nothing(tmp_path, capsys):
    (tmp_path / layout.RECORD).write_text('{"ids": ["a"]}')
    (tmp_path / layout.PROGRESS).mkdir()
    with tracked(CSVTracker(), tmp_path) as handle:
        handle.images_done([{"image_id": "a", "psnr": 20.0, "nfe": 5, "seconds": 0.5, "status": "ok"}])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("warning: tracker=csv stopped (IsADirectoryError")
