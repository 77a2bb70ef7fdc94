"""Every two methods of every task against each other, ranks with ties, and mean ranks over tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vml_bench.comparison.cells import BY, Cell, cells, numbered, unit_names
from vml_bench.comparison.paired import draw, holm, paired_bootstrap
from vml_bench.comparison.ranking import letters, order_of, resampled_means, tied_ranks
from vml_bench.errors import InputError
from vml_bench.leaderboard.aggregate import select_runs
from vml_bench.leaderboard.columns import BY_NAME, method_rank

METRICS = ("lpips_alex", "lpips_vgg", "psnr", "ssim")
RESAMPLES, MOST_RESAMPLES = 10_000, 50_000
ALPHA = 0.05
CELL = ["dataset", "task", "noise_std", "metric"]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        dataset: whose.
        unit: what was drawn anew, "image" or "photograph".
        pairs: a row for every two runs of a cell and metric: `difference` = mean of a − b over the n images that both
            restored, its 95 % bounds, p, Holm's p over all pairs of that cell and metric, and who is `better`
            ("a", "b" or "tie").
        ranks: a row a run, cell and metric: mean over the n images it restored, `rank` (1 + the number of methods
            significantly better), `letters` (shared by methods that are not apart), and under resampling `p_best`,
            `expected_rank` with 95 % bounds, `p_rank_1`, `p_rank_2`, … NaN and no letters where it is not ranked.
        overall: a row a method and metric: mean rank over the cells that all of its methods ran.
        notes: a line for everything left out.
    """

    dataset: str
    unit: str
    pairs: pd.DataFrame
    ranks: pd.DataFrame
    overall: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def compare(
    results_dir: str | Path, dataset: str, metrics: Sequence[str] = METRICS, by: str = "auto", synthetic: bool = False
) -> Comparison:
    """Compare what is on disk, method by method.

    Args:
        results_dir: the folder that holds runs/.
        dataset: name under which the runs are filed.
        metrics: which; those that no run has are passed over.
        by: see `unit_names`.
        synthetic: whether runs whose images or weights are made up count too.

    Raises:
        InputError: there is no run, no metric, or no two runs to compare.
    """
    if by not in BY:
        raise InputError(f"unknown resampling '{by}'", f"choose among {', '.join(BY)}")
    if unknown := [name for name in metrics if name not in METRICS]:
        raise InputError(f"'{unknown[0]}' is no score of single images", f"choose among {', '.join(METRICS)}")
    runs, notes = select_runs(results_dir, dataset, synthetic)
    present = [name for name in metrics if any(name in run.good and run.good[name].notna().any() for run in runs)]
    found = [cell for cell in cells(runs) if len(cell.runs) > 1]
    if not present or not found:
        raise InputError(f"nothing of '{dataset}' to compare", "run two methods on the same task")
    pairs, ranks = [], []
    for cell, metric in itertools.product(found, present):
        new_pairs, new_ranks = _compare_cell(cell, metric, by)
        pairs += new_pairs
        ranks += new_ranks
    notes += _not_ranked(found, present[0])
    overall = [row for metric in present for row in mean_ranks(found, metric, by)]
    names = unit_names(dataset, found[0].images, by)
    unit = "image" if names == list(found[0].images) else "photograph"
    return Comparison(dataset, unit, pd.DataFrame(pairs), pd.DataFrame(ranks), pd.DataFrame(overall), notes)


def _compare_cell(cell: Cell, metric: str, by: str) -> tuple[list[dict], list[dict]]:
    """The pairs and the ranks of one cell by one metric."""
    table = cell.scores(metric)
    scores = table.to_numpy(np.float64)
    count = scores.shape[1]
    unit, units = numbered(unit_names(cell.dataset, list(table.index), by))
    first, second = np.triu_indices(count, 1)
    counts = draw(units, int(np.clip(100 * len(first), RESAMPLES, MOST_RESAMPLES)))
    test = paired_bootstrap(scores[:, first] - scores[:, second], unit, counts)
    adjusted = holm(test.p)

    better = BY_NAME[metric].better
    apart, beats = np.zeros((count, count), bool), np.zeros((count, count), bool)
    for i, j, mean, p in zip(first, second, test.mean, adjusted, strict=True):
        apart[i, j] = apart[j, i] = p < ALPHA
        beats[(i, j) if better * mean > 0 else (j, i)] = p < ALPHA
    about = dict(zip(CELL, (cell.dataset, cell.task, cell.noise_std, metric), strict=True))
    pairs = [
        {
            **about,
            **{"method_a": cell.runs[i].method, "run_a": cell.runs[i].name},
            **{"method_b": cell.runs[j].method, "run_b": cell.runs[j].name},
            **{"n": test.n[k], "units": len(np.unique(unit[np.isfinite(scores[:, i] - scores[:, j])]))},
            **{"difference": test.mean[k], "low": test.low[k], "high": test.high[k]},
            **{"p": test.p[k], "p_holm": adjusted[k]},
            "better": "tie" if not apart[i, j] else ("a" if beats[i, j] else "b"),
        }
        for k, (i, j) in enumerate(zip(first, second, strict=True))
    ]
    return pairs, [{**about, **row} for row in _rank(cell, table, apart, beats, better, by, len(counts))]


