"""The cells of the frontier: runs at equal compute, how they compare in pairs, and means over tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from vml_bench.analysis.comparison.cells import unit_names
from vml_bench.analysis.comparison.compare import ALPHA, RESAMPLES
from vml_bench.analysis.comparison.paired import draw as draw_resamples
from vml_bench.analysis.comparison.paired import holm, paired_bootstrap
from vml_bench.columns import LPIPS, PSNR
from vml_bench.errors import InputError
from vml_bench.store.runs import Run

DATASET, TUNING = "photos64", "photos64_tune"
BUDGETS = (10, 20, 30, 50, 100)
SLACK = 1
"""Evaluations that a run may have above its budget: three Euler steps at each of 17 levels are 51."""
KNOBS = {
    "mode_then_sample": ("switch", "σ*"),
    "ddrm": ("eta", "η"),
    "ddnm": ("eta", "η"),
    "pigdm": ("eta", "η"),
    "lmaps": ("fresh", "ρ"),
    "diffpir": ("zeta", "ζ"),
    "proximap": ("fresh", "ζ"),
    "daps": ("step_size", "η_0"),
    "vml_fixed_point_20": ("step_size", "η"),
}
"""The methods that run at several places of a knob: the option that it is, and its sign."""
OWN = "mode_then_sample"
"""The method that is compared with all others; "the knob" is its."""
METRICS = (LPIPS, PSNR)


class Place(NamedTuple):
    """A method at one place of its knob; NaN for a method that has none."""

    method: str
    knob: float = math.nan

    @classmethod
    def of(cls, run: Run) -> Place:
        """A run's."""
        (options,) = run.form["method"].values()
        return cls(run.method, options[KNOBS[run.method][0]]) if run.method in KNOBS else cls(run.method)

    def named(self, title: str) -> str:
        """As tables call it."""
        return title if math.isnan(self.knob) else f"{title}, {KNOBS[self.method][1]} = {self.knob:g}"


class Problem(NamedTuple):
    """What a cell holds equal."""

    budget: int
    noise_std: float
    task: str


@dataclass(frozen=True)
class Cell:
    """The runs of one task, σ_y and budget, by method and place, on the same images; or of several tasks, in order."""

    problem: Problem
    runs: dict[Place, list[Run]]

    @cached_property
    def scores(self) -> dict[str, pd.DataFrame]:
        """By metric: one row per image, a column per place; means over tasks, NaN where one diverged."""
        found: dict[str, dict[Place, pd.Series]] = {column.name: {} for column in METRICS}
        for place, runs in self.runs.items():
            good = [run.good.set_index("image_id") for run in runs]
            for name, of_place in found.items():
                of_place[place] = pd.concat([rows[name] for rows in good], axis=1).mean(axis=1, skipna=False)
        return {name: pd.DataFrame(of_place) for name, of_place in found.items()}

    @property
    def own(self) -> list[Place]:
        """The places of the method with the knob, by its value."""
        return sorted((place for place in self.runs if place.method == OWN), key=lambda place: place.knob)

    @property
    def others(self) -> list[Place]:
        """The rest, in the order of their cards."""
        return sorted(
            (place for place in self.runs if place.method != OWN),
            key=lambda place: (self.runs[place][0].card.place, place.knob),
        )

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per place of the knob, place of another method and metric: `difference`, own less other, `low`,
        `high`, `p_holm`, and `better`: +1 or −1 where it is better or worse beyond chance, else 0."""
        found = []
        for column in METRICS:
            scores = self.scores[column.name].replace(np.inf, np.nan)
            names, unit = np.unique(unit_names(DATASET, list(scores.index)), return_inverse=True)
            keys = list(product(self.own, self.others))
            gaps = np.stack([(scores[own] - scores[other]).to_numpy() for own, other in keys], axis=1)
            test = paired_bootstrap(gaps, unit, draw_resamples(len(names), RESAMPLES))
            rows = [(column.name, own.knob, other.named(other.method)) for own, other in keys]
            test[["metric", "knob", "other"]] = rows
            test["sign"] = column.better * np.sign(test["difference"])
            found.append(test)
        table = pd.concat(found, ignore_index=True)
        table["p_holm"] = holm(table["p"].to_numpy())
        table["better"] = np.where(table["p_holm"] < ALPHA, table.pop("sign"), 0).astype(int)
        return table.assign(**self.problem._asdict())

    @cached_property
    def answers(self) -> pd.DataFrame:
        """One row per place of another method: whether one of the knob's `answers` it, and whether one is `ahead`."""
        better = self.pairs.pivot_table(index=["other", "knob"], columns="metric", values="better", sort=False)
        answers = better.min(axis=1) >= 0
        ahead = answers & (better.max(axis=1) > 0)
        return pd.DataFrame({"answers": answers, "ahead": ahead}).groupby("other", sort=False).any()

    def verdict(self) -> str:
        """dominated, tie or dominates."""
        if self.answers["ahead"].all():
            return "dominates"
        return "tie" if self.answers["answers"].all() else "dominated"

    def lowest(self, places: Iterable[Place]) -> Place:
        """The one of them with the lowest mean LPIPS."""
        means = self.scores[LPIPS.name].mean()
        return min(places, key=lambda place: means[place])

    def lowest_lpips(self) -> bool:
        """Whether no other method is better beyond chance in LPIPS than the place of the knob with the lowest."""
        place = self.lowest(self.own)
        here = self.pairs[(self.pairs["metric"] == LPIPS.name) & (self.pairs["knob"] == place.knob)]
        return bool((here["better"] >= 0).all())


