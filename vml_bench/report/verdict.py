"""Which methods lead, for the top of the page: best by quality, least compute among those, ranks over problems.

Who is better than whom, ranks and letters are those of `vml_bench.analysis.comparison`; nothing is computed twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vml_bench.analysis import comparison
from vml_bench.analysis.comparison import Comparison
from vml_bench.analysis.leaderboard.render import ARROWS, Block, printed
from vml_bench.cards import Card
from vml_bench.columns import LPIPS, PSNR, Column
from vml_bench.errors import InputError

JUDGED = (LPIPS.name, PSNR.name, "map_gap", "sw2")
"""What a verdict is by: the first two on pictures, the others against exact posteriors."""
FIRST = 3
"""How many methods are named in each part of the verdict."""
LIKELY = 0.05
"""The best of other images, too, is whatever leads in at least this share of the resamples."""


def compared(results: Path, dataset: str, synthetic: bool) -> Comparison | None:
    """The comparison of a data set's runs by LPIPS and PSNR; None where there is nothing to compare by them."""
    try:
        return comparison.compare(results, dataset, (LPIPS.name, PSNR.name), synthetic=synthetic)
    except InputError:
        return None


@dataclass(frozen=True)
class Judged:
    """What is known of the runs of one problem by one score.

    Attributes:
        column: the score.
        places: for each row of the block the place of its mean; 0 where it is not ranked.
        ranks: the number of runs significantly better, plus 1; NaN where it is not ranked.
        likely: places of the rows that lead in at least `LIKELY` of the resamples.
        letters: shared by runs that are not apart; empty where nothing was compared.
        best: places of the runs that none is significantly better than, best mean first; without a comparison those
            marked best.
        tested: whether a comparison stands behind it.
    """

    column: Column
    places: Sequence[int]
    ranks: Sequence[float]
    likely: Sequence[int]
    letters: Sequence[str]
    best: Sequence[int]
    tested: bool


def judge(block: Block, found: Comparison | None) -> list[Judged]:
    """The scores of `JUDGED` that a problem has, each with what the comparison found."""
    columns = [column for name in JUDGED for column in block.columns if column.name == name]
    columns = [column for column in columns if block.rows[column.name].notna().any()]
    return [_compared(block, column, found) or _marked(block, column) for column in columns]


def _compared(block: Block, column: Column, found: Comparison | None) -> Judged | None:
    if found is None:
        return None
    told = found.ranks
    here = (told["task"] == block.task) & (told["problem"] == block.problem) & (told["metric"] == column.name)
    told = told[here].set_index(["method", "run"])
    runs = list(block.rows[["method", "run"]].itertuples(index=False, name=None))
    if not {*runs} <= {*told.index}:
        return None
    order = {run: place for place, run in enumerate(told.index[told["rank"].notna()], 1)}
    own = told.loc[runs]
    best = [i for i, rank in enumerate(own["rank"]) if rank == 1]
    return Judged(
        column,
        places=[order.get(run, 0) for run in runs],
        ranks=own["rank"].tolist(),
        likely=[i for i, share in enumerate(own["p_best"]) if share >= LIKELY],
        letters=own["letters"].tolist(),
        best=sorted(best, key=lambda i: order[runs[i]]),
        tested=True,
    )


def _marked(block: Block, column: Column) -> Judged:
    marks = block.ranks[column.name]
    best, nothing = [i for i, mark in enumerate(marks) if mark == 1], [0] * len(marks)
    return Judged(column, nothing, [float("nan")] * len(marks), best, [""] * len(marks), best, False)


def passes(block: Block, i: int) -> float:
    """Network passes for one image: evaluations and vector-Jacobian products; NaN where they are not known."""
    return float(block.rows["nfe"][i] + block.rows["vjp"][i])


def line(block: Block, judged: Sequence[Judged], cards: Mapping[str, Card]) -> list[dict[str, Any]]:
    """The verdict on one problem.

    Returns:
        For each score, and for compute: its "title"; "who" leads; its "value"; "more", what else leads, in words; and
        "tip", what it means.
    """
    told = []
    for one in judged:
        if one.best:
            tied = len(one.best) - 1
            told.append(
                {
                    "title": f"{one.column.title} {ARROWS[one.column.better]}",
                    "who": _who(block, one.best[0], cards),
                    "value": printed(float(block.rows[one.column.name][one.best[0]]), one.column),
                    "more": f"{tied} not apart from it" if tied and one.tested else f"{tied} tie" if tied else "",
                    "tip": "The best mean; not apart from it: the paired difference is not significant (Holm)."
                    if one.tested
                    else "The best value as printed; no test stands behind it.",
                }
            )
    known = [i for i in judged[0].likely if math.isfinite(passes(block, i))] if judged else []
    if known:
        first = min(known, key=lambda i: passes(block, i))
        tip = (
            f"The fewest network passes of those whose mean {judged[0].column.title} is the best, or would be in at "
            f"least {100 * LIKELY:.0f} % of draws of other images."
        )
        told.append(
            {"title": "compute", "who": _who(block, first, cards), "value": f"{passes(block, first):g} passes"}
            | {"more": "", "tip": tip}
        )
    return told


def _who(block: Block, i: int, cards: Mapping[str, Card]) -> dict[str, Any]:
    row = block.rows.loc[i]
    return _shown(str(row["method"]), block.labels[i], str(row["settings"]), cards)


def _shown(method: str, label: str, settings: str, cards: Mapping[str, Card]) -> dict[str, Any]:
    card = cards[method].of_row(label, settings)
    return {"method": method, "title": card.title, "hollow": card.hollow}


