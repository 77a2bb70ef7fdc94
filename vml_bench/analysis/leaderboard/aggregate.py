"""From images to rows: means with bootstrap intervals, set distances, divergence counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vml_bench.analysis.kept import digest
from vml_bench.analysis.leaderboard.cache import Finished, kept_rows
from vml_bench.analysis.leaderboard.intervals import bootstrap_intervals, scene_interval
from vml_bench.cards import cards
from vml_bench.columns import BY_NAME, DISTANCES, KEYS, ORACLE, Column, columns_of, with_bounds
from vml_bench.identity import in_words
from vml_bench.metrics.frechet import frechet_distance, frechet_interval, kernel_distance
from vml_bench.store.features import Extract, Features, complete_features, read_originals
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import Problem, Run, by_problem, each, open_run, read_runs, select_runs

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
    originals = cache(read_originals)
    with kept_rows(results_dir, dataset) as kept:
        found, warnings = read_runs(
            results_dir, dataset, synthetic, lambda run: kept(run, lambda run: finish(run, originals))
        )
    warnings += dict.fromkeys(line for _, one in found for line in one.warnings)
    warnings += _unlike(found)
    frame = _frame([run for run, _ in found], [one.row for _, one in found])
    frame.attrs |= {"dataset": dataset, "warnings": warnings}
    return frame, warnings


def of_runs(folders: Iterable[Path]) -> pd.DataFrame:
    """The rows of some runs, with the columns of `build`; `attrs` holds the "results" folder, too.

    Raises:
        One of `vml_bench.store.runs.UNREADABLE`: a run cannot be read.
    """
    runs, originals = [open_run(folder) for folder in folders], cache(read_originals)
    frame = _frame(runs, [finish(run, originals).row for run in each(runs)])
    frame.attrs |= {"dataset": runs[0].dataset, "results": str(runs[0].results)}
    return frame


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


def finish(run: Run, originals: Callable[[Path], tuple[Features, str]]) -> Finished:
    """Compute what a leaderboard takes from a run; its originals' features are read where it has features itself."""
    reference, problem = originals(run.originals) if run.features.vectors else (Features({}), "")
    warnings = [problem] if problem else []
    row = leaderboard_row(run, reference, warnings)
    return Finished(row, digest(sorted(run.images["image_id"].tolist())), warnings)


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
    if missing := len(set(run.asked) - set(run.images["image_id"].tolist())):
        warnings.append(f"{run.label} is unfinished: {missing} of {len(run.asked)} images are still to come")
    columns = [c for c in columns_of(run.columns).values() if not c.features and (run.exact or not c.exact)]
    measured = dict.fromkeys((column.name for column in columns), NOTHING)
    measured |= _averages(good, [column for column in columns if not column.scenes], by_scene="scene" in good)
    if run.exact:
        measured |= _averages(_current_scenes(run, warnings), [column for column in columns if column.scenes])
    for column in DISTANCES:
        measured[column.name] = _distance(run, column.name, column.features, reference, warnings)
    row: dict[str, Any] = {
        **{"dataset": run.dataset, "task": run.task, "noise_std": run.noise_std, "problem": run.problem.name},
        **{"prior": run.prior, "method": run.method, "settings": in_words(run.all_settings), "run": run.name},
        **{"n": len(run.images), "diverged": len(run.images) - len(good)},
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
    values = [pd.to_numeric(table[column.name], errors="coerce").to_numpy(np.float64) for column in columns]
    if by_scene:
        scenes = table["scene"].to_numpy()
        bounds = [scene_interval(own, scenes, column.statistic) for column, own in zip(columns, values, strict=True)]
    else:
        bounds = bootstrap_intervals(np.stack(values).T).tolist()
    return {
        column.name: (float(np.median(own) if column.statistic == "median" else own.mean()), *interval)
        for column, own, interval in zip(columns, values, bounds, strict=True)
    }


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
    if missing or not ids:
        return NOTHING
    restored, originals = run.features.rows(network, ids), reference.rows(network, ids)
    if name in KERNEL:
        return float(kernel_distance(restored, originals)), *NOTHING[1:]
    return frechet_distance(restored, originals), *frechet_interval(restored, originals)


def unlike_metrics(runs: Iterable[Run]) -> list[str]:
    """Names of metrics of one's own that runs of one problem computed with different settings."""
    forms: dict[str, set[str]] = {}
    for said in (said for run in runs for said in run.columns if isinstance(said, Mapping)):
        forms.setdefault(str(said.get("name")), set()).add(json.dumps(said.get("form"), sort_keys=True))
    return [name for name, known in forms.items() if len(known) > 1 and name not in BY_NAME]


def _unlike(found: Iterable[tuple[Run, Finished]]) -> list[str]:
    """What does not compare within a problem: a line for each.

    Images: the runs were not scored on the same ones. Metrics of one's own: the runs computed one differently; it is
    taken out of their rows.
    """
    problems: dict[Problem, list[tuple[Run, Finished]]] = {}
    for run, one in found:
        problems.setdefault(run.problem, []).append((run, one))
    warnings = []
    for problem, members in problems.items():
        where = f"{problem.task} at noise_std {problem.noise_std:g}"
        if len({one.images for _, one in members}) > 1:
            warnings.append(
                f"{where}: the runs were scored on different images, so their rows do not compare; those of fewer "
                "images than others are marked and never best"
            )
        for name in unlike_metrics(run for run, _ in members):
            warnings.append(f"{where}: {name} is left out, the runs computed it with different settings")
            for _, one in members:
                one.row.update(zip(with_bounds(name), NOTHING, strict=True))
    return warnings
