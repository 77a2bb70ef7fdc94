"""Processes on one results folder at once: on the same run, on its shards, on other methods."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.faults import inject
from benchmarks.faults.ground import NETWORK, SINGLY, TIMED, Ended, Ground, Outcome, Process, undisturbed
from vml_bench.analysis.leaderboard import build

TWELVE = (*SINGLY, "runner.limit=12")
METHODS = (TWELVE, (*TWELVE, "method=wiener"), NETWORK)


def ended(ground: Ground, processes: Sequence[Process]) -> list[Ended]:
    """Wait for processes; images that more than one of them restored count twice, a failure as a manual step."""
    all_ended = [process.end() for process in processes]
    restored = Counter(image_id for one in all_ended for image_id in one.restored)
    ground.outcome.twice += sum(count - 1 for count in restored.values())
    ground.outcome.manual += sum(one.code > 0 for one in all_ended)
    return all_ended


def same_run(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Two, three or four processes on the same run: no image is restored twice."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), TWELVE)
        ground.spoilt(*ended(ground, [ground.begin() for _ in range(2 + i % 3)]))
        total += ground.compared()
    return total


def one_of_them_killed(folder: Path, draw: random.Random, times: int) -> Outcome:
    """As `same_run`, and one of them is killed in the middle."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), TWELVE)
        killed = ground.begin(partial(inject.before_restoring, draw.randint(2, 3), inject.die))
        others = [ground.begin() for _ in range(1 + i % 3)]
        ground.spoilt(*(one for one in ended(ground, [killed, *others]) if one.code < 0), times=1)
        total += ground.healed()
    return total


def shards(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Three shards of a run at once: together they are the run of a single process, and so is their leaderboard."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), TWELVE)
        ground.spoilt(*ended(ground, [ground.begin(more=[f"runner.shard={n}/3"]) for n in (1, 2, 3)]))
        ours, theirs = (_leaderboard(results) for results in (ground.results, undisturbed(TWELVE)))
        ground.outcome.different += not ours.equals(theirs)
        total += ground.compared()
    return total


def _leaderboard(results: Path) -> pd.DataFrame:
    frame = build(results, "photos64")[0]
    return frame.drop(columns=[name for name in frame if name.removesuffix("_low").removesuffix("_high") in TIMED])


def methods(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Three methods at once, which share originals and measurements."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i))
        processes = []
        for cell in METHODS:
            ground.cell = cell
            processes.append(ground.begin())
        all_ended = [process.end() for process in processes]
        ground.outcome.manual += sum(one.code != 0 for one in all_ended)
        ground.spoilt(*all_ended)
        total += ground.compared(cells=METHODS)
    return total
