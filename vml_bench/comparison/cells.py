"""The runs of one task at one noise level, lined up image by image; and which images are drawn together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vml_bench.leaderboard.runs import Run

BY = ("auto", "image", "photograph")
EQUAL = 110.0
"""PSNR in dB of a picture equal to its original, ∞ in the leaderboard: above what a single value that is one of 256
levels off leaves in any picture of up to 700×700 pixels (48.1 + 10 log10 3N²)."""


@dataclass(frozen=True)
class Cell:
    """One task at one noise level.

    Attributes:
        dataset, task, noise_std: what its runs share.
        runs: in the leaderboard's order.
        images: the images that most of its runs were scored on, sorted; ranks are over these.
    """

    dataset: str
    task: str
    noise_std: float
    runs: tuple[Run, ...]
    images: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """The method of each run, with the run's name where a method has several."""
        often = Counter(run.method for run in self.runs)
        return [f"{run.method} ({run.name})" if often[run.method] > 1 else run.method for run in self.runs]

    @cached_property
    def diverged(self) -> np.ndarray:
        """Number of diverged images of each run."""
        return np.array([len(run.images) - len(run.good) for run in self.runs])

    def scores(self, metric: str) -> pd.DataFrame:
        """A row an image that any run finished, a column a run: NaN where it has no score, `EQUAL` for ∞."""
        columns = []
        perfect = EQUAL if metric == "psnr" else np.nan
        for run in self.runs:
            values = run.good.set_index("image_id").get(metric, pd.Series(dtype=float))
            columns.append(pd.to_numeric(values, errors="coerce").replace({np.inf: perfect}).rename(None))
        return pd.concat(columns, axis=1, keys=range(len(columns))).sort_index()

    def ranked(self, scores: pd.DataFrame) -> np.ndarray:
        """Which runs take part in ranks: no image diverged, and every one of `images` has a score."""
        return scores.reindex(list(self.images)).notna().all().to_numpy() & (self.diverged == 0)


def cells(runs: Sequence[Run]) -> list[Cell]:
    """Group runs by task and noise level; `images` is the commonest set among them, the larger where two are even."""
    groups: dict[tuple[str, str, float], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.task, run.noise_std), []).append(run)
    found = []
    for key, members in groups.items():
        sets = Counter(tuple(sorted(run.images["image_id"])) for run in members)
        found.append(Cell(*key, tuple(members), max(sets, key=lambda ids: (sets[ids], len(ids), ids))))
    return found


def unit_names(dataset: str, image_ids: Sequence[str], by: str = "auto") -> list[str]:
    """What each image is drawn with when images are drawn anew.

    Crops of one photograph are not independent. Their ids begin with its name, "astronaut-192-064".

    Args:
        dataset: name of the data set.
        image_ids: one an image.
        by: "image"; "photograph", the id up to its first "-"; or "auto", by photograph for the photos64 sets.
    """
    together = by == "photograph" or (by == "auto" and dataset.startswith("photos64"))
    return [image_id.split("-")[0] if together else image_id for image_id in image_ids]


def numbered(names: Sequence[str]) -> tuple[np.ndarray, int]:
    """Units by number, in sorted order: ((n,) numbers, how many there are)."""
    known, numbers = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return numbers, len(known)
