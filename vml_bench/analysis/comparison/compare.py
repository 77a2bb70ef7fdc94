"""Methods of each problem compared pair by pair, ranks with ties, and mean ranks over problems."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vml_bench.analysis.comparison.cells import BY, Cell, cells, numbered, unit_names
from vml_bench.analysis.comparison.paired import draw, holm, paired_bootstrap
from vml_bench.analysis.comparison.ranking import letters, order_of, resampled_means, tied_ranks
from vml_bench.columns import Column, columns_of
from vml_bench.errors import InputError
from vml_bench.identity import in_words
from vml_bench.store.runs import Run, select_runs

RESAMPLES, MOST_RESAMPLES = 10_000, 50_000
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        dataset: name under which the runs are filed.
        unit: what was resampled, "image" or "photograph".
        columns: the scores that were compared, by name.
        titles: for each (task, problem) its task, and what tells it from others of the task.
        pairs: one row for every two runs of a problem and metric, each named by its label, method, prior and run:
            `difference` = mean of a − b over the n images that both restored, its 95 % bounds, p, Holm's p over
            all pairs of that problem and metric, and who is `better` ("a", "b" or "tie").
        ranks: one row per run, problem and metric: mean over the n of the problem's `images` that it restored,
            `common` of which every run did; `rank` (1 + the number of runs significantly better), `letters` (shared by
            runs that are not apart), and under resampling `p_best`, `expected_rank` with 95 % bounds, `p_rank_1`,
            `p_rank_2`, … NaN and no letters where it is not ranked.
        overall: one row per label and metric: mean rank over the problems that all of the labels ran.
        notes: one line for everything left out.
    """

    dataset: str
    unit: str
    columns: dict[str, Column]
    titles: dict[tuple[str, str], str]
    pairs: pd.DataFrame
    ranks: pd.DataFrame
    overall: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def compare(
    results_dir: str | Path,
    dataset: str,
    metrics: Sequence[str] | None = None,
    by: str = "auto",
    synthetic: bool = False,
) -> Comparison:
    """Compare what is on disk, method by method, problem by problem.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
        metrics: which; those that no run has are skipped. None: every score of single images, own metrics too.
        by: see `unit_names`.
        synthetic: whether runs whose images or weights are made up count too.

    Raises:
        InputError: there is no run, no metric, or no two runs to compare.
    """
    if by not in BY:
        raise InputError(f"unknown resampling '{by}'", f"choose among {', '.join(BY)}")
    runs, notes = select_runs(results_dir, dataset, synthetic)
    known = columns_of(said for run in runs for said in run.columns)
    offered = [name for name, column in known.items() if column.of_images]
    if unknown := [name for name in metrics or () if name not in offered]:
        raise InputError(f"'{unknown[0]}' is no score of single images", f"choose among {', '.join(offered)}")
    present = [name for name in offered if metrics is None or name in metrics]
    present = [name for name in present if any(_has(run, name) for run in runs)]
    if not present:
        raise InputError(
            f"no run of '{dataset}' has {' or '.join(metrics or offered)}",
            "`vml-bench leaderboard` shows which scores there are",
        )
    every = cells(runs)
    found = [cell for cell in every if len(cell.runs) > 1]
    if not found:
        raise InputError(f"nothing of '{dataset}' to compare", "run two methods on the same task, all else equal")
    pairs, ranks, unlike = [], [], []
    for cell, metric in itertools.product(found, present):
        if differing := _computed_otherwise(cell, metric):
            unlike.append(differing)
            continue
        new_pairs, new_ranks = _compare_cell(cell, known[metric], by)
        pairs += new_pairs
        ranks += new_ranks
    if not ranks:
        raise InputError("; ".join(unlike), "compute it alike in all of them")
    notes += unlike + [note for cell in every for note in _left_out(cell)] + _not_ranked(found, present[0])
    names = unit_names(dataset, found[0].images, by)
    return Comparison(
        dataset=dataset,
        unit="image" if names == list(found[0].images) else "photograph",
        columns={metric: known[metric] for metric in present},
        titles={(cell.problem.task, cell.problem.name): cell.title for cell in found},
        pairs=pd.DataFrame(pairs),
        ranks=pd.DataFrame(ranks),
        overall=pd.DataFrame([row for metric in present for row in mean_ranks(found, known[metric], by)]),
        notes=notes,
    )


def _has(run: Run, metric: str) -> bool:
    """Whether a run has a score of at least one image."""
    return metric in run.good and bool(run.good[metric].notna().any())


def _about(cell: Cell, metric: str) -> dict[str, object]:
    """Which cell and metric a row is about."""
    problem = cell.problem
    return {
        **{"dataset": problem.dataset, "task": problem.task, "noise_std": problem.noise_std},
        **{"problem": problem.name, "metric": metric},
    }


