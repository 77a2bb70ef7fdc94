"""What a tuning sweep found: every setting of every method, pooled over the cells that all of them ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from vml_bench.configuration import read_config
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.leaderboard.aggregate import select_runs
from vml_bench.leaderboard.columns import method_rank
from vml_bench.leaderboard.runs import Run

COST = ("nfe", "vjp", "seconds")
SCORES = ("lpips_alex", "psnr", *COST)
"""Of pictures, means over images; the first orders the settings."""
EXACT_SCORES = ("sw2", "map_gap", "mean_error", "residual_ratio", *COST)
"""Against an exact posterior, means over scenes or images but the MAP gap, a median; the first orders the settings."""
KEYS = ("method", "setting", "cells", "n", "diverged")


def tuning_table(results_dir: str | Path, dataset: str) -> pd.DataFrame:
    """A row a method and setting, pooled over all cells, the best setting of each method first.

    A setting is what differs between the runs of one method in `method.sampler`. Scores are of the images that did
    not diverge. Settings that did not run every cell of their method are left out, so that rows compare.

    Args:
        results_dir: the folder that holds runs/.
        dataset: name under which the runs are filed.

    Returns:
        The columns of `KEYS`, `cells` counting (task, σ_y) pairs, and those of `SCORES`, by which LPIPS ascends; on a
        data set whose posterior is exact, of `EXACT_SCORES`, by which SW2 does.

    Raises:
        InputError: there is no readable run.
    """
    runs, _ = select_runs(results_dir, dataset)
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    rows = [row for method in sorted(by_method, key=method_rank) for row in _settings(method, by_method[method])]
    if not rows:
        raise InputError(f"no tuning run of '{dataset}' under {results_dir}", "vml-bench run experiment=tune/dps")
    return pd.DataFrame(rows)


def write_tuning(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the table as tuning.csv and tuning.md into `folder`; returns their paths."""
    written = []
    for name, text in (
        ("tuning.csv", frame.to_csv(index=False)),
        ("tuning.md", frame.to_markdown(index=False, floatfmt=".3f") + "\n"),
    ):
        with replacing(folder / name) as partial:
            partial.write_text(text)
        written.append(folder / name)
    return written


def _settings(method: str, runs: list[Run]) -> list[dict[str, Any]]:
    """The rows of one method, the best first."""
    samplers = [dict(_flatten(_sampler(run))) for run in runs]
    names = sorted({name for sampler in samplers for name in sampler})
    varied = [name for name in names if len({str(sampler.get(name)) for sampler in samplers}) > 1]
    groups: dict[str, list[Run]] = {}
    for run, sampler in zip(runs, samplers, strict=True):
        setting = ", ".join(f"{name}={sampler.get(name)}" for name in varied) or "as configured"
        groups.setdefault(setting, []).append(run)
    cells = {(run.task, run.noise_std) for run in runs}
    rows = []
    for setting, group in groups.items():
        if {(run.task, run.noise_std) for run in group} != cells:
            continue
        n, good = sum(len(run.images) for run in group), pd.concat([run.good for run in group])
        counted = {"cells": len(cells), "n": n, "diverged": n - len(good)}
        rows.append({"method": method, "setting": setting, **counted, **_scores(group, good)})
    first = EXACT_SCORES[0] if runs[0].exact else SCORES[0]
    return pd.DataFrame(rows).sort_values(first, kind="stable").to_dict("records") if rows else []


def _scores(runs: list[Run], good: pd.DataFrame) -> dict[str, float]:
    """The pooled scores of the runs of one setting and of their images that did not diverge."""
    if not runs[0].exact:
        return good[list(SCORES)].mean().to_dict()
    tables = [run.scenes for run in runs if run.scenes is not None]  # where all images diverged there is none
    scenes = pd.concat(tables) if tables else pd.DataFrame(columns=["sw2", "mean_error"], dtype=float)
    means = pd.concat([scenes[["sw2", "mean_error"]].mean(), good[["residual_ratio", *COST]].mean()])
    return {name: good["map_gap"].median() if name == "map_gap" else means[name] for name in EXACT_SCORES}


def _sampler(run: Run) -> dict[str, Any]:
    return read_config(run.folder / "config.yaml")["method"]["sampler"]


def _flatten(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif name != "_target_":
            yield prefix + name, value
