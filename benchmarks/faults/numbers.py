"""What a network may do instead of answering: NaN, infinity, no memory."""

from __future__ import annotations

import math
import random
import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.faults import inject
from benchmarks.faults.ground import NETWORK, Ground, Outcome, compare, undisturbed
from vml_bench.analysis.leaderboard import build
from vml_bench.store.parts import table

VALUES = (math.nan, math.inf, -math.inf)


def not_finite(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Random evaluations answer NaN or ±∞: these images are rows that diverged, the others as if nothing had been.

    They are results, so a later start leaves them alone; once the run's folder is removed they are done again.
    """
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), NETWORK)
        ended = ground.start(partial(inject.spoil_numbers, VALUES[i % len(VALUES)], 0.4, draw.randrange(1 << 30)))
        ground.spoilt(ended)
        rows = pd.read_parquet(table(ground.run))
        diverged = set(rows["image_id"][rows["status"] == "diverged"])
        ground.outcome.manual += not _counted_but_not_averaged(ground, rows)
        ground.outcome.manual += bool(ground.start().restored)
        for count, names in zip(
            ("lost", "twice", "different"), compare(ground.results, undisturbed(NETWORK)), strict=True
        ):
            spoilt = sum(Path(name).stem not in diverged for name in names)
            setattr(ground.outcome, count, getattr(ground.outcome, count) + spoilt)
        shutil.rmtree(ground.run)
        total += ground.healed()
    return total


def _counted_but_not_averaged(ground: Ground, rows: pd.DataFrame) -> bool:
    """Whether the leaderboard has the diverged images in its counts and not in its means."""
    good = rows[rows["status"] == "ok"]
    row = build(ground.results, "photos64")[0].iloc[0]
    mean = good["psnr"].mean()
    same = math.isclose(row["psnr"], mean, rel_tol=1e-12) if len(good) else math.isnan(row["psnr"])
    return row["n"] == len(rows) == 6 and row["diverged"] == len(rows) - len(good) and same


def out_of_memory(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Allocators give up at random on more than one image: the batch is halved until it fits."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), (*NETWORK, "runner.batch_size=4"))
        process = ground.begin(partial(inject.run_out_of_memory, 0.3, draw.randrange(1 << 30)))
        ended = process.end()
        ground.spoilt(ended, times=ended.said.count("out of memory at"))
        ground.outcome.manual += ended.code != 0
        total += ground.healed(close=True)
    return total


def one_does_not_fit(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Not even one image fits, from some moment on: said in a line; with memory it goes on."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), NETWORK)
        seed, after = draw.randrange(1 << 30), draw.randrange(3, 15)
        ended = ground.start(partial(inject.run_out_of_memory, 1.0, seed, alone=True, after=after))
        ground.spoilt(ended)
        ground.outcome.manual += "does not fit into the memory" not in ended.complaint
        total += ground.healed(close=True)
    return total