def _rank(
    cell: Cell, table: pd.DataFrame, apart: np.ndarray, beats: np.ndarray, better: int, by: str, resamples: int
) -> list[dict]:
    """A row a run, best mean first, those that are not ranked last."""
    ranked = cell.ranked(table)
    takes = np.flatnonzero(ranked)
    scores = table.reindex(list(cell.images)).to_numpy(np.float64)[:, takes]
    takes, scores = (x[..., np.argsort(-better * scores.mean(axis=0), kind="stable")] for x in (takes, scores))
    unit, units = numbered(unit_names(cell.dataset, cell.images, by))
    places = order_of(resampled_means(scores, unit, draw(units, resamples)), better) if len(takes) else np.empty((1, 0))
    among = np.ix_(takes, takes)
    rank, marks = tied_ranks(beats[among]), letters(apart[among])
    low, high = np.quantile(places, [0.025, 0.975], axis=0, method="inverted_cdf")
    means, restored = table.mean().to_numpy(), table.notna().sum().to_numpy()
    rows = []
    for i in [*takes, *np.flatnonzero(~ranked)]:
        row = {"method": cell.runs[i].method, "run": cell.runs[i].name, "n": restored[i]}
        row |= {"diverged": cell.diverged[i], "mean": means[i], "letters": ""}
        if ranked[i]:
            k = int(np.flatnonzero(takes == i)[0])
            row |= {"rank": rank[k], "letters": marks[k], "p_best": (places[:, k] == 1).mean()}
            row |= {"expected_rank": places[:, k].mean(), "rank_low": low[k], "rank_high": high[k]}
            row |= {f"p_rank_{r}": (places[:, k] == r).mean() for r in range(1, len(takes) + 1)}
        rows.append(row)
    return rows


def mean_ranks(found: Sequence[Cell], metric: str, by: str, resamples: int = RESAMPLES) -> list[dict]:
    """Mean rank of each method over cells, with bounds from drawing images anew, together in all cells.

    Compared are the methods and cells of `_full_block`. In a cell where images of a method diverged it takes the last
    place. Which cells there are is taken as given: the bounds are about other images, not other tasks.

    Returns:
        Rows of metric, method, cells, wins (cells where its mean is best), diverged_cells, mean_rank, low, high and
        p_best (its mean rank is the lowest); best first. Nothing where fewer than two cells or methods compare.
    """
    methods, block = _full_block(found, metric)
    if len(methods) < 2 or len(block) < 2:
        return []
    dataset, better = block[0].dataset, BY_NAME[metric].better
    names = sorted({name for cell in block for name in unit_names(dataset, cell.images, by)})
    counts = draw(len(names), resamples)
    observed, places, lost = [], [], []
    for cell in block:
        runs = [next(i for i, run in enumerate(cell.runs) if run.method == method) for method in methods]
        table = cell.scores(metric)
        valid = cell.ranked(table)[runs]
        scores = table.reindex(list(cell.images)).to_numpy(np.float64)[:, runs][:, valid]
        unit = np.searchsorted(names, unit_names(dataset, cell.images, by))
        for kept, weights in ((observed, np.ones((1, len(names)))), (places, counts)):
            place = np.full((len(weights), len(methods)), float(len(methods)))
            place[:, valid] = order_of(resampled_means(scores, unit, weights), better)
            kept.append(place)
        lost.append(~valid)
    mean, drawn = np.mean(observed, axis=0)[0], np.mean(places, axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    best = order_of(drawn, -1) == 1
    wins = (np.array(observed)[:, 0] == 1).sum(axis=0)
    return [
        {
            **{"metric": metric, "method": methods[i], "cells": len(block), "wins": wins[i]},
            **{"diverged_cells": int(np.sum(lost, axis=0)[i]), "mean_rank": mean[i], "low": low[i], "high": high[i]},
            "p_best": best[:, i].mean(),
        }
        for i in np.argsort(mean, kind="stable")
    ]


def _full_block(found: Sequence[Cell], metric: str) -> tuple[list[str], list[Cell]]:
    """Methods and cells such that each of the methods ran once in each of the cells: the most of both.

    A run counts in a cell where it was scored on the cell's images, diverged or not. Tried are the sets of cells of
    each method.
    """
    where: dict[str, frozenset[int]] = {}
    for method in {run.method for cell in found for run in cell.runs}:
        own = {c: [run for run in cell.runs if run.method == method] for c, cell in enumerate(found)}
        whole = (c for c, runs in own.items() if len(runs) == 1 and metric in runs[0].images)
        where[method] = frozenset(c for c in whole if {*found[c].images} <= {*own[c][0].images["image_id"]})
    best = max(where.values(), key=lambda own: (len(own) * sum(own <= other for other in where.values()), len(own)))
    methods = sorted((method for method, own in where.items() if best and best <= own), key=method_rank)
    return methods, [found[c] for c in sorted(best)]


def _not_ranked(found: Sequence[Cell], metric: str) -> list[str]:
    """A line for each run that takes no part in the ranks of its cell."""
    lines = []
    for cell in found:
        ranked = cell.ranked(cell.scores(metric))
        for run, label, lost, takes in zip(cell.runs, cell.labels, cell.diverged, ranked, strict=True):
            if not takes:
                absent = len({*cell.images} - {*run.images["image_id"]})
                why = f"{lost} diverged" if lost else f"{absent} of {len(cell.images)} images not finished"
                lines.append(f"{cell.task} at noise_std {cell.noise_std:g}: {label} is not ranked, {why}")
    return lines