def strip(
    problems: Sequence[tuple[Block, Sequence[Judged]]], found: Comparison | None, cards: Mapping[str, Card]
) -> list[dict[str, Any]]:
    """The verdict over all problems of a data set.

    Returns:
        For each score, and for compute: its "title", its "basis" in words, and "rows", the first methods with a
        "figure" each and "words" beside it.
    """
    judged = {one.column.name: one.column for _, own in problems for one in own}
    tiles = [_ranked(found, column, cards) or _counted(problems, column, cards) for column in judged.values()]
    least = [row for column in judged.values() for row in _least(problems, found, column, cards)]
    basis = "fewest network passes of those that may lead"
    return [tile for tile in (*tiles, {"title": "Compute", "basis": basis, "rows": least}) if tile["rows"]]


def _least(
    problems: Sequence[tuple[Block, Sequence[Judged]]],
    found: Comparison | None,
    column: Column,
    cards: Mapping[str, Card],
) -> list[dict[str, Any]]:
    """Of the methods that have the lowest mean rank in at least `LIKELY` of the resamples the one of fewest passes."""
    rows = _overall(found, column)
    if rows.empty:
        return []
    spent: dict[tuple[str, str, str], list[float]] = {}
    for block, _ in problems:
        for i in block.rows.index:
            spent.setdefault(_key_of(block, i), []).append(passes(block, i))
    likely = rows[rows["p_best"] >= min(LIKELY, rows["p_best"].max())]
    costs = {i: spent[row["method"], row["settings"], row["prior"]] for i, row in likely.iterrows()}
    costs = {i: own for i, own in costs.items() if math.isfinite(sum(own))}
    if not costs:
        return []
    first = min(costs, key=lambda i: sum(costs[i]) / len(costs[i]))
    row = rows.loc[first]
    low, high = (f"{end(costs[first]):.0f}" for end in (min, max))
    told = {
        "figure": low if low == high else f"{low}–{high}",
        "words": f"by {column.title}, mean rank {row['mean_rank']:.1f}",
    }
    return [_shown(row["method"], row["label"], row["settings"], cards) | told]


def _ranked(found: Comparison | None, column: Column, cards: Mapping[str, Card]) -> dict[str, Any] | None:
    """Mean ranks over the problems that all of the methods ran; None where there are none."""
    rows = _overall(found, column)
    if rows.empty:
        return None
    told = [
        _shown(row["method"], row["label"], row["settings"], cards)
        | {
            "figure": f"{row['mean_rank']:.1f}",
            "words": f"[{row['low']:.1f}, {row['high']:.1f}], best in {row['wins']} of {row['cells']}",
        }
        for _, row in rows.head(FIRST).iterrows()
    ]
    return {"title": f"{column.title} {ARROWS[column.better]}", "basis": "mean rank over problems", "rows": told}


def _overall(found: Comparison | None, column: Column) -> pd.DataFrame:
    if found is None or found.overall.empty:
        return pd.DataFrame()
    return found.overall[found.overall["metric"] == column.name]


def _counted(
    problems: Sequence[tuple[Block, Sequence[Judged]]], column: Column, cards: Mapping[str, Card]
) -> dict[str, Any]:
    """How often each method leads, over the problems that have the score."""
    own = [(block, one) for block, judged in problems for one in judged if one.column == column]
    leads = Counter(_key(_who(block, i, cards)) for block, one in own for i in one.best)
    basis = "not apart from the best" if all(one.tested for _, one in own) else "best, ties counted"
    return {"title": f"{column.title} {ARROWS[column.better]}", "basis": basis, "rows": _often(leads, len(own))}


def _key(who: Mapping[str, Any]) -> tuple[str, str, bool]:
    return who["method"], who["title"], who["hollow"]


def _often(counts: Counter[tuple[str, str, bool]], problems: int) -> list[dict[str, Any]]:
    return [
        {"method": method, "title": title, "hollow": hollow, "figure": str(count), "words": f"of {problems} problems"}
        for (method, title, hollow), count in counts.most_common(FIRST)
    ]


def board(
    problems: Sequence[tuple[Block, Sequence[Judged]]], found: Comparison | None, cards: Mapping[str, Card]
) -> list[dict[str, Any]]:
    """Ranks of every method under every problem, a table for each score that `mean_ranks` has.

    Returns:
        For each its "name" and "title"; the "problems" that it is about; and "rows", best mean rank first: "mean",
        "low" and "high" as printed, and "cells" in the order of the problems, each with the "place" of its mean,
        whether it "leads", none being significantly better, and its "letters"; None where it was not ranked.
    """
    columns = {one.column.name: one.column for _, own in problems for one in own if one.tested}
    tables = []
    for column in columns.values():
        ranked = [(block, one) for block, own in problems for one in own if one.column == column and one.tested]
        ranks = [{_key_of(block, i): _cell(one, i) for i in block.rows.index if one.places[i]} for block, one in ranked]
        rows = [
            _shown(row["method"], row["label"], row["settings"], cards)
            | {"mean": f"{row['mean_rank']:.1f}", "low": f"{row['low']:.1f}", "high": f"{row['high']:.1f}"}
            | {"cells": [own.get((row["method"], row["settings"], row["prior"])) for own in ranks]}
            for _, row in _overall(found, column).iterrows()
        ]
        if rows:
            about = [{"title": block.title, "noise": f"{block.noise_std:g}"} for block, _ in ranked]
            tables.append({"name": column.name, "title": column.title, "problems": about, "rows": rows})
    return tables


def _key_of(block: Block, i: int) -> tuple[str, str, str]:
    row = block.rows.loc[i]
    return str(row["method"]), str(row["settings"]), str(row["prior"] or "")


def _cell(one: Judged, i: int) -> dict[str, Any]:
    return {"place": one.places[i], "leads": one.ranks[i] == 1, "letters": one.letters[i]}
