"""The paper's comparison at equal compute: who is ahead by how much, at each budget and under each noise.

    python -m vml_bench.studies.equal_compute

Reads what `make reproduce-paper-small` and `make reproduce-paper-noise` left, and writes equal_compute.{csv,md,png} and
noise.{csv,md,png} into the same results folder, with Fréchet distances where the runs' features lie beside them. A
run's budget is the least of `groups.BUDGETS` that its evaluations and products fit into; runs of one budget and σ_y are
compared over the tasks that all of its methods ran on the same images. Differences are of each image's mean over those
tasks, tested as `vml-bench compare` does: whole photographs are resampled, and Holm's correction is over all pairs of a
column.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vml_bench.analysis.leaderboard.aggregate import build
from vml_bench.cards import Card
from vml_bench.columns import LPIPS, LPIPS_VGG, PSNR, SSIM, Column, with_bounds
from vml_bench.errors import InputError
from vml_bench.figures.page import legend_below, save
from vml_bench.store.runs import Run, select_runs
from vml_bench.studies.groups import (
    DATASET,
    DISTANCE,
    FURTHER,
    METRICS,
    PAPERS,
    RIVALS,
    Group,
    differences,
    groups,
    mean_table,
    preconditioning,
    wins,
)
from vml_bench.text import MISSING, bounds, markdown, number, write_files

NOISE_BUDGET = 100


def heading(group: Group, by_noise: bool) -> str:
    """A column's: the budget or σ_y, and what it is over."""
    tasks, n = len(group.tasks), len(group.images)
    what = f"σ_y = {group.setting.noise_std:g}" if by_noise else f"{group.setting.budget:,}"
    return f"{what} ({tasks} task{'s' * (tasks > 1)}, n = {n})"


def means_markdown(groups: Sequence[Group], table: pd.DataFrame, column: Column, by_noise: bool) -> list[str]:
    """Means over tasks, methods against settings, the best of each column in bold."""
    titles = titles_of(groups)
    best = {}
    for group in groups:
        worth = [column.better * value for value in values(table, group, column).values() if np.isfinite(value)]
        best[group.setting] = number(column.better * max(worth), column.digits)
    rows = []
    for method, title in titles.items():
        cells = [title]
        for group in groups:
            text = number(values(table, group, column).get(method, float("nan")), column.digits)
            cells.append(f"**{text}**" if text == best[group.setting] else text)
        rows.append(cells)
    return markdown(("method", *(heading(group, by_noise) for group in groups)), rows, left=[0])


def values(table: pd.DataFrame, group: Group, column: Column) -> dict[str, float]:
    """A column of a setting, by method."""
    here = table[(table["budget"] == group.setting.budget) & (table["noise_std"] == group.setting.noise_std)]
    return dict(zip(here["method"], here[column.name], strict=True))


def differences_markdown(groups: Sequence[Group], table: pd.DataFrame, column: Column, by_noise: bool) -> list[str]:
    """Paired differences with their intervals, pairs against settings."""
    titles = titles_of(groups)
    rows = []
    of_metric = table[table["metric"] == column.name]
    keys = [key for key in ("kind", "method", "other") if key in table]
    for (*kind, own, other), pair in of_metric.groupby(keys, sort=False):
        cells = [": ".join([*kind, f"{titles[own]} − {titles[other]}"])]
        for group in groups:
            here = pair[(pair["budget"] == group.setting.budget) & (pair["noise_std"] == group.setting.noise_std)]
            cells.append(told(here.iloc[0], column) if len(here) else MISSING)
        rows.append(cells)
    return markdown(("difference", *(heading(group, by_noise) for group in groups)), rows, left=[0])


def told(row: pd.Series, column: Column) -> str:
    """A difference as printed: value, interval, and who is better."""
    mark = {1: " better", -1: " worse", 0: ""}[int(row["better"])]
    return f"{row['difference']:+.{column.digits}f} {bounds(row['low'], row['high'], column.digits)}{mark}".strip()


def wins_markdown(groups: Sequence[Group], column: Column) -> list[str]:
    """Better : worse beyond chance, in how many tasks of all settings together: methods against those compared with."""
    titles = titles_of(groups)
    counted = pd.concat([wins(group, column) for group in groups]).groupby(level=[0, 1]).sum()
    others = [method for method in RIVALS if method in titles]
    rows = []
    for own in (*PAPERS, *FURTHER):
        if own in titles:
            said = [counted.loc[(own, other)] if (own, other) in counted.index else None for other in others]
            rows.append([titles[own], *(MISSING if pair is None else f"{pair.wins} : {pair.losses}" for pair in said)])
    return markdown(("method", *(titles[other] for other in others)), rows, left=[0])


def titles_of(groups: Iterable[Group]) -> dict[str, str]:
    """What the methods are called, in the order of their cards."""
    cards = {run.method: run.card for group in groups for run in group.runs.values()}
    return {name: card.title for name, card in sorted(cards.items(), key=lambda item: item[1].place)}


