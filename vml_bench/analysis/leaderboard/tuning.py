"""What a tuning sweep found: every setting of every method, pooled over the problems that all of them ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from vml_bench.errors import InputError
from vml_bench.identity import flat, shown
from vml_bench.store.runs import Run, select_runs
from vml_bench.text import write_files

COST = ("nfe", "vjp", "seconds")
SCORES = ("lpips_alex", "psnr", *COST)
"""On pictures: means over images; settings are sorted by the first."""
EXACT_SCORES = ("sw2", "map_gap", "mean_error", "residual_ratio", *COST)
"""Against an exact posterior: means over scenes or images, of the MAP gap the median; sorted by the first."""
KEYS = ("method", "setting", "cells", "n", "diverged")


def tuning_table(results_dir: str | Path, dataset: str) -> pd.DataFrame:
    """One row per method and setting, pooled over all problems, the best setting of each method first.

    A setting is what differs between the runs of one method. Scores are of the images that did not diverge. Settings
    that did not run every problem of their method are left out, so that rows compare.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.

    Returns:
        The columns of `KEYS`, where `cells` counts problems, and those of `SCORES`, sorted by LPIPS; where the
        posterior is exact, those of `EXACT_SCORES`, sorted by SW2.

    Raises:
        InputError: there is no readable run.
    """
    runs, _ = select_runs(results_dir, dataset)
    by_method: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.card.place):
        by_method.setdefault(run.method, []).append(run)
    rows = [row for method, own in by_method.items() for row in _settings(method, own)]
    if not rows:
        raise InputError(f"no tuning run of '{dataset}' under {results_dir}", "vml-bench run experiment=tune/dps")
    return pd.DataFrame(rows)


def write_tuning(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the table as tuning.csv and tuning.md into `folder`; returns their paths."""
    text = frame.to_markdown(index=False, floatfmt=".3f")
    return write_files(folder, {"tuning.csv": frame.to_csv(index=False), "tuning.md": f"{text}\n"})


def _settings(method: str, runs: list[Run]) -> list[dict[str, Any]]:
    """The rows of one method, the best first."""
    forms = [{key.lstrip("."): value for key, value in flat({"": run.form["method"]}).items()} for run in runs]
    varied = [
        key
        for key in dict.fromkeys(key for form in forms for key in form)
        if len({str(form.get(key)) for form in forms}) > 1
    ]
    groups: dict[str, list[Run]] = {}
    for run, form in zip(runs, forms, strict=True):
        told = [f"{key}={shown(form[key])}" for key in sorted(varied) if key in form]
        told += [f"prior={run.prior}"] if len({other.prior for other in runs}) > 1 else []
        groups.setdefault(", ".join(told) or "as configured", []).append(run)
    cells = {run.problem for run in runs}
    rows = []
    for setting, group in groups.items():
        if {run.problem for run in group} != cells or len(group) > len(cells):
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