def _told(run: Run, label: str) -> dict[str, str]:
    """Which run a row is about."""
    return {"label": label, "method": run.method, "prior": run.prior, "run": run.name}


def _compare_cell(cell: Cell, column: Column, by: str) -> tuple[list[dict], list[dict]]:
    """The pairs and the ranks of one cell by one metric."""
    table = cell.scores(column.name)
    scores = table.to_numpy(np.float64)
    count = scores.shape[1]
    unit, units = numbered(unit_names(cell.problem.dataset, cell.images, by))
    first, second = np.triu_indices(count, 1)
    counts = draw(units, int(np.clip(100 * len(first), RESAMPLES, MOST_RESAMPLES)))
    test = paired_bootstrap(scores[:, first] - scores[:, second], unit, counts)
    adjusted = holm(test.p)

    apart, beats = np.zeros((count, count), bool), np.zeros((count, count), bool)
    for i, j, mean, p in zip(first, second, test.mean, adjusted, strict=True):
        apart[i, j] = apart[j, i] = p < ALPHA
        beats[(i, j) if column.better * mean > 0 else (j, i)] = p < ALPHA
    about, told = _about(cell, column.name), list(map(_told, cell.runs, cell.labels))
    pairs = [
        {
            **about,
            **{f"{key}_a": value for key, value in told[i].items()},
            **{f"{key}_b": value for key, value in told[j].items()},
            **{"n": test.n[k], "units": len(np.unique(unit[np.isfinite(scores[:, i] - scores[:, j])]))},
            **{"difference": test.mean[k], "low": test.low[k], "high": test.high[k]},
            **{"p": test.p[k], "p_holm": adjusted[k]},
            "better": "tie" if not apart[i, j] else ("a" if beats[i, j] else "b"),
        }
        for k, (i, j) in enumerate(zip(first, second, strict=True))
    ]
    places = _rank(cell, table, apart, beats, column.better, unit, counts)
    return pairs, [{**about, **row} for row in places]


def _rank(
    cell: Cell,
    table: pd.DataFrame,
    apart: np.ndarray,
    beats: np.ndarray,
    better: int,
    unit: np.ndarray,
    counts: np.ndarray,
) -> list[dict]:
    """One row per run, best mean first, those that are not ranked last.

    Args:
        cell: the cell, of R runs and n images.
        table: its scores, (n, R).
        apart: which two runs differ significantly, (R, R).
        beats: [i, j] where i is significantly better than j, (R, R).
        better: +1 where more is better, −1 where less is.
        unit: (n,) number of each image's unit.
        counts: (resamples, units), from `draw`.
    """
    ranked = cell.ranked(table)
    takes = np.flatnonzero(ranked)
    scores = table.to_numpy(np.float64)[:, takes]
    takes, scores = (x[..., np.argsort(-better * scores.mean(axis=0), kind="stable")] for x in (takes, scores))
    places = order_of(resampled_means(scores, unit, counts), better) if len(takes) else np.empty((1, 0))
    among = np.ix_(takes, takes)
    rank, marks = tied_ranks(beats[among]), letters(apart[among])
    low, high = np.quantile(places, [0.025, 0.975], axis=0, method="inverted_cdf")
    means, restored = table.mean().to_numpy(), table.notna().sum().to_numpy()
    common = int(table.notna().all(axis=1).sum())
    rows = []
    for i in [*takes, *np.flatnonzero(~ranked)]:
        row = {**_told(cell.runs[i], cell.labels[i]), "settings": in_words(cell.runs[i].all_settings)}
        row |= {"n": restored[i], "images": len(cell.images), "common": common}
        row |= {"diverged": cell.diverged[i], "mean": means[i], "letters": ""}
        row |= dict.fromkeys(("rank", "p_best", "expected_rank", "rank_low", "rank_high"), np.nan)
        if ranked[i]:
            k = int(np.flatnonzero(takes == i)[0])
            row |= {"rank": rank[k], "letters": marks[k], "p_best": (places[:, k] == 1).mean()}
            row |= {"expected_rank": places[:, k].mean(), "rank_low": low[k], "rank_high": high[k]}
            row |= {f"p_rank_{r}": (places[:, k] == r).mean() for r in range(1, len(takes) + 1)}
        rows.append(row)
    return rows


