"""Methods of each problem compared pair by pair, ranks with ties, and mean ranks over problems."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from vml_bench.analysis.comparison.cache import frames, key_of
from vml_bench.analysis.comparison.cells import BY, Cell, cells, unit_names
from vml_bench.analysis.comparison.paired import draw, holm, paired_bootstrap
from vml_bench.analysis.comparison.ranking import letters, order_of, resampled_means
from vml_bench.analysis.kept import Keep, digest, kept
from vml_bench.columns import Column, columns_of
from vml_bench.errors import InputError
from vml_bench.identity import in_words
from vml_bench.store.runs import select_runs

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

    What was found is kept (`vml_bench.analysis.comparison.cache`): a problem is resampled again only when the scores of
    its runs have changed.

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
    asked = [name for name in offered if metrics is None or name in metrics]
    present = [name for name in asked if any(name in run.good and run.good[name].notna().any() for run in runs)]
    if not present:
        raise InputError(
            f"no run of '{dataset}' has {' or '.join(metrics or offered)}",
            "`vml-bench leaderboard` shows which scores there are",
        )
    every = cells(runs)
    found = [cell for cell in every if len(cell.runs) > 1]
    if not found:
        raise InputError(f"nothing of '{dataset}' to compare", "run two methods on the same task, all else equal")
    unlike = [
        f"{cell.heading}: the runs computed {name} with different settings, so it is not compared"
        for cell in found
        for name in present
        if name in cell.unlike
    ]
    if all(name in cell.unlike for cell in found for name in present):
        raise InputError("; ".join(unlike), "compute it alike in all of them")
    with ExitStack() as stack:
        keep = {name: stack.enter_context(kept(results_dir, f"{dataset}.{name}.compared")) for name in present}
        tables = [
            frames(keep[name], key_of([cell], known[name], by), partial(compare_cell, cell, known[name], by))
            for cell in found
            for name in present
            if name not in cell.unlike
        ]
        overall = [mean_ranks(found, known[name], by, keep[name]) for name in present]
    pairs, ranks = (pd.concat(of, ignore_index=True) for of in zip(*tables, strict=True))
    names = unit_names(dataset, found[0].images, by)
    return Comparison(
        dataset=dataset,
        unit="image" if names == list(found[0].images) else "photograph",
        columns={name: known[name] for name in present},
        titles={(cell.problem.task, cell.problem.name): cell.title for cell in found},
        pairs=pairs,
        ranks=ranks,
        overall=pd.concat(overall, ignore_index=True),
        notes=[
            *(*notes, *unlike),
            *(note for cell in every for note in _left_out(cell)),
            *(note for cell in found for note in _not_ranked(cell, present[0])),
        ],
    )


def compare_cell(cell: Cell, column: Column, by: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs and the ranks of one cell by one metric."""
    problem, table = cell.problem, cell.scores(column.name)
    scores = table.to_numpy(np.float64)
    names, unit = np.unique(unit_names(problem.dataset, cell.images, by), return_inverse=True)
    first, second = np.triu_indices(scores.shape[1], 1)
    counts = draw(len(names), int(np.clip(100 * len(first), RESAMPLES, MOST_RESAMPLES)))
    test = paired_bootstrap(scores[:, first] - scores[:, second], unit, counts)
    adjusted = holm(test["p"].to_numpy())
    significant, wins = adjusted < ALPHA, column.better * test["difference"] > 0
    beats = np.zeros((len(cell.runs), len(cell.runs)), bool)
    beats[np.where(wins, first, second), np.where(wins, second, first)] = significant
    about = {
        **{"dataset": problem.dataset, "task": problem.task, "noise_std": problem.noise_std},
        **{"problem": problem.name, "metric": column.name},
    }
    told = pd.DataFrame(
        [(label, run.method, run.prior, run.name) for label, run in zip(cell.labels, cell.runs, strict=True)],
        columns=["label", "method", "prior", "run"],
    )
    sides = [told.loc[side].add_suffix(of).reset_index(drop=True) for side, of in ((first, "_a"), (second, "_b"))]
    better = np.where(significant, np.where(wins, "a", "b"), "tie")
    pairs = pd.concat([*sides, test.assign(p_holm=adjusted, better=better)], axis=1)
    ranks = told.join(_rank(cell, table, beats, column.better, unit, counts), how="right")
    return tuple(pd.DataFrame(about, index=frame.index).join(frame) for frame in (pairs, ranks))


