"""What a tuning sweep found: every setting of every method, pooled over the problems that all of them ran."""

from __future__ import annotations

from itertools import chain
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from vml_bench.errors import InputError
from vml_bench.identity import flat, in_words
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
    varied = [key for key in sorted({*chain(*forms)}) if len({str(form.get(key)) for form in forms}) > 1]
    several = len({run.prior for run in runs}) > 1
    groups: dict[str, list[Run]] = {}
    for run, form in zip(runs, forms, strict=True):
        told = {key: form[key] for key in varied if key in form} | ({"prior": run.prior} if several else {})
        groups.setdefault(in_words(told) or "as configured", []).append(run)
    cells = {run.problem for run in runs}
    names = EXACT_SCORES if runs[0].exact else SCORES
    rows = []
    for setting, group in groups.items():
        if {run.problem for run in group} != cells or len(group) > len(cells):
            continue
        n, good = sum(len(run.images) for run in group), pd.concat([run.good for run in group])
        counted = {"cells": len(cells), "n": n, "diverged": n - len(good)}
        pooled = pd.concat([good, *(run.scenes for run in group if run.scenes is not None)]).reindex(columns=names)
        values = {name: own.dropna() for name, own in pooled.items()}
        scores = {name: own.median() if name == "map_gap" else own.mean() for name, own in values.items()}
        rows.append({"method": method, "setting": setting, **counted, **scores})
    return sorted(rows, key=lambda row: (isnan(row[names[0]]), row[names[0]]))