def mean_ranks(found: Sequence[Cell], column: Column, by: str, resamples: int = RESAMPLES) -> list[dict]:
    """Mean rank of each variant over cells, with bounds from resampling images, jointly in cells that share them.

    A variant is a method with its settings, its prior and its way of computing. Compared are the variants and cells of
    `_full_block`. In a cell where images of a variant diverged it takes the last place. The cells are taken
    as given: the bounds are about other images, not other problems.

    Returns:
        Rows of metric, label, method, settings, prior, cells, wins (cells where its mean is best), diverged_cells,
        mean_rank, low, high and p_best (its mean rank is the lowest); best first. Nothing where fewer than two cells or
        variants compare.
    """
    variants, block = _full_block(found, column.name)
    if len(variants) < 2 or len(block) < 2:
        return []
    seeds: dict[tuple[str, ...], int] = {}
    observed, places, lost = [], [], []
    for cell in block:
        runs = [cell.variants.index(variant) for variant in variants]
        table = cell.scores(column.name)
        valid = cell.ranked(table)[runs]
        scores = table.to_numpy(np.float64)[:, runs][:, valid]
        unit, units = numbered(names := unit_names(cell.problem.dataset, cell.images, by))
        same = (cell.problem.images, *sorted(set(names)))
        counts = draw(units, resamples, seeds.setdefault(same, len(seeds)))
        for kept, weights in ((observed, np.ones((1, units))), (places, counts)):
            place = np.full((len(weights), len(variants)), float(len(variants)))
            place[:, valid] = order_of(resampled_means(scores, unit, weights), column.better)
            kept.append(place)
        lost.append(~valid)
    mean, drawn = np.mean(observed, axis=0)[0], np.mean(places, axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    best = order_of(drawn, -1) == 1
    wins = (np.array(observed)[:, 0] == 1).sum(axis=0)
    own = [block[0].runs[block[0].variants.index(variant)] for variant in variants]
    return [
        {
            **{"metric": column.name, "label": variants[i], "method": own[i].method},
            **{"settings": in_words(own[i].all_settings), "prior": own[i].prior},
            **{"cells": len(block), "wins": wins[i]},
            **{"diverged_cells": int(np.sum(lost, axis=0)[i]), "mean_rank": mean[i], "low": low[i], "high": high[i]},
            "p_best": best[:, i].mean(),
        }
        for i in np.argsort(mean, kind="stable")
    ]


def _full_block(found: Sequence[Cell], metric: str) -> tuple[list[str], list[Cell]]:
    """The largest set of variants and cells in which every variant ran once in every cell.

    A run counts in a cell where it was scored on the cell's images, diverged or not. Candidates are the sets of cells
    of single variants.
    """
    places: dict[str, tuple] = {}
    where: dict[str, set[int]] = {}
    for c, cell in enumerate(found):
        images, comparable = {*cell.images}, not _computed_otherwise(cell, metric)
        for run, variant in zip(cell.runs, cell.variants, strict=True):
            places.setdefault(variant, (run.card.place, variant))
            own = where.setdefault(variant, set())
            whole = metric in run.images and images <= {*run.images["image_id"]}
            if comparable and whole and cell.variants.count(variant) == 1:
                own.add(c)
    best = max(where.values(), key=lambda own: (len(own) * sum(own <= other for other in where.values()), len(own)))
    variants = sorted((name for name, own in where.items() if best and best <= own), key=places.__getitem__)
    return variants, [found[c] for c in sorted(best)]


def _computed_otherwise(cell: Cell, metric: str) -> str:
    """A line where the runs of a cell computed a metric of their own with different settings; else empty."""
    forms = {
        json.dumps(said.get("form"), sort_keys=True)
        for run in cell.runs
        for said in run.columns
        if isinstance(said, Mapping) and said.get("name") == metric
    }
    several = f"{cell.heading}: the runs computed {metric} with different settings, so it is not compared"
    return several if len(forms) > 1 else ""


def _left_out(cell: Cell) -> list[str]:
    """A line for a run that is alone in its problem, if its task has several, and for images that are left out."""
    if len(cell.runs) == 1:
        alone = f"{cell.heading}: {cell.labels[0]} is the only run of this problem and is not compared"
        return [alone] if cell.difference else []
    further = [len({*run.images["image_id"]} - {*cell.images}) for run in cell.runs]
    return [
        f"{cell.heading}: {label} has {more} images more than the {len(cell.images)} that are compared"
        for label, more in zip(cell.labels, further, strict=True)
        if more
    ]


def _not_ranked(found: Sequence[Cell], metric: str) -> list[str]:
    """A line for each run that takes no part in the ranks of its cell."""
    lines = []
    for cell in found:
        ranked = cell.ranked(cell.scores(metric))
        for run, label, lost, takes in zip(cell.runs, cell.labels, cell.diverged, ranked, strict=True):
            if not takes:
                absent = len({*cell.images} - {*run.images["image_id"]})
                why = f"{absent} of {len(cell.images)} images not finished" if absent else f"no {metric}"
                lines.append(f"{cell.heading}: {label} is not ranked, {f'{lost} diverged' if lost else why}")
    return lines