def task_markdown(groups: Sequence[Group], frame: pd.DataFrame, task: str) -> list[str]:
    """Every method of one task: LPIPS / PSNR / Fréchet distance on AlexNet features, levels × inner steps."""
    here = [group for group in groups if task in group.tasks]
    rows = []
    for method, title in titles_of(here).items():
        cells = [title]
        for group in here:
            run = group.runs.get((method, task))
            cells.append(MISSING if run is None else scores(frame, run))
        rows.append(cells)
    return markdown(("method", *(heading_of_task(group) for group in here)), rows, left=[0])


def heading_of_task(group: Group) -> str:
    """A column's, over the images of one task."""
    return f"{group.setting.budget:,} (n = {len(group.images)})"


def scores(frame: pd.DataFrame, run: Run) -> str:
    """A run's scores as one cell."""
    row = frame[frame["run"] == run.name].iloc[0]
    numbers = [number(row[column.name], column.digits) for column in (LPIPS, PSNR, DISTANCE)]
    return f"{' / '.join(numbers)}, {split(run)}"


def split(run: Run) -> str:
    """Levels × inner steps, or levels alone."""
    (options,) = run.form["method"].values()
    (schedule,) = options["schedule"].values()
    steps = options.get("inner_steps")
    return f"{schedule['levels']}×{steps}" if steps else str(schedule["levels"])


ABOUT = """# {title}

{dataset}, bfloat16, {what}. Columns hold {equal} equal; a number is the mean over the tasks and
images of its column.
Differences are paired, first less second, with 95 % intervals from resampling whole photographs; "better" and "worse"
mark those that stay apart under Holm's correction over all pairs of their column. `pinv`, which has no budget, is in
[the leaderboard](photos64/leaderboard.md). Made by `python -m vml_bench.studies.equal_compute`."""


DISTANCES = """## Fréchet distance

On AlexNet features: the mean over tasks of the distance between {n} restorations and their ground truth. From so few
images it is biased upwards, so it compares methods here and nothing else, and it is not FID. No image has a distance
of its own: intervals are from leaving out one photograph after the other (jackknife, Student's t). Simulated with
these photographs' numbers of crops and the spectrum of their features, such intervals held the expected difference in
90 to 98 % of 150 draws, and excluded zero in 5 % where nothing differed."""


def distances_markdown(groups: Sequence[Group], by_noise: bool) -> tuple[list[str], pd.DataFrame]:
    """Fréchet distances and their paired differences as lines, and the differences as a table.

    Nothing and an empty table where features are missing, as in an archive of runs.
    """
    if any(group.distances.empty for group in groups):
        return [], pd.DataFrame()
    means = pd.concat(
        group.distances.iloc[:1].melt(var_name="method", value_name=DISTANCE.name).assign(**group.setting._asdict())
        for group in groups
    )
    pairs = pd.concat([differences(group, DISTANCE) for group in groups], ignore_index=True)
    numbers = sorted({group.distances.attrs["n"] for group in groups})
    lines = ["", DISTANCES.format(n=" or ".join(map(str, numbers)))]
    lines += ["", *means_markdown(groups, means, DISTANCE, by_noise)]
    lines += ["", *differences_markdown(groups, pairs, DISTANCE, by_noise)]
    changes = pd.concat([preconditioning(group, DISTANCE) for group in groups])
    if len(changes) and not by_noise:
        lines += ["", "What the preconditioner changes:", ""]
        lines += differences_markdown(groups, changes, DISTANCE, by_noise)
    return lines, pairs


def report(groups: Sequence[Group], by_noise: bool, frame: pd.DataFrame) -> dict[str, str]:
    """The tables as files, by name: <stem>.md, .csv, _pairs.csv and, where features are there, _distances.csv."""
    stem, title = ("noise", "The same under noise") if by_noise else ("equal_compute", "The paper's comparison, small")
    what = f"a budget of {NOISE_BUDGET} evaluations + products" if by_noise else "σ_y = 0"
    equal = "σ_y" if by_noise else "evaluations + products per image"
    means = mean_table(groups)
    pairs = pd.concat([differences(group, column) for group in groups for column in METRICS], ignore_index=True)
    lines = [ABOUT.format(title=title, dataset=DATASET, what=what, equal=equal)]
    for column in (LPIPS, PSNR, LPIPS_VGG, SSIM):
        lines += ["", f"## {column.title}", "", *means_markdown(groups, means, column, by_noise)]
    for column in (LPIPS, PSNR):
        lines += ["", f"## {column.title}: paired differences", ""]
        lines += differences_markdown(groups, pairs, column, by_noise)
        cells = sum(len(group.tasks) for group in groups)
        lines += ["", f"Of {cells} cells, a task in a column each, those in which the method is better : worse in"]
        lines += [f"{column.title} beyond chance (Holm over all pairs of a cell):", ""]
        lines += wins_markdown(groups, column)
    if not by_noise:
        changes = {column: pd.concat([preconditioning(group, column) for group in groups]) for column in (LPIPS, PSNR)}
        if len(changes[LPIPS]):
            lines += [
                "",
                "## What the preconditioner changes",
                "",
                "Blurs have small singular values. Of the other tasks'",
            ]
            lines += ["operators all singular values that are not 0 are equal."]
        for column, table in changes.items():
            if len(table):
                lines += ["", f"{column.title}:", "", *differences_markdown(groups, table, column, by_noise)]
        lines += ["", "## Task by task", "", "LPIPS / PSNR / fd_alex, levels × inner steps (or levels)."]
        for task in sorted({task for group in groups for task in group.tasks}):
            lines += ["", f"### {task}", "", *task_markdown(groups, frame, task)]
    told, distances = distances_markdown(groups, by_noise)
    lines += told
    apart = {f"{stem}_distances.csv": distances.to_csv(index=False, float_format="%.6g")} if told else {}
    return {
        f"{stem}.csv": means.to_csv(index=False, float_format="%.6g"),
        f"{stem}_pairs.csv": pairs.to_csv(index=False, float_format="%.6g"),
        **apart,
        f"{stem}.md": "\n".join(lines) + "\n",
    }


