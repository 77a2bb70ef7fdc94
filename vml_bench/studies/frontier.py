"""What each method reaches in the plane of LPIPS and PSNR at equal compute, and where one with a knob stands.

    python -m vml_bench.studies.frontier

Reads what `make reproduce-frontier` and `make tune-frontier` left, and writes frontier.{csv,md}, frontier_pairs.csv,
frontier_tuning.csv, frontier.png (means over tasks) and frontier_<budget>.png (each task). A run's budget is the least
of `BUDGETS` that its evaluations and products fit into; a cell is a task, a σ_y and a budget.

Two runs of a cell are compared image by image, in LPIPS and in PSNR, as `vml-bench compare` does: whole photographs are
resampled, and Holm's correction is over all pairs of the cell in both metrics. One run answers another if it is worse
beyond chance in neither. `mode_then_sample` is *dominated* in a cell if a run of another method is there that no
place of its knob answers; it *dominates* the cell if against every run of the others one of its places is worse in
neither metric and better in one, beyond chance; else the cell is a *tie*.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vml_bench.analysis.comparison.cells import unit_names
from vml_bench.analysis.comparison.compare import ALPHA, RESAMPLES
from vml_bench.analysis.comparison.paired import draw as draw_resamples
from vml_bench.analysis.comparison.paired import holm, paired_bootstrap
from vml_bench.cards import Card
from vml_bench.columns import LPIPS, PSNR
from vml_bench.errors import InputError
from vml_bench.figures.page import legend_below, save
from vml_bench.store import layout
from vml_bench.store.runs import Run, select_runs
from vml_bench.text import MISSING, markdown, number, write_files

DATASET, TUNING = "photos64", "photos64_tune"
BUDGETS = (10, 20, 30, 50)
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
    """The runs of one task, σ_y and budget, by method and place, on the same images."""

    problem: Problem
    runs: dict[Place, Run]

    def scores(self, metric: str) -> pd.DataFrame:
        """One row per image, a column per run; NaN where one diverged."""
        return pd.DataFrame({place: run.good.set_index("image_id")[metric] for place, run in self.runs.items()})

    @property
    def own(self) -> list[Place]:
        """The places of the method with the knob, by its value."""
        return sorted((place for place in self.runs if place.method == OWN), key=lambda place: place.knob)

    @property
    def others(self) -> list[Place]:
        """The rest, in the order of their cards."""
        return sorted(
            (place for place in self.runs if place.method != OWN),
            key=lambda place: (self.runs[place].card.place, place.knob),
        )

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per place of the knob, place of another method and metric: `difference`, own less other, `low`,
        `high`, `p_holm`, and `better`: +1 or −1 where it is better or worse beyond chance, else 0."""
        found = []
        for column in METRICS:
            scores = self.scores(column.name).replace(np.inf, np.nan)
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
        means = self.scores(LPIPS.name).mean()
        return min(places, key=lambda place: means[place])

    def lowest_lpips(self) -> bool:
        """Whether no other method is better beyond chance in LPIPS than the place of the knob with the lowest."""
        place = self.lowest(self.own)
        here = self.pairs[(self.pairs["metric"] == LPIPS.name) & (self.pairs["knob"] == place.knob)]
        return bool((here["better"] >= 0).all())


def cells(runs: Sequence[Run]) -> Iterator[Cell]:
    """The cells in which the method with the knob stands beside others, by budget, σ_y and task.

    Raises:
        InputError: a method ran twice at one place of a cell.
    """
    found: dict[Problem, dict[Place, Run]] = {}
    for run in runs:
        compute = float((run.images["nfe"] + run.images["vjp"]).mean())
        budget = next((budget for budget in BUDGETS if 0 < compute <= budget + SLACK), None)
        if budget is None:
            continue
        own = found.setdefault(Problem(budget, run.noise_std, run.task), {})
        place = Place.of(run)
        if place in own:
            raise InputError(f"two runs of {run.label} cost about {budget}", f"take one away: {run.folder}")
        own[place] = run
    for problem, own in sorted(found.items()):
        cell = Cell(problem, own)
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
        means = {column.name: cell.scores(column.name).mean() for column in METRICS}
        points = pd.DataFrame(
            {
                **{"method": place.method, "knob": place.knob, "n": len(run.good)},
                **{name: run.images[name].mean() for name in ("nfe", "vjp")},
                **{name: of_place[place] for name, of_place in means.items()},
            }
            for place, run in cell.runs.items()
        )
        points["front"] = points.index.isin(front(points).index)
        rows.append(points.assign(**cell.problem._asdict()))
    return pd.concat(rows, ignore_index=True)


