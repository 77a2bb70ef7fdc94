"""From images to rows: means with bootstrap intervals, set distances, divergence counted."""

from __future__ import annotations

import hashlib
import warnings as python_warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vml_bench.errors import InputError
from vml_bench.leaderboard.cache import Fingerprints, Finished, RowCache
from vml_bench.leaderboard.columns import DISTANCES, KEYS, MEANS, ORACLE, ROW, Column, with_bounds
from vml_bench.leaderboard.features import Extract, Features, Originals, complete_features
from vml_bench.leaderboard.intervals import bootstrap_intervals, scene_interval
from vml_bench.leaderboard.runs import (
    UNREADABLE,
    Run,
    each,
    left_out,
    no_run,
    open_run,
    place_of,
    read_runs,
    run_folders,
)
from vml_bench.metrics.frechet import frechet_distance, frechet_interval, kernel_distance

KERNEL = ("kid", "kd_alex")
"""The columns of distances that are kernel distances; the others are Fréchet distances."""
NOTHING = (float("nan"),) * 3
"""Value and bounds of what has no value."""


def datasets(results_dir: str | Path, dataset: str | None = None) -> list[str]:
    """Names of the data sets that have runs, or just `dataset`.

    Raises:
        InputError: there are no runs.
    """
    if dataset is not None:
        return [dataset]
    root = Path(results_dir, "runs")
    found = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    if not found:
        raise InputError(f"no run under {root}", "vml-bench run dataset=photos64 task=sr4 method=vml_map_pre")
    return found


