"""Clocks that jump, and locks whose holders are gone."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

from benchmarks.faults import inject
from benchmarks.faults.damage import half_done
from benchmarks.faults.ground import PHOTOS, SINGLY, Ground, Outcome

YEAR = 365 * 86400


def moved(folder: Path, draw: random.Random, times: int) -> Outcome:
    """Files from the far past or future, and a wall clock that runs backwards."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), SINGLY)
        half_done(ground)
        for path in [*ground.results.rglob("*"), ground.results]:
            stamp = time.time() + draw.uniform(-30, 30) * YEAR
            os.utime(path, (stamp, stamp))
        ended = ground.start(partial(inject.turn_clock_back, draw.uniform(-30, 30) * YEAR))
        ground.spoilt(ended)
        ground.outcome.manual += ended.code != 0
        total += ground.healed()
    return total


def stale(folder: Path, draw: random.Random, times: int) -> Outcome:
    """A process is killed with its locks in hand, and their files name one that is gone: no one waits."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), PHOTOS)
        place = draw.choice([("remove", "runs/*/parts/*", 1), ("rename", "runs/*/run.json", 1)])
        ended = ground.start(partial(inject.die_before, ground.results, *place))
        for name in (".lock", "locks"):
            (ground.run / name).write_text(f"{draw.randrange(1, 1 << 22)}\n")
        ground.spoilt(ended)
        waited = ground.start(partial(inject.record_waiting, folder / f"{i}-waits"))
        ground.outcome.manual += waited.code != 0 or (folder / f"{i}-waits").exists()
        total += ground.healed()
    return total