def means_over_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """Mean LPIPS and PSNR of each budget, σ_y, method and place over tasks, and whether they are on the means' `front`.

    A task that some method solves exactly has no PSNR, and is left out; so is a place that did not run on every task.
    """
    exact = table[np.isinf(table["psnr"])].groupby(["noise_std", "budget"])["task"].unique().explode()
    solved = {(*key, task) for key, task in exact.items()}
    keep = [key not in solved for key in zip(table["noise_std"], table["budget"], table["task"], strict=True)]
    grouped = table[keep].groupby(["noise_std", "budget", "method", "knob"], dropna=False)
    means = grouped[["lpips_alex", "psnr"]].mean().assign(tasks=grouped["task"].nunique()).reset_index()
    most = means.groupby(["noise_std", "budget"])["tasks"].transform("max")
    means = means[means["tasks"] == most].reset_index(drop=True)
    on = [front(own).index for _, own in means.groupby(["noise_std", "budget"])]
    return means.assign(front=means.index.isin(np.concatenate(on)))


def tuning_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per method and place of its knob: means over the cells of the tuning crops, and which ends are `best`."""
    rows = []
    for run in runs:
        place, means = Place.of(run), run.good[["lpips_alex", "psnr"]].replace(np.inf, np.nan).mean()
        lost = 1 - len(run.good) / len(run.images)
        rows.append({**place._asdict(), "cells": 1, "diverged": lost, **means})
    found = pd.DataFrame(rows, columns=["method", "knob", "cells", "diverged", "lpips_alex", "psnr"])
    grouped = found.groupby(["method", "knob"])
    table = grouped.mean().assign(cells=grouped["cells"].sum()).reset_index()
    lowest = table.groupby("method")["lpips_alex"].transform("min") == table["lpips_alex"]
    highest = table.groupby("method")["psnr"].transform("max") == table["psnr"]
    return table.assign(lowest_lpips=lowest, highest_psnr=highest)


# --------------------------------------------------------------------------------------------------------- as a report

ABOUT = """# What each method reaches at equal compute

photos64, 16 test crops, bfloat16; columns hold evaluations + products per image equal. `mode_then_sample` stands at
four places of its knob σ* (five in a large hole), the others at the two ends of theirs that did best on tuning crops,
in LPIPS and in PSNR, and at their own default. Made by `make reproduce-frontier` and `python -m
vml_bench.studies.frontier`, whose first lines say what *dominated*, *tie* and *dominates* mean. The grey step in the
figures: the front of the others."""

TUNED = """## The knobs on tuning crops

