"""Writes what each method reaches at equal compute as tables and figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vml_bench.cards import Card
from vml_bench.columns import LPIPS, PSNR
from vml_bench.errors import InputError
from vml_bench.figures.page import legend_below, save
from vml_bench.store import layout
from vml_bench.store.runs import select_runs
from vml_bench.studies.frontier.cells import (
    DATASET,
    OWN,
    TUNING,
    Cell,
    Place,
    cells,
    front,
    over_tasks,
    point_table,
    tuning_table,
)
from vml_bench.text import MISSING, markdown, number, write_files

ABOUT = """# What each method reaches at equal compute

photos64, 16 test crops, bfloat16; columns hold evaluations + products per image equal. `mode_then_sample` stands at
four places of its knob σ* (five in a large hole), the others at those of theirs that did best on tuning crops, in LPIPS
and in PSNR, and at their own default. Made by `make reproduce-frontier` and `python -m
vml_bench.studies.frontier`, whose first lines say what *dominated*, *tie* and *dominates* mean. The grey step in the
figures: the front of the others."""

WIDTHS = """±: half the width of the 95 % interval of a paired difference, LPIPS / PSNR dB, the median over all pairs.
What is smaller passes for a tie, and Holm's correction asks for more than an interval without zero."""

OVER_TASKS = """## Over tasks

The scores of each image are averaged over the tasks that no method solves exactly, and compared as those of one task
are: a place of the knob is the same in all tasks. *Ahead of*: the others than which some place is worse in neither
metric and better in one, beyond chance. Then LPIPS / PSNR; the front of these means in bold."""

TUNED = """## The knobs on tuning crops

LPIPS / PSNR, a column for each number of evaluations + products: means over ten tuning crops, three tasks, σ_y = 0 and
0.05 (`make tune-frontier`). The best of each method in bold."""


def counts_markdown(cells: Sequence[Cell]) -> list[str]:
    """In how many cells of each budget the method with the knob is dominated, ties, dominates, and leads in LPIPS."""
    rows = []
    for budget in sorted({cell.problem.budget for cell in cells}):
        here = [cell for cell in cells if cell.problem.budget == budget]
        verdicts = [cell.verdict() for cell in here]
        counted = [verdicts.count(verdict) for verdict in ("dominated", "tie", "dominates")]
        lowest = sum(cell.lowest_lpips() for cell in here)
        lowest_means = sum(cell.lowest(cell.runs).method == OWN for cell in here)
        pairs = pd.concat([cell.pairs for cell in here])
        half = ((pairs["high"] - pairs["low"]) / 2).groupby(pairs["metric"]).median()
        widths = f"{number(half[LPIPS.name], 3)} / {number(half[PSNR.name], 2)}"
        rows.append([str(budget), str(len(here)), *map(str, counted), str(lowest), str(lowest_means), widths])
    header = (
        "budget",
        "cells",
        "dominated",
        "tie",
        "dominates",
        "lowest LPIPS or a tie in it",
        "lowest mean LPIPS",
        "±",
    )
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


def means_markdown(means: pd.DataFrame, titles: dict[str, str]) -> list[str]:
    """LPIPS / PSNR of each place, by budget and σ_y; those on the front in bold."""
    columns = means[["noise_std", "budget", "task"]].drop_duplicates().sort_values(["noise_std", "budget"])
    rows = []
    for method, title in titles.items():
        for knob, own in means[means["method"] == method].groupby("knob", dropna=False):
            cells = [Place(method, knob).named(title)]
            for column in columns.itertuples():
                here = own[(own["noise_std"] == column.noise_std) & (own["budget"] == column.budget)]
                if here.empty:
                    cells.append(MISSING)
                    continue
                text = f"{number(here['lpips_alex'].item(), 3)} / {number(here['psnr'].item(), 2)}"
                cells.append(f"**{text}**" if here["front"].item() else text)
            rows.append(cells)
    headings = [f"σ_y = {column.noise_std:g}, {column.budget} ({column.task})" for column in columns.itertuples()]
    return markdown(("method", *headings), rows, left=[0])