# -------------------------------------------------------------------------------------------------------- as figures


def draw(groups: Sequence[Group], frame: pd.DataFrame, by_noise: bool) -> Figure:
    """LPIPS above PSNR, a column per task, a line per method, against compute or against σ_y; bars are 95 %.

    Points over other images are not joined: they tell methods apart, not budgets.
    """
    tasks = sorted({task for group in groups for task in group.tasks})
    figure = Figure(figsize=(2.6 * len(tasks) + 0.6, 6.2), dpi=130, layout="constrained")
    axes = figure.subplots(2, len(tasks), sharex=True, squeeze=False)
    cards = {run.method: run.card for group in groups for run in group.runs.values()}
    handles = {}
    for task, (above, below) in zip(tasks, axes.T, strict=True):
        above.set_title(task, fontsize=9)
        for axis, column in ((above, LPIPS), (below, PSNR)):
            for card in sorted(cards.values(), key=lambda card: card.place):
                for _, same in groupby(groups, key=lambda group: group.images):
                    points = list(line(list(same), frame, card.name, task, column, by_noise))
                    if points:
                        handles[card.title] = curve(axis, np.array(points), card)
            axis.grid(alpha=0.2)
            if by_noise:
                axis.set_xscale("symlog", linthresh=0.01)
                axis.set_xticks(sorted({group.setting.noise_std for group in groups}))
            else:
                axis.set_xscale("log")
                axis.set_xticks([group.setting.budget for group in groups])
            axis.xaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
        below.set_xlabel("σ_y" if by_noise else "evaluations + products")
    for axis, column in zip(axes[:, 0], (LPIPS, PSNR), strict=True):
        axis.set_ylabel(" ".join(filter(None, (column.title, column.unit and f"({column.unit})"))))
    legend_below(figure, handles, len(tasks))
    return figure


def line(
    groups: Sequence[Group], frame: pd.DataFrame, method: str, task: str, column: Column, by_noise: bool
) -> Iterator[tuple[float, float, float, float]]:
    """(compute or σ_y, value, low, high) of a method on a task."""
    for group in groups:
        if run := group.runs.get((method, task)):
            row = frame[frame["run"] == run.name].iloc[0]
            x = group.setting.noise_std if by_noise else row["nfe"] + row["vjp"]
            yield (x, *row[list(with_bounds(column.name))])


def curve(axis: Axes, points: np.ndarray, card: Card) -> object:
    """One method's line; returns its handle."""
    x, y, low, high = points.astype(float).T
    axis.vlines(x, low, high, color=card.colour, lw=0.6, alpha=0.35)
    style = ("--" if card.name.endswith("_library") else ":") if card.hollow else "-"
    fill = "white" if card.hollow else card.colour
    return axis.plot(x, y, style, color=card.colour, marker=card.marker, mfc=fill, ms=4, lw=1.1)[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs and write tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results/paper_small"), help="the results folder")
    results = parser.parse_args(arguments).results
    frame, _ = build(results, DATASET)
    found = groups(run for run in select_runs(results, DATASET)[0])
    by_compute = [group for group in found if group.setting.noise_std == 0]
    by_noise = [group for group in found if group.setting.budget == NOISE_BUDGET]
    if not by_compute:
        raise InputError(f"no task at σ_y = 0 under {results} that every method ran", "make reproduce-paper-small")
    for chosen, noise in ((by_compute, False), (common(by_noise), True)):
        if len({group.setting.noise_std for group in chosen}) > 1 or not noise:
            files = write_files(results, report(chosen, noise, frame))
            stem = "noise" if noise else "equal_compute"
            for path in (*files, save(draw(chosen, frame, noise), results / f"{stem}.png")):
                print(path)


def common(groups: Sequence[Group]) -> list[Group]:
    """The groups over the methods and tasks that all of them have, so that a row goes through every column."""
    if not groups:
        return []
    shared = set.intersection(*(set(group.runs) for group in groups))
    return [Group(group.setting, {key: run for key, run in group.runs.items() if key in shared}) for group in groups]


if __name__ == "__main__":
    main()
