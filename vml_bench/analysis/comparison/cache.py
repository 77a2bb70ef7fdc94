"""Tests and ranks, kept by the scores they were made from: results/.cache/<dataset>.<metric>.compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from vml_bench.analysis.comparison.cells import Cell, unit_names
from vml_bench.analysis.kept import Keep, digest, version_of
from vml_bench.columns import Column
from vml_bench.identity import in_words

MODULES = tuple(f"analysis.comparison.{name}" for name in ("cells", "compare", "paired", "ranking"))
"""The code that makes them."""


def key_of(cells: Sequence[Cell], column: Column, by: str) -> str:
    """Digest of all that tests and ranks of some cells by a metric depend on."""
    parts = [version_of(MODULES), column.name, str(column.better)]
    for cell in cells:
        problem, scores = cell.problem, cell.scores(column.name).to_numpy(np.float64)
        about = [problem.dataset, problem.task, problem.noise_std, problem.name, problem.images]
        runs = [(run.method, run.prior, run.name, in_words(run.all_settings)) for run in cell.runs]
        units = unit_names(problem.dataset, cell.images, by)
        said = [about, runs, cell.labels, cell.variants, cell.images, units, cell.diverged.tolist()]
        parts += [json.dumps(said), hashlib.sha256(scores.tobytes()).hexdigest()]
    return digest(parts)


def frames(keep: Keep, key: str, make: Callable[[], Sequence[pd.DataFrame]]) -> list[pd.DataFrame]:
    """Tables as they were kept, or made now; their indices are not kept."""
    return [pd.DataFrame(columns) for columns in keep(key, lambda: [frame.to_dict("list") for frame in make()])]