LPIPS and PSNR at 20 evaluations + products: ten tuning crops, three tasks, σ_y = 0 and 0.05 (`make tune-frontier`). The
best of each method in bold."""

HEADINGS = {"noise_std": "σ_y = {:g}", "budget": "{} evaluations", "task": "{}"}


def counts_markdown(cells: Sequence[Cell]) -> list[str]:
    """In how many cells of each budget the method with the knob is dominated, ties, dominates, and leads in LPIPS."""
    rows = []
    for budget in sorted({cell.problem.budget for cell in cells}):
        here = [cell for cell in cells if cell.problem.budget == budget]
        verdicts = [cell.verdict() for cell in here]
        counted = [verdicts.count(verdict) for verdict in ("dominated", "tie", "dominates")]
        lowest = sum(cell.lowest_lpips() for cell in here)
        lowest_means = sum(cell.lowest(cell.runs).method == OWN for cell in here)
        rows.append([str(budget), str(len(here)), *map(str, counted), str(lowest), str(lowest_means)])
    header = ("budget", "cells", "dominated", "tie", "dominates", "lowest LPIPS or a tie in it", "lowest mean LPIPS")
    return markdown(header, rows, left=[])


def against_markdown(cells: Sequence[Cell], titles: dict[str, str]) -> list[str]:
    """Each other method: in how many cells a place of the knob is ahead of it, answers it only, or none does."""
    found: dict[Place, list[tuple[bool, bool]]] = {}
    for cell in cells:
        for other in cell.others:
            told = cell.answers.loc[other.named(other.method)]
            found.setdefault(other, []).append((bool(told["answers"]), bool(told["ahead"])))
    rows = []
    for other, told in found.items():
        ahead, answered = sum(ahead for _, ahead in told), sum(answers for answers, _ in told)
        rows.append([other.named(titles[other.method]), *map(str, (ahead, answered - ahead, len(told) - answered))])
    header = ("against", "better in one metric, worse in neither", "worse in neither", "not answered")
    return markdown(header, rows, left=[0])


def means_markdown(table: pd.DataFrame, titles: dict[str, str]) -> list[str]:
    """LPIPS / PSNR, means over the tasks of each budget and σ_y; those on the front of these means in bold."""
    means = means_over_tasks(table)
    columns = list(dict.fromkeys(zip(means["noise_std"], means["budget"], strict=True)))
    rows = []
    for method, title in titles.items():
        for knob, own in means[means["method"] == method].groupby("knob", dropna=False):
            cells = [Place(method, knob).named(title)]
            for noise_std, budget in columns:
                here = own[(own["noise_std"] == noise_std) & (own["budget"] == budget)]
                if here.empty:
                    cells.append(MISSING)
                    continue
                text = f"{number(here['lpips_alex'].item(), 3)} / {number(here['psnr'].item(), 2)}"
                cells.append(f"**{text}**" if here["front"].item() else text)
            rows.append(cells)
    tasks = means.drop_duplicates(["noise_std", "budget"])["tasks"]
    headings = [f"σ_y = {sigma:g}, {budget} ({n} tasks)" for (sigma, budget), n in zip(columns, tasks, strict=True)]
    return markdown(("method", *headings), rows, left=[0])


def tuning_markdown(table: pd.DataFrame, titles: dict[str, str]) -> list[str]:
    """LPIPS / PSNR of each place of each method's knob on tuning crops, the best of the method in bold."""
    rows = []
    for method, title in titles.items():
        for row in table[table["method"] == method].itertuples():
            lpips, psnr = number(row.lpips_alex, 3), number(row.psnr, 2)
            cells = [f"**{lpips}**" if row.lowest_lpips else lpips, f"**{psnr}**" if row.highest_psnr else psnr]
            rows.append([Place(method, row.knob).named(title), *cells, f"{row.diverged:.0%}"])
    return markdown(("method", "LPIPS", "PSNR dB", "diverged"), rows, left=[0])


def cells_markdown(cells: Sequence[Cell]) -> list[str]:
    """The verdict of each cell and by whom it is dominated."""
    rows = []
    for cell in cells:
        unanswered = ", ".join(cell.answers.index[~cell.answers["answers"]]) or MISSING
        budget, noise_std, task = cell.problem
        rows.append([str(budget), f"{noise_std:g}", task, cell.verdict(), unanswered])
    return markdown(("budget", "σ_y", "task", "verdict", "not answered"), rows, left=[2, 3, 4])


def titles_of(cells: Sequence[Cell]) -> dict[str, str]:
    """What the methods are called, in the order of their cards."""
    found = {run.method: run.card for cell in cells for run in cell.runs.values()}
    return {name: card.title for name, card in sorted(found.items(), key=lambda item: item[1].place)}