def budget_of(run: Run) -> int | None:
    """The least of `BUDGETS` that a run keeps to; None if it takes no evaluation, or more than any."""
    compute = float((run.images["nfe"] + run.images["vjp"]).mean())
    return next((budget for budget in BUDGETS if 0 < compute <= budget + SLACK), None)


def cells(runs: Sequence[Run]) -> Iterator[Cell]:
    """The cells in which the method with the knob stands beside others, by budget, σ_y and task.

    Raises:
        InputError: a method ran twice at one place of a cell.
    """
    found: dict[Problem, dict[Place, list[Run]]] = {}
    for run in runs:
        budget = budget_of(run)
        if budget is None:
            continue
        own = found.setdefault(Problem(budget, run.noise_std, run.task), {})
        place = Place.of(run)
        if place in own:
            raise InputError(f"two runs of {run.label} cost about {budget}", f"take one away: {run.folder}")
        own[place] = [run]
    for problem, own in sorted(found.items()):
        cell = Cell(problem, own)
        if cell.own and cell.others:
            yield cell


def over_tasks(cells: Iterable[Cell]) -> Iterator[Cell]:
    """The cells of each budget and σ_y as one of all their tasks, where there are several.

    A task that some method solves exactly has no PSNR, and is left out; so is a place that did not run on every task,
    and a budget at which that leaves nothing to compare.
    """
    found: dict[tuple[int, float], list[Cell]] = {}
    for cell in cells:
        if not np.isinf(cell.scores[PSNR.name]).to_numpy().any():
            found.setdefault(cell.problem[:2], []).append(cell)
    for (budget, noise_std), own in sorted(found.items()):
        if len(own) > 1:
            places = [place for place in own[0].runs if all(place in cell.runs for cell in own)]
            runs = {place: [run for cell in own for run in cell.runs[place]] for place in places}
            cell = Cell(Problem(budget, noise_std, f"{len(own)} tasks"), runs)
            if cell.own and cell.others:
                yield cell


def front(points: pd.DataFrame) -> pd.DataFrame:
    """Those of the points, rows with `lpips_alex` and `psnr`, that no other beats in both; by LPIPS."""
    ranked = points.sort_values([LPIPS.name, PSNR.name], ascending=[True, False])
    return ranked[ranked[PSNR.name] > ranked[PSNR.name].cummax().shift(fill_value=-np.inf)]


def point_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per cell, method and place: mean LPIPS and PSNR, cost, and whether it is on the cell's front."""
    rows = []
    for cell in cells:
        means = {name: scores.mean() for name, scores in cell.scores.items()}
        points = pd.DataFrame(
            {
                **{"method": place.method, "knob": place.knob, "n": int(cell.scores[LPIPS.name][place].count())},
                **{name: np.mean([run.images[name].mean() for run in runs]) for name in ("nfe", "vjp")},
                **{name: of_place[place] for name, of_place in means.items()},
            }
            for place, runs in cell.runs.items()
        )
        points["front"] = points.index.isin(front(points).index)
        rows.append(points.assign(**cell.problem._asdict()))
    return pd.concat(rows, ignore_index=True)


def tuning_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per method, budget and place of the knob: means over the cells of the tuning crops, and which are best.

    Columns: `method`, `budget`, `knob`, `cells`, `diverged` (a share of the images), `lpips_alex`, `psnr`, and whether
    these are the method's best at the budget: `lowest_lpips`, `highest_psnr`.
    """
    rows = []
    for run in runs:
        place, means = Place.of(run), run.good[["lpips_alex", "psnr"]].replace(np.inf, np.nan).mean()
        lost = 1 - len(run.good) / len(run.images)
        rows.append({**place._asdict(), "budget": budget_of(run), "cells": 1, "diverged": lost, **means})
    found = pd.DataFrame(rows, columns=["method", "budget", "knob", "cells", "diverged", "lpips_alex", "psnr"])
    grouped = found.groupby(["method", "budget", "knob"])
    table = grouped.mean().assign(cells=grouped["cells"].sum()).reset_index()
    of_budget = table.groupby(["method", "budget"])
    lowest = of_budget["lpips_alex"].transform("min") == table["lpips_alex"]
    highest = of_budget["psnr"].transform("max") == table["psnr"]
    return table.assign(lowest_lpips=lowest, highest_psnr=highest)