def _rank(
    cell: Cell, table: pd.DataFrame, beats: np.ndarray, better: int, unit: np.ndarray, counts: np.ndarray
) -> pd.DataFrame:
    """One row per run, by its number, best mean first, those that are not ranked last.

    Args:
        cell: the cell, of R runs and n images.
        table: its scores, (n, R).
        beats: [i, j] where i is significantly better than j, (R, R).
        better: +1 where more is better, −1 where less is.
        unit: (n,) number of each image's unit.
        counts: (resamples, units), from `draw`.
    """
    ranked, means = cell.ranked(table), table.mean().to_numpy()
    takes = np.flatnonzero(ranked)
    takes = takes[np.argsort(-better * means[takes], kind="stable")]
    drawn = resampled_means(table.to_numpy(np.float64)[:, takes], unit, counts)
    places = order_of(drawn, better) if len(takes) else np.empty((1, 0))
    won = beats[np.ix_(takes, takes)]
    low, high = np.quantile(places, [0.025, 0.975], axis=0, method="inverted_cdf")
    marks = dict(zip(takes, letters(won | won.T), strict=True))
    every = {
        **{"settings": [in_words(run.all_settings) for run in cell.runs]},
        **{"n": table.notna().sum(), "images": len(cell.images), "common": int(table.notna().all(axis=1).sum())},
        **{"diverged": cell.diverged, "mean": means, "letters": [marks.get(i, "") for i in range(len(ranked))]},
    }
    steady = {
        **{"rank": 1 + won.sum(axis=0), "p_best": (places == 1).mean(axis=0)},
        **{"expected_rank": places.mean(axis=0), "rank_low": low, "rank_high": high},
        **{f"p_rank_{r}": (places == r).mean(axis=0) for r in range(1, len(takes) + 1)},
    }
    rows = pd.DataFrame(every).join(pd.DataFrame(steady, index=takes))
    return rows.loc[[*takes, *np.flatnonzero(~ranked)]]


def mean_ranks(found: Sequence[Cell], column: Column, by: str, keep: Keep) -> pd.DataFrame:
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
        return pd.DataFrame()
    key = digest([key_of(block, column, by), *variants])
    return frames(keep, key, lambda: [_mean_ranks(variants, block, column, by)])[0]


def _mean_ranks(variants: Sequence[str], block: Sequence[Cell], column: Column, by: str) -> pd.DataFrame:
    """`mean_ranks` of variants that ran in every cell of a block, resampled now."""
    seeds: dict[tuple[str, ...], int] = {}
    observed, places, lost = [], [], []
    for cell in block:
        runs = [cell.variants.index(variant) for variant in variants]
        table = cell.scores(column.name)
        valid = cell.ranked(table)[runs]
        scores = table.to_numpy(np.float64)[:, runs][:, valid]
        names, unit = np.unique(unit_names(cell.problem.dataset, cell.images, by), return_inverse=True)
        counts = draw(len(names), RESAMPLES, seeds.setdefault((cell.problem.images, *names), len(seeds)))
        for into, weights in ((observed, np.ones((1, len(names)))), (places, counts)):
            place = np.full((len(weights), len(variants)), float(len(variants)))
            place[:, valid] = order_of(resampled_means(scores, unit, weights), column.better)
            into.append(place)
        lost.append(~valid)
    drawn = np.mean(places, axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    own = [block[0].runs[block[0].variants.index(variant)] for variant in variants]
    rows = {
        **{"metric": column.name, "label": variants, "method": [run.method for run in own]},
        **{"settings": [in_words(run.all_settings) for run in own], "prior": [run.prior for run in own]},
        **{"cells": len(block), "wins": (np.array(observed)[:, 0] == 1).sum(axis=0)},
        **{"diverged_cells": np.sum(lost, axis=0), "mean_rank": np.mean(observed, axis=0)[0]},
        **{"low": low, "high": high, "p_best": (order_of(drawn, -1) == 1).mean(axis=0)},
    }
    return pd.DataFrame(rows).sort_values("mean_rank", kind="stable")


def _full_block(found: Sequence[Cell], metric: str) -> tuple[list[str], list[Cell]]:
    """The largest set of variants and cells in which every variant ran once in every cell.

    A run counts in a cell where it was scored on the cell's images, diverged or not, and all runs were scored alike.
    Candidates are the sets of cells of single variants.
    """
    places: dict[str, tuple] = {}
    where: dict[str, set[int]] = {}
    for c, cell in enumerate(found):
        for run, variant in zip(cell.runs, cell.variants, strict=True):
            places.setdefault(variant, (run.card.place, variant))
            own = where.setdefault(variant, set())
            whole = metric in run.images and {*cell.images} <= {*run.images["image_id"]}
            if metric not in cell.unlike and whole and cell.variants.count(variant) == 1:
                own.add(c)
    best = max(where.values(), key=lambda own: (len(own) * sum(own <= other for other in where.values()), len(own)))
    variants = sorted((name for name, own in where.items() if best and best <= own), key=places.__getitem__)
    return variants, [found[c] for c in sorted(best)]


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


def _not_ranked(cell: Cell, metric: str) -> list[str]:
    """A line for each run that takes no part in the ranks of its cell."""
    lines = []
    for i in np.flatnonzero(~cell.ranked(cell.scores(metric))):
        absent, lost = len({*cell.images} - {*cell.runs[i].images["image_id"]}), cell.diverged[i]
        why = f"{absent} of {len(cell.images)} images not finished" if absent else f"no {metric}"
        lines.append(f"{cell.heading}: {cell.labels[i]} is not ranked, {f'{lost} diverged' if lost else why}")
    return lines
