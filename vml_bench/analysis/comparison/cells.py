"""The runs of one problem, lined up image by image, and which images are resampled together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vml_bench.analysis.leaderboard.aggregate import unlike_metrics
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import Problem, Run, by_problem

BY = ("auto", "image", "photograph")
EQUAL = 110.0
"""PSNR in dB of a restoration equal to its ground truth, ∞ in the leaderboard: more than any picture of up to 700×700
pixels has in which a single value is off by one of 256 levels (48.1 + 10 log10 3N²)."""


@dataclass(frozen=True)
class Cell:
    """One problem.

    Attributes:
        problem: the problem that its runs solve.
        difference: what tells it from others of its task and noise level, "factor 2"; empty where it is alone.
        runs: in the leaderboard's order.
        labels: what each run is called in this cell.
        variants: what each run is called over all cells: the same where method, settings, prior and way of computing
            are the same.
        images: the images that most of its runs were scored on, sorted; everything in the cell is over these.
    """

    problem: Problem
    difference: str
    runs: tuple[Run, ...]
    labels: tuple[str, ...]
    variants: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def title(self) -> str:
        """The task, and what tells its problem from others: "sr4 · factor 2"."""
        return f"{self.problem.task} · {self.difference}" if self.difference else self.problem.task

    @property
    def heading(self) -> str:
        """Title and noise level."""
        return f"{self.title} at noise_std {self.problem.noise_std:g}"

    @cached_property
    def diverged(self) -> np.ndarray:
        """How many of `images` diverged, for each run: (runs,)."""
        own = [{*run.images["image_id"]} - {*run.good["image_id"]} for run in self.runs]
        return np.array([len(lost & {*self.images}) for lost in own])

    @cached_property
    def unlike(self) -> list[str]:
        """The metrics that its runs computed with different settings."""
        return unlike_metrics(self.runs)

    def scores(self, metric: str) -> pd.DataFrame:
        """One row per image of `images`, one column per run: NaN where it has no score, `EQUAL` for a PSNR of ∞."""
        perfect = {np.inf: EQUAL if metric == "psnr" else np.nan, -np.inf: np.nan}
        columns = [run.good.set_index("image_id").get(metric, pd.Series(dtype=float)) for run in self.runs]
        numbers = [pd.to_numeric(values, errors="coerce").replace(perfect) for values in columns]
        return pd.concat(numbers, axis=1, keys=range(len(numbers))).reindex(list(self.images))

    def ranked(self, scores: pd.DataFrame) -> np.ndarray:
        """Which runs take part in ranks, (runs,): no image diverged, and every one of `images` has a score."""
        return scores.notna().all().to_numpy() & (self.diverged == 0)


def cells(runs: Sequence[Run]) -> list[Cell]:
    """Group runs by problem; `images` is the commonest set among them, the larger where two are even."""
    groups = by_problem(runs)
    told = differences(list(groups))
    keys = {
        run.folder: json.dumps([run.method, run.form.get("method"), run.prior, run.form.get("compute")], sort_keys=True)
        for run in runs
    }
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(keys[run.folder], run)
    variants = dict(zip(first, labels(list(first.values())), strict=True))
    found = []
    for problem, members in groups.items():
        sets = Counter(tuple(sorted(run.images["image_id"])) for run in members)
        images = max(sets, key=lambda ids: (sets[ids], len(ids), ids))
        names = tuple(variants[keys[run.folder]] for run in members)
        found.append(Cell(problem, told[problem], tuple(members), tuple(labels(members)), names, images))
    return found


def unit_names(dataset: str, image_ids: Sequence[str], by: str = "auto") -> list[str]:
    """The resampling unit of each image.

    Crops of one photograph are not independent. Their ids begin with its name, "astronaut-192-064".

    Args:
        dataset: name of the data set.
        image_ids: ids of the images.
        by: "image"; "photograph", the id up to its first "-"; or "auto", by photograph for the photos64 sets.
    """
    together = by == "photograph" or (by == "auto" and dataset.startswith("photos64"))
    return [image_id.split("-")[0] if together else image_id for image_id in image_ids]
