"""Progress of a sweep: a line before each cell, with its number and the time left, and a table of all at the end."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vml_bench.columns import Column
from vml_bench.runner.sweep import cells_of, overrides_of
from vml_bench.text import aligned, number

SHOWN = 3
"""Scores on a cell's line, at most."""


@dataclass(frozen=True)
class Done:
    """A cell that has been run: what its line says, and what tells how long others will take.

    Attributes:
        dataset, task, method: their names.
        noise_std: σ_y.
        seed: of masks, noise and method.
        settings: what its method has otherwise than its configuration, in words.
        folder: the run's.
        images: finished ones that did not diverge, of all starts.
        scores: (title, as printed), by column.
        seconds: per image, as printed by its row.
        picture: of its first image; None where no pictures are kept.
        restored: images of this start.
        restoring: seconds that they took.
        aside: seconds that all else took, once the cell was built; from a sweep's second cell on, in all.
    """

    dataset: str
    task: str
    method: str
    noise_std: float
    seed: int
    settings: str
    folder: Path
    images: int
    scores: dict[str, tuple[str, str]]
    seconds: float
    picture: Path | None
    restored: int
    restoring: float
    aside: float

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder.parents[4]

    def line(self) -> str:
        """The cell on one line: scores, seconds per image, folder."""
        said = [f"{title} {value}" for title, value in self.scores.values()]
        said += [f"{number(self.seconds, 2)} s/image", f"{self.images} images"]
        label = f"{self.task} σ_y={self.noise_std:g} · {self.method}{f' ({self.settings})' if self.settings else ''}"
        return f"{label}: {' · '.join(said)} · results in {self.folder}"


def scores_of(rows: Sequence[Mapping[str, Any]], columns: Iterable[Column]) -> dict[str, tuple[str, str]]:
    """The first scores of images that rows have, averaged as their columns are and printed with unit."""
    found: dict[str, tuple[str, str]] = {}
    for column in columns:
        values = [row[column.name] for row in rows if isinstance(row.get(column.name), float)]
        values = [value for value in values if not math.isnan(value)]
        if values and column.better and not column.scenes and len(found) < SHOWN:
            value = (statistics.median if column.statistic == "median" else statistics.fmean)(values)
            unit = f" {column.unit}" if column.unit else ""
            found[column.name] = (column.title, number(value, column.digits, column.significant) + unit)
    return found


def summary(done: Sequence[Done]) -> str:
    """A sweep as a table, where a picture of it lies, and what to type next."""
    titles = list(dict.fromkeys(title for cell in done for title, _ in cell.scores.values()))
    told = {
        "dataset": [cell.dataset for cell in done],
        "task": [cell.task for cell in done],
        "method": [f"{cell.method} ({cell.settings})" if cell.settings else cell.method for cell in done],
        "σ_y": [f"{cell.noise_std:g}" for cell in done],
        "seed": [str(cell.seed) for cell in done],
        **{title: [dict(cell.scores.values()).get(title, "") for cell in done] for title in titles},
        "s/image": [number(cell.seconds, 2) for cell in done],
        "images": [str(cell.images) for cell in done],
    }
    for name in ("dataset", "seed"):  # where it is the same for all, it need not be said
        if len(set(told[name])) == 1:
            del told[name]
    words = [i for i, name in enumerate(told) if name in ("dataset", "task", "method")]
    rows = [list(told), *map(list, zip(*told.values(), strict=True))]
    lines = ["", *aligned(rows, left=words, rule=True, keys=len(words)), ""]
    if pictures := [cell.picture for cell in done if cell.picture]:
        lines.append(f"a picture: {pictures[0]}")
    option = "" if done[-1].results == Path("results") else f" --results {done[-1].results}"
    lines.append(f"next: vml-bench leaderboard{option}    tables and figures of all that ran")
    lines.append(f"      vml-bench report{option}    a page of it, to open in a browser")
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


@dataclass(frozen=True)
class Work:
    """What a cell asks for: its method's name, its number of images, and the network passes of each."""

    method: str
    images: int
    passes: int

    def units(self, images: int) -> int:
        """What the time of restoring some of its images is proportional to."""
        return images * max(self.passes, 1)


def time_left(to_come: Sequence[Work], done: Sequence[tuple[Work, Done]]) -> float | None:
    """Seconds that the cells to come will take; None where nothing tells.

    A restoration takes as long per pass as its method's took by now, or else as all methods' did; a Jacobian product
    counts as a pass more. All else takes as long as it took a finished cell.
    """
    made = [(work, cell) for work, cell in done if cell.restored]
    by_method = {work.method: cell.restoring / work.units(cell.restored) for work, cell in made}
    passes = sum(work.passes * cell.restored for work, cell in made)
    if not passes and any(work.passes and work.method not in by_method for work in to_come):
        return None
    a_pass = sum(cell.restoring for work, cell in made if work.passes) / max(passes, 1)
    aside = statistics.median_high([cell.aside for _, cell in made]) if made else 0.0
    others = {work.method: a_pass if work.passes else 0.0 for work in to_come}
    return sum(aside + work.units(work.images) * (others | by_method)[work.method] for work in to_come)


class SweepProgress(Callback):
    """Prints "cell 5 of 18 · 1:02 so far · about 3:20 left" to stderr before each cell of a sweep.

    Cells are weighed by their images and network passes, counted before the second one (`time_left`). Launchers that
    run cells in other processes print nothing here.
    """

    def __init__(self) -> None:
        self._sweep: DictConfig | None = None
        self._total = 0
        self._work: list[Work] | None = None
        self._done: list[tuple[int, Done]] = []
        self._started = 0.0
        self._began: float | None = None
        """When the cell before began; None at the first, whose time is also that of all that is loaded once."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count the cells."""
        self._sweep, self._total = config, len(overrides_of(config))
        self._started = time.monotonic()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Say where the sweep stands."""
        if not self._total:
            return
        at, now = config.hydra.job.num, time.monotonic()
        if self._done and self._done[-1][0] == at - 1 and self._began is not None:
            done = self._done[-1][1]
            self._done[-1] = (at - 1, replace(done, aside=now - self._began - done.restoring))
        line = f"cell {at + 1} of {self._total}"
        if at:
            line += f" · {clock(now - self._started)} so far"
        if self._done and (left := self._left(at)) is not None:
            line += f" · about {clock(left)} left"
        print(line, file=sys.stderr, flush=True)
        self._began = time.monotonic() if at else None

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Note a finished cell."""
        if self._total and isinstance(done := getattr(job_return.return_value, "done", None), Done):
            self._done.append((config.hydra.job.num, done))

    def _left(self, at: int) -> float | None:
        if self._work is None:
            from vml_bench.runner.cost import passes_of  # and torch with it

            cells = cells_of(self._sweep, GlobalHydra.instance().config_loader())
            self._work = [Work(str(cell.method.name), *passes_of(cell)) for cell in cells]
        return time_left(self._work[at:], [(self._work[number], done) for number, done in self._done])