def build(results_dir: str | Path, dataset: str, synthetic: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Pool what is on disk into a leaderboard, a row a run.

    Means are over the images that did not diverge; `n` counts all images and `diverged` the others. FID under
    its conventions, KID and the distances on AlexNet features are between the restorations of those images and
    the originals of the same images. Means have bootstrap intervals, Fréchet distances those of
    `frechet_interval`, kernel distances none.

    No more than one run is in memory at a time, beside the originals' features. Finished rows are kept
    (`vml_bench.leaderboard.cache`): a run is read again only when one of its files or the originals' features
    have changed.

    Args:
        results_dir: the folder that holds runs/ and references/.
        dataset: name under which the runs are filed.
        synthetic: whether runs whose images or weights are made up count too.

    Returns:
        The frame: the columns of `KEYS`, then each of `COLUMNS` with `_low` and `_high` (95 %), NaN where
        there is no value; behind them those of `ORACLE`, if a run is scored against an exact posterior. And
        warnings: a line for each run left out or unfinished, and for each task whose runs saw different images.
        `frame.attrs` holds "dataset", "synthetic" (such runs are in it), "exact" (runs scored against an exact
        posterior are) and the "warnings" for whoever prints it.

    Raises:
        InputError: there is no readable run, or every run is synthetic and those were not asked for.
    """
    originals = Originals(references(results_dir, dataset))
    fingerprints = Fingerprints(originals.folder)
    rows, unreadable, hidden = [], [], 0
    with RowCache(results_dir, dataset) as cache:
        for folder in run_folders(results_dir, dataset):
            key = fingerprints.of(folder)
            kept = cache.get(key)
            try:
                run = None if kept else open_run(folder)
                if (kept or run).synthetic and not synthetic:
                    hidden += 1
                else:
                    rows.append(kept or cache.put(key, _finish(run, originals)))
            except UNREADABLE as error:
                unreadable.append(left_out(folder, error))
    if not rows and not hidden:
        raise no_run(results_dir, dataset, unreadable)
    warnings = unreadable + _hidden(dataset, hidden, len(rows))
    rows.sort(key=lambda one: place_of(*one.row[1:5]))
    warnings += dict.fromkeys(line for one in rows for line in one.warnings)
    warnings += _unlike_images(rows)
    frame = pd.DataFrame([one.row for one in rows], columns=list(ROW))
    synthetic, exact = (any(getattr(one, name) for one in rows) for name in ("synthetic", "exact"))
    if not exact:
        frame = frame.drop(columns=[name for column in ORACLE for name in with_bounds(column.name)])
    frame.attrs = {"dataset": dataset, "synthetic": synthetic, "exact": exact, "warnings": warnings}
    return frame, warnings


def _finish(run: Run, originals: Originals) -> Finished:
    """A run's row and what else a leaderboard takes from it."""
    warnings: list[str] = []
    reference = originals.features if run.features.vectors else Features({})
    if run.features.vectors and originals.problem:
        warnings.append(originals.problem)
    row = leaderboard_row(run, reference, warnings)
    images = hashlib.sha256("\0".join(sorted(run.images["image_id"].tolist())).encode()).hexdigest()
    values = (row.get(name, float("nan")) for name in ROW)
    return Finished(tuple(values), run.synthetic, run.exact, images, tuple(warnings))


def select_runs(results_dir: str | Path, dataset: str, synthetic: bool = False) -> tuple[list[Run], list[str]]:
    """`read_runs` without the synthetic ones, unless they are asked for; a warning says how many were left out.

    Raises:
        InputError: there is no readable run, or every run is synthetic and those were not asked for.
    """
    runs, warnings = read_runs(results_dir, dataset)
    kept = [run for run in runs if synthetic or not run.synthetic]
    return kept, warnings + _hidden(dataset, len(runs) - len(kept), len(kept))


def _hidden(dataset: str, hidden: int, shown: int) -> list[str]:
    """A line that says how many synthetic runs are not shown; an error where they are all that there is."""
    if not shown:
        raise InputError(f"every run of '{dataset}' is synthetic ({hidden})", "add --synthetic to show them")
    return [f"{hidden} synthetic run{'s' * (hidden > 1)} left out (--synthetic shows them)"] if hidden else []


def references(results_dir: str | Path, dataset: str) -> Path:
    """The folder of a data set's originals, as pictures and as features."""
    return Path(results_dir, "references", dataset)


def store_features(
    results_dir: str | Path, dataset: str, network: str, extract: Extract, synthetic: bool = False
) -> None:
    """Compute and keep, from the pictures on disk, a network's features of every run and of the originals.

    Runs scored against an exact posterior keep no pictures and are passed over.

    Raises:
        InputError: a picture is missing, or there is no run to be shown.
    """
    runs, _ = select_runs(results_dir, dataset, synthetic)
    originals: dict[str, Path] = {}
    for run in (run for run in each(runs) if not run.exact):
        ids = run.good["image_id"].tolist()
        complete_features(run.folder, network, {i: run.picture(i) for i in ids}, extract, f"{network} of {run.label}")
        originals |= {i: references(results_dir, dataset) / f"{i}.png" for i in ids}
    complete_features(references(results_dir, dataset), network, originals, extract, f"{network} of the originals")


def leaderboard_row(run: Run, reference: Features, warnings: list[str]) -> dict[str, object]:
    """One run as a row of the leaderboard, by column; what a reader must know is added to `warnings`."""
    good = run.good
    if missing := len(set(run.expected) - set(run.images["image_id"].tolist())):
        warnings.append(f"{run.label} is unfinished: {missing} of {len(run.expected)} images are still to come")
    measured = dict.fromkeys((column.name for column in MEANS), NOTHING)
    measured |= _averages(good, MEANS, by_scene="scene" in good)
    if run.exact:
        measured |= dict.fromkeys((column.name for column in ORACLE), NOTHING)
        measured |= _averages(good, [column for column in ORACLE if not column.scenes], by_scene="scene" in good)
        measured |= _averages(_current_scenes(run, warnings), [column for column in ORACLE if column.scenes])
    for column in DISTANCES:
        measured[column.name] = _distance(run, column.name, column.features, reference, warnings)
    identity = (
        run.dataset,
        run.task,
        run.noise_std,
        run.method,
        run.name,
        len(run.images),
        len(run.images) - len(good),
    )
    row: dict[str, object] = dict(zip(KEYS, identity, strict=True))
    for name, values in measured.items():
        row.update(zip(with_bounds(name), values, strict=True))
    return row


def _averages(
    table: pd.DataFrame, columns: Sequence[Column], by_scene: bool = False
) -> dict[str, tuple[float, float, float]]:
    """The mean or median of those columns that a table has, with bounds from drawing its rows, or its scenes, anew."""
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
    """A distance between a run's restorations and their originals, with its bounds; NaN where features are missing."""
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


def _unlike_images(rows: Sequence[Finished]) -> list[str]:
    """A line for each task and noise level whose runs were not scored on the same images."""
    cells: dict[tuple[object, ...], set[str]] = {}
    for one in rows:
        cells.setdefault(one.row[1:3], set()).add(one.images)
    return [
        f"{task} at noise_std {noise_std:g}: the runs were scored on different images, so their rows do not compare"
        for (task, noise_std), sets in cells.items()
        if len(sets) > 1
    ]