def tuning_markdown(table: pd.DataFrame, titles: dict[str, str]) -> list[str]:
    """LPIPS / PSNR of each place of each method's knob on tuning crops, a column per budget, the best in bold."""
    budgets = sorted(table["budget"].unique())
    rows = []
    for method, title in titles.items():
        for knob, here in table[table["method"] == method].groupby("knob"):
            cells = dict.fromkeys(budgets, MISSING)
            for row in here.itertuples():
                lpips, psnr = number(row.lpips_alex, 3), number(row.psnr, 2)
                lpips, psnr = f"**{lpips}**" if row.lowest_lpips else lpips, f"**{psnr}**" if row.highest_psnr else psnr
                cells[row.budget] = f"{lpips} / {psnr}"
            rows.append([Place(method, knob).named(title), *cells.values(), f"{here['diverged'].max():.0%}"])
    return markdown(("method", *map(str, budgets), "diverged"), rows, left=[0])


def cells_markdown(cells: Sequence[Cell]) -> list[str]:
    """The verdict of each cell, and by whom it is dominated."""
    rows = []
    for cell in cells:
        unanswered = ", ".join(cell.answers.index[~cell.answers["answers"]]) or MISSING
        budget, noise_std, task = cell.problem
        ahead = f"{cell.answers['ahead'].sum()} of {len(cell.answers)}"
        rows.append([str(budget), f"{noise_std:g}", task, cell.verdict(), ahead, unanswered])
    return markdown(("budget", "σ_y", "task", "verdict", "ahead of", "not answered"), rows, left=[2, 3, 5])


def titles_of(cells: Sequence[Cell]) -> dict[str, str]:
    """What the methods are called, in the order of their cards."""
    found = {run.method: run.card for cell in cells for run, *_ in cell.runs.values()}
    return {name: card.title for name, card in sorted(found.items(), key=lambda item: item[1].place)}


def report(cells: Sequence[Cell], points: pd.DataFrame, means: Sequence[Cell], tuning: pd.DataFrame) -> dict[str, str]:
    """The tables as files, by name.

    Args:
        cells: of the test crops.
        points: of these cells, see `point_table`.
        means: the same cells over tasks, see `over_tasks`; may be empty.
        tuning: of the tuning crops, see `tuning_table`; may be empty.
    """
    titles = titles_of(cells)
    lines = [ABOUT, "", f"## `{OWN}` against the others", "", *counts_markdown(cells), "", WIDTHS]
    lines += ["", "In how many cells, beyond chance:", "", *against_markdown(cells, titles)]
    if means:
        lines += ["", OVER_TASKS, "", *cells_markdown(means), "", *means_markdown(point_table(means), titles)]
    lines += ["", "## Cell by cell", "", *cells_markdown(cells)]
    pairs = pd.concat([cell.pairs for cell in (*means, *cells)])
    files = {
        "frontier.csv": points.to_csv(index=False, float_format="%.6g"),
        "frontier_pairs.csv": pairs.to_csv(index=False, float_format="%.4g"),
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


def draw(points: pd.DataFrame, cards: Mapping[str, Card]) -> Figure:
    """Panels of LPIPS against PSNR: a row per σ_y, a column per budget."""
    down, across = sorted(points["noise_std"].unique()), sorted(points["budget"].unique())
    figure = Figure(figsize=(2.6 * len(across) + 0.6, 2.7 * len(down) + 0.8), dpi=130, layout="constrained")
    axes = figure.subplots(len(down), len(across), squeeze=False)
    handles = {}
    for (noise_std, budget), here in points.groupby(["noise_std", "budget"]):
        axis = axes[down.index(noise_std), across.index(budget)]
        axis.set_title(f"{budget} evaluations, σ_y = {noise_std:g}", fontsize=9)
        handles |= plot_points(axis, here, cards)
    for axis in axes[-1]:
        axis.set_xlabel(LPIPS.title, fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"{PSNR.title} ({PSNR.unit})", fontsize=8)
    legend_below(figure, handles, max(len(across), 4))
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs and write tables and figures."""
    parser = argparse.ArgumentParser(prog="python -m vml_bench.studies.frontier", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/frontier"), help="the results folder")
    results = parser.parse_args(arguments).results
    found = list(cells(select_runs(results, DATASET)[0]))
    if not found:
        raise InputError(f"no cell under {results} in which {OWN} stands beside others", "make reproduce-frontier")
    tuned = select_runs(results, TUNING)[0] if (results / layout.RUNS / TUNING).is_dir() else []
    cards = {run.method: run.card for cell in found for run, *_ in cell.runs.values()}
    points, means = point_table(found), list(over_tasks(found))
    pictures = [save(draw(point_table(means), cards), results / "frontier.png")] if means else []
    pictures += [save(draw(own, cards), results / f"frontier_{task}.png") for task, own in points.groupby("task")]
    for path in (*write_files(results, report(found, points, means, tuning_table(tuned))), *pictures):
        print(path)
