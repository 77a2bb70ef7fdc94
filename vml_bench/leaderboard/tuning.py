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

SCORES = ("lpips_alex", "psnr", "nfe", "vjp", "seconds")
KEYS = ("method", "setting", "cells", "n", "diverged", *SCORES)


def tuning_table(results_dir: str | Path, dataset: str) -> pd.DataFrame:
    """A row a method and setting: means over all images of all cells, LPIPS ascending within each method.

    A setting is what differs between the runs of one method in `method.sampler`. Means are over the images that did
    not diverge. Settings that did not run every cell of their method are left out, so that rows compare.

    Args:
        results_dir: the folder that holds runs/.
        dataset: name under which the runs are filed.

    Returns:
        The columns of `KEYS`; `cells` counts (task, σ_y) pairs.

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
    return pd.DataFrame(rows, columns=KEYS)


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
    """The rows of one method, best LPIPS first."""
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
        images = pd.concat([run.images for run in group])
        good = images[images["status"] == "ok"]
        counted = {"cells": len(cells), "n": len(images), "diverged": len(images) - len(good)}
        rows.append({"method": method, "setting": setting, **counted, **good[list(SCORES)].mean().to_dict()})
    return sorted(rows, key=lambda row: row["lpips_alex"])


def _sampler(run: Run) -> dict[str, Any]:
    return read_config(run.folder / "config.yaml")["method"]["sampler"]


def _flatten(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif name != "_target_":
            yield prefix + name, value