def report(cells: Sequence[Cell], tuning: pd.DataFrame) -> dict[str, str]:
    """The tables as files, by name.

    Args:
        cells: of the test crops.
        tuning: of the tuning crops, see `tuning_table`; may be empty.
    """
    table, titles = point_table(cells), titles_of(cells)
    lines = [ABOUT, "", f"## `{OWN}` against the others", "", *counts_markdown(cells)]
    lines += ["", "In how many cells, beyond chance:", "", *against_markdown(cells, titles)]
    lines += ["", "## LPIPS / PSNR, means over tasks that no method solves exactly", "", *means_markdown(table, titles)]
    lines += ["", "## Cell by cell", "", *cells_markdown(cells)]
    files = {
        "frontier.csv": table.to_csv(index=False, float_format="%.6g"),
        "frontier_pairs.csv": pd.concat([cell.pairs for cell in cells]).to_csv(index=False, float_format="%.6g"),
    }
    if not tuning.empty:
        lines += ["", TUNED, "", *tuning_markdown(tuning, titles)]
        files["frontier_tuning.csv"] = tuning.to_csv(index=False, float_format="%.6g")
    return {"frontier.md": "\n".join(lines) + "\n", **files}


def plot_points(axis: Axes, points: pd.DataFrame, cards: Mapping[str, Card]) -> dict[str, Artist]:
    """LPIPS against PSNR: a method's places joined, the front of all methods but `OWN` as a grey step.

    Args:
        axis: to draw on.
        points: rows with `method`, `knob`, `lpips_alex` and `psnr`; those without a finite PSNR are left out.
        cards: the looks of the methods.

    Returns:
        What a legend shows, by title.
    """
    points = points[np.isfinite(points[PSNR.name])]
    edge = front(points[points["method"] != OWN])
    axis.step(edge[LPIPS.name], edge[PSNR.name], where="post", color="0.8", lw=3, zorder=0)
    handles = {}
    for method, own in points.groupby("method"):
        card = cards[method]
        own = own.sort_values("knob")
        fill, wide = "white" if card.hollow else card.colour, 2 if method == OWN else 0.7
        style = {"color": card.colour, "marker": card.marker, "mfc": fill, "ms": 5, "lw": wide}
        handles[card.title] = axis.plot(own[LPIPS.name], own[PSNR.name], **style)[0]
    axis.grid(alpha=0.2)
    axis.tick_params(labelsize=7)
    return handles


def draw(points: pd.DataFrame, rows: str, columns: str, cards: Mapping[str, Card]) -> Figure:
    """Panels of LPIPS against PSNR, by the values of two columns of the points."""
    down, across = sorted(points[rows].unique()), sorted(points[columns].unique())
    figure = Figure(figsize=(2.6 * len(across) + 0.6, 2.7 * len(down) + 0.8), dpi=130, layout="constrained")
    axes = figure.subplots(len(down), len(across), squeeze=False)
    handles = {}
    for (row, column), here in points.groupby([rows, columns]):
        axis = axes[down.index(row), across.index(column)]
        axis.set_title(f"{HEADINGS[columns].format(column)}, {HEADINGS[rows].format(row)}", fontsize=9)
        handles |= plot_points(axis, here, cards)
    for axis in axes[-1]:
        axis.set_xlabel(LPIPS.title, fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"{PSNR.title} ({PSNR.unit})", fontsize=8)
    legend_below(figure, handles, max(len(across), 4))
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs and write tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results/frontier"), help="the results folder")
    results = parser.parse_args(arguments).results
    found = list(cells(select_runs(results, DATASET)[0]))
    if not found:
        raise InputError(f"no cell under {results} in which {OWN} stands beside others", "make reproduce-frontier")
    tuned = select_runs(results, TUNING)[0] if (results / layout.RUNS / TUNING).is_dir() else []
    cards = {run.method: run.card for cell in found for run in cell.runs.values()}
    points = point_table(found)
    pictures = [save(draw(means_over_tasks(points), "noise_std", "budget", cards), results / "frontier.png")]
    for budget, here in points.groupby("budget"):
        pictures.append(save(draw(here, "noise_std", "task", cards), results / f"frontier_{budget}.png"))
    for path in (*write_files(results, report(found, tuning_table(tuned))), *pictures):
        print(path)


if __name__ == "__main__":
    main()
