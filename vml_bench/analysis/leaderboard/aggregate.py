"""From images to rows: means with bootstrap intervals, set distances, divergence counted."""

from __future__ import annotations

import hashlib
import json
import warnings as python_warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vml_bench.analysis.leaderboard.cache import Finished, RowCache
from vml_bench.analysis.leaderboard.intervals import bootstrap_intervals, scene_interval
from vml_bench.cards import cards
from vml_bench.columns import BY_NAME, DISTANCES, KEYS, ORACLE, Column, columns_of, with_bounds
from vml_bench.identity import in_words
from vml_bench.metrics.frechet import frechet_distance, frechet_interval, kernel_distance
from vml_bench.store import layout
from vml_bench.store.features import Extract, Features, Originals, complete_features
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import UNREADABLE, Run, by_problem, each, hidden, left_out, no_run, open_run, select_runs

KERNEL = ("kid", "kd_alex")
"""The columns of distances that are kernel distances; the others are Fréchet distances."""
NOTHING = (float("nan"),) * 3
"""Value and bounds of what has no value."""


def build(results_dir: str | Path, dataset: str, synthetic: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Pool what is on disk into a leaderboard, one row per run.

    `n` counts all images and `diverged` those that diverged; means are over the others. FID under its conventions, KID
    and the distances on AlexNet features are between the restorations of those images and their ground truth. Means
    have bootstrap intervals, Fréchet distances those of `frechet_interval`, kernel distances none.

    Only one run is in memory at a time, beside the features of the ground truth. Finished rows are kept
    (`vml_bench.analysis.leaderboard.cache`): a run is read again only when one of its files or the
    ground truth's features have changed.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
        synthetic: whether runs whose images or weights are made up count too.

    Returns:
        The frame: the columns of `KEYS`, then each of `COLUMNS`, and of the runs' own metrics, with `_low` and `_high`
        (95 %), NaN where there is no value; behind them those of `ORACLE`, if a run is scored against an exact
        posterior. Rows of one problem stand together. And warnings: a line for each run left out or unfinished.
        `frame.attrs` holds "dataset", "synthetic" (such runs are in it), "exact" (runs scored against an exact
        posterior are), the "warnings" for whoever prints it, and what rows are called: "labels" (one per row),
        "headings" (by task and problem, what tells it from others of its task), "problems" (canonical forms, by name),
        "cards" (by method) and "columns" (by name).

    Raises:
        InputError: there is no readable run, or every run is synthetic and those were not asked for.
    """
    found, unreadable, synthetics = [], [], 0
    references: dict[Path, Originals] = {}
    with RowCache(results_dir, dataset) as cache:
        for folder in layout.run_folders(results_dir, dataset):
            try:
                run = open_run(folder)
                if run.synthetic and not synthetic:
                    synthetics += 1
                    continue
                reference = references.setdefault(run.originals, Originals(run.originals))
                found.append((run, cache.row(folder, run.originals, partial(finish, replace(run), reference))))
            except UNREADABLE as error:
                unreadable.append(left_out(folder, error))
    if not found and not synthetics:
        raise no_run(results_dir, dataset, unreadable)
    warnings = unreadable + hidden(dataset, synthetics, len(found))
    found.sort(key=lambda pair: pair[0].place)
    warnings += dict.fromkeys(line for _, one in found for line in one.warnings)
    warnings += _unlike_images(found)
    warnings += _unlike_metrics(found)
    frame = _frame([run for run, _ in found], [one.row for _, one in found])
    frame.attrs |= {"dataset": dataset, "warnings": warnings}
    return frame, warnings


def _frame(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The leaderboard's frame with its attributes."""
    exact = any(run.exact for run in runs)
    columns = columns_of(said for run in runs for said in run.columns)
    shown = [column for column in columns.values() if exact or column not in ORACLE]
    names = [*KEYS, *(name for column in shown for name in with_bounds(column.name))]
    frame = pd.DataFrame([[row.get(name, float("nan")) for name in names] for row in rows], columns=names)
    groups = by_problem(runs)
    called = {id(run): label for of in groups.values() for run, label in zip(of, labels(of), strict=True)}
    frame.attrs = {
        "synthetic": any(run.synthetic for run in runs),
        "exact": exact,
        "labels": [called[id(run)] for run in runs],
        "headings": {(problem.task, problem.name): words for problem, words in differences(list(groups)).items()},
        "problems": {problem.name: problem.form for problem in groups},
        "cards": cards((run.method, run.about) for run in runs),
        "columns": columns,
    }
    return frame


def finish(run: Run, originals: Originals) -> Finished:
    """Compute what a leaderboard takes from a run."""
    warnings: list[str] = []
    reference = originals.features if run.features.vectors else Features({})
    if run.features.vectors and originals.problem:
        warnings.append(originals.problem)
    row = leaderboard_row(run, reference, warnings)
    images = hashlib.sha256("\0".join(sorted(run.images["image_id"].tolist())).encode()).hexdigest()
    return Finished(row, images, tuple(warnings))


def store_features(
    results_dir: str | Path, dataset: str, network: str, extract: Extract, synthetic: bool = False
) -> None:
    """Compute a network's features of all restorations and their ground truth from the pictures on disk, and keep them.

    Runs scored against an exact posterior keep no pictures and are skipped.

    Raises:
        InputError: a picture is missing, or there is no run to be shown.
    """
    runs, _ = select_runs(results_dir, dataset, synthetic)
    originals: dict[Path, dict[str, Path]] = {}
    for run in (run for run in each(runs) if not run.exact):
        ids = run.good["image_id"].tolist()
        complete_features(run.folder, network, {i: run.picture(i) for i in ids}, extract, f"{network} of {run.label}")
        originals.setdefault(run.originals, {}).update({i: run.original(i) for i in ids})
    for folder, pictures in originals.items():
        complete_features(folder, network, pictures, extract, f"{network} of the ground truth")


def leaderboard_row(run: Run, reference: Features, warnings: list[str]) -> dict[str, Any]:
    """One run as a row of the leaderboard, by column; adds to `warnings` what a reader must know."""
    good = run.good
    if missing := len(set(run.expected) - set(run.images["image_id"].tolist())):
        warnings.append(f"{run.label} is unfinished: {missing} of {len(run.expected)} images are still to come")
    by_scene = "scene" in good
    columns = [column for column in columns_of(run.columns).values() if not column.features]
    measured = {column.name: NOTHING for column in columns if run.exact or not column.exact}
    measured |= _averages(good, [c for c in columns if not c.scenes and (run.exact or not c.exact)], by_scene)
    if run.exact:
        measured |= _averages(_current_scenes(run, warnings), [column for column in columns if column.scenes])
    for column in DISTANCES:
        measured[column.name] = _distance(run, column.name, column.features, reference, warnings)
    row: dict[str, Any] = {
        "dataset": run.dataset,
        "task": run.task,
        "noise_std": run.noise_std,
        "problem": run.problem.name,
        "prior": run.prior,
        "method": run.method,
        "settings": in_words(run.all_settings),
        "run": run.name,
        "n": len(run.images),
        "diverged": len(run.images) - len(good),
    }
    for name, values in measured.items():
        row.update(zip(with_bounds(name), values, strict=True))
    return row


def _averages(
    table: pd.DataFrame, columns: Sequence[Column], by_scene: bool = False
) -> dict[str, tuple[float, float, float]]:
    """Mean or median of those columns that a table has, with bounds from resampling its rows or scenes."""
    columns = [column for column in columns if column.name in table]
    if table.empty or not columns:
        return {}
    values = np.stack([pd.to_numeric(table[c.name], errors="coerce").to_numpy(np.float64) for c in columns])
    centres = [
        np.median(own) if c.statistic == "median" else own.mean() for c, own in zip(columns, values, strict=True)
    ]
    if by_scene:
        scenes = table["scene"].to_numpy()
        bounds = [scene_interval(own, scenes, c.statistic) for c, own in zip(columns, values, strict=True)]
    else:
        bounds = bootstrap_intervals(values.T).tolist()
    found = zip(columns, centres, bounds, strict=True)
    return {column.name: (float(centre), *interval) for column, centre, interval in found}


def _current_scenes(run: Run, warnings: list[str]) -> pd.DataFrame:
    """The scores of a run's scenes; empty, with a warning, where images came since they were scored."""
    if run.scenes is not None and run.scenes["repeats"].sum() == len(run.good):
        return run.scenes
    if len(run.good):
        warnings.append(f"{run.label}: its scenes are not scored yet; the same command with `run` scores them")
    return pd.DataFrame()


def _distance(
    run: Run, name: str, network: str, reference: Features, warnings: list[str]
) -> tuple[float, float, float]:
    """A distance between a run's restorations and their ground truth, with bounds; NaN where features are missing."""
    if network not in run.features.vectors or network not in reference.vectors:
        return NOTHING
    ids = sorted(run.good["image_id"].tolist())
    if missing := {*run.features.missing(network, ids), *reference.missing(network, ids)}:
        warnings.append(f"{run.label}: {name} is left out, features of {len(missing)} images are missing")
        return NOTHING
    if not ids:
        return NOTHING
    restored, originals = run.features.rows(network, ids), reference.rows(network, ids)
    if name in KERNEL:
        return float(kernel_distance(restored, originals)), *NOTHING[1:]
    with python_warnings.catch_warnings(record=True) as caught:
        python_warnings.simplefilter("always", RuntimeWarning)
        distance = frechet_distance(restored, originals)
    warnings.extend(f"{run.label}: {warning.message}" for warning in caught)
    return distance, *frechet_interval(restored, originals)


def _unlike_images(found: Iterable[tuple[Run, Finished]]) -> list[str]:
    """A line for each problem whose runs were not scored on the same images."""
    cells: dict[Any, set[str]] = {}
    for run, one in found:
        cells.setdefault(run.problem, set()).add(one.images)
    return [
        f"{problem.task} at noise_std {problem.noise_std:g}: the runs were scored on different images, so their rows "
        "do not compare; those of fewer images than others are marked and never best"
        for problem, sets in cells.items()
        if len(sets) > 1
    ]


def _unlike_metrics(found: Iterable[tuple[Run, Finished]]) -> list[str]:
    """Take a metric of one's own out of a problem whose runs computed it differently; returns a line for each."""
    forms: dict[tuple[Any, str], list[tuple[str, Finished]]] = {}
    for run, one in found:
        for said in run.columns:
            name = str(said.get("name")) if isinstance(said, Mapping) else ""
            if one.row.get(name) == one.row.get(name) and name in one.row and name not in BY_NAME:
                forms.setdefault((run.problem, name), []).append((json.dumps(said.get("form"), sort_keys=True), one))
    warnings = []
    for (problem, name), known in forms.items():
        if len({form for form, _ in known}) > 1:
            warnings.append(
                f"{problem.task} at noise_std {problem.noise_std:g}: {name} is left out, the runs computed it "
                "with different settings"
            )
            for _, one in known:
                one.row.update(zip(with_bounds(name), NOTHING, strict=True))
    return warnings
