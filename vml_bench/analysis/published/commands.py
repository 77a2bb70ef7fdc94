"""The commands that run what published claims need and is not run yet."""

from __future__ import annotations

import math

import pandas as pd

from vml_bench.analysis.published.claims import NOISE_STDS
from vml_bench.analysis.published.compare import NOT_RUN
from vml_bench.configuration import choices, named_options

METRICS_FOR = {"FID": "fid", "KID": "fid", "LPIPS": "full"}
"""For a metric that metrics=default has not, or not under every convention, the choice that has it."""


def commands(rows: pd.DataFrame, dataset: str) -> list[str]:
    """What to type for those rows of a comparison that read "not run".

    Args:
        rows: of `compare`, one source's.
        dataset: the name under which the runs would be filed.

    Returns:
        One command for each σ_y, of every task and method that a claim at that σ_y needs; `NOISE_STDS` where the source
        states none. What a person has to fill in is in capitals. None where nothing is to be run, or the data set is
        not one of the project's own.
    """
    if dataset not in choices("dataset"):
        return []
    to_give = [key for key, value in named_options("dataset")[dataset].items() if value == "???"]
    found: dict[str, None] = {}
    for noise_std, same in rows[rows["verdict"] == NOT_RUN].groupby("noise_std_published", sort=False, dropna=False):
        levels = NOISE_STDS if math.isnan(noise_std) else (noise_std,)
        methods = dict.fromkeys(name for names in same["methods"] for name in names.split(" or "))
        metrics = [METRICS_FOR.get(metric, "") for metric in same["metric"]]
        words = {
            "dataset": [choices("dataset")[dataset]],
            **{f"dataset.{key}": [key.upper()] for key in to_give},
            "task": [choices("task")[name] for name in same["task"].drop_duplicates()],
            "task.noise_std": [f"{level:g}" for level in levels],
            "method": [choices("method")[name] for name in methods],
            "metrics": [next((name for name in ("fid", "full") if name in metrics), "")],
        }
        said = [f"{key}={','.join(values)}" for key, values in words.items() if any(values)]
        found[" ".join(["vml-bench run -m", *said])] = None
    return list(found)
