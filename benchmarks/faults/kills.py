"""Processes that are ended: at random moments, at every change they make on disk, in the middle of a batch."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

from benchmarks.faults import inject
from benchmarks.faults.ground import PHOTOS, Ground, Outcome, duration

PLACES = {
    "between pictures and their part": ("rename", "runs/*/parts/*.parquet", 2),
    "while a picture is written": ("rename", "runs/*/recon/*.png", 3),
    "while a part is written through to the disk": ("fsync", "runs/*/parts/.*", 2),
    "right after a part": ("rename", "runs/*/recon/*.png", 5),
    "while features are merged": ("fsync", "runs/*/.features.*", 1),
    "between features.npz and images.parquet": ("rename", "runs/*/images.parquet", 1),
    "between merging and the removal of parts": ("remove", "runs/*/parts/*.parquet", 1),
    "while merged parts are removed": ("remove", "runs/*/parts/*.parquet", 2),
    "while the first run.json is written": ("rename", "runs/*/run.json", 1),
    "while the last run.json is written": ("rename", "runs/*/run.json", 2),
    "while the originals' table is merged": ("rename", "originals/*/images.parquet", 1),
    "while the originals' parts are removed": ("remove", "originals/*/parts/*.parquet", 1),
    "while an original is written": ("rename", "originals/*/*.png", 2),
    "while a measurement is written": ("rename", "measurements/*.png", 2),
    "while config.yaml is written": ("rename", "runs/*/config.yaml", 1),
}
"""Where a process is killed, just before: kind of change, path within the results folder, which of these changes."""


def at_random(folder: Path, draw: random.Random, times: int, sign: int = signal.SIGKILL) -> Outcome:
    """Signal after signal at uniformly random moments, until a start gets to its end; then anew.

    The moments are drawn from the time that an undisturbed run took, and from a shorter one after each start that ended
    before its signal: the undisturbed run may have been slow by chance.
    """
    total, longest, too_late = Outcome(), duration(PHOTOS), 0
    for attempt in range(10 * times):
        if total.injected >= times:
            return total
        ground = Ground(folder / str(attempt))
        while total.injected + ground.outcome.injected < times:
            before = ground.finished()
            process = ground.begin()
            process.wait_until("ready")
            time.sleep(draw.uniform(0, longest / (1 + too_late)))
            if process.alive:
                os.kill(process.pid, sign)
            ended = process.end()
            ground.outcome.again += len(before.intersection(ended.restored))
            if ended.code == 0:
                too_late += 1
                break
            too_late = 0
            ground.spoilt(ended)
            if sign == signal.SIGINT:
                ground.outcome.manual += "stopped; what is finished is kept" not in ended.said
        total += ground.healed()
    raise AssertionError(f"{times} signals could not be placed in {10 * times} runs")


def at_place(place: str, folder: Path) -> Outcome:
    """SIGKILL just before one change on disk."""
    ground = Ground(folder)
    ended = ground.start(partial(inject.die_before, ground.results, *PLACES[place]))
    if ended.code != -signal.SIGKILL:
        raise AssertionError(f"not killed {place}: {ended.said}")
    ground.spoilt(ended)
    return ground.healed()


def at_places(folder: Path, draw: random.Random, times: int) -> Outcome:
    """SIGKILL at each of `PLACES`."""
    return sum((at_place(place, folder / str(i)) for i, place in enumerate(PLACES)), Outcome())


def changes(folder: Path) -> int:
    """Number of changes on disk that a run makes."""
    ground = Ground(folder)
    seen = folder / "changes"
    ground.start(partial(inject.count_changes, ground.results, seen))
    return len(seen.read_text().splitlines())


def at_change(folder: Path, nth: int) -> Outcome:
    """SIGKILL just before the n-th change on disk."""
    ground = Ground(folder)
    ground.spoilt(ground.start(partial(inject.die_at_change, ground.results, nth)))
    return ground.healed()


def at_changes(folder: Path, draw: random.Random, times: int) -> Outcome:
    """SIGKILL at `times` changes on disk, evenly spread, or at every one."""
    total = changes(folder / "counted")
    step = max(1, total // times)
    return sum((at_change(folder / str(nth), nth) for nth in range(1, total + 1, step)), Outcome())


terminated = partial(at_random, sign=signal.SIGTERM)
interrupted = partial(at_random, sign=signal.SIGINT)
