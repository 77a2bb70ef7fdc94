"""A comparison as csv, Markdown and plain text; names from files are escaped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vml_bench.analysis.comparison.cells import EQUAL
from vml_bench.analysis.comparison.compare import ALPHA, Comparison
from vml_bench.analysis.leaderboard.render import ARROWS, printed
from vml_bench.columns import Column
from vml_bench.errors import InputError
from vml_bench.text import MISSING, aligned, bounds, escape_markdown, escape_terminal, markdown, write_files

HEADINGS = ["rank", "method", "n", "mean", "behind the best", "p (Holm)", "alike", "best in", "rank when redrawn"]
DRAWN = {
    "image": "image",
    "photograph": "photograph, with all of its crops (they are not independent)",
}


def explanation(comparison: Comparison) -> list[str]:
    """What the columns mean and how they are computed."""
    return [
        "One table is one problem: the same images, operator, σ_y and seed. Paired differences over the images that "
        f"both methods restored, resampled by {DRAWN[comparison.unit]}. "
        "Intervals (95 %) and p-values come from a symmetric studentised bootstrap, seeded.",
        f"p is corrected by Holm over all pairs of a table; two methods are apart where it is below {ALPHA}.",
        "rank: 1 + the number of methods significantly better, = where it is shared. Methods that share a letter under "
        "`alike` are not apart. † has images that diverged, are unfinished or lack the score, and is not ranked; "
        "⚠ fewer images than the table.",
        "best in: share of the resamples in which the method's mean is best; rank when redrawn: expected rank and its "
        "95 % bounds. Both describe how steady the order of means is and are no test.",
        f"A restoration equal to its ground truth has an infinite PSNR; here it counts as {EQUAL:g} dB.",
    ]


@dataclass(frozen=True)
class Table:
    """The runs of one problem by one metric.

    Attributes:
        title: the task, and what tells its problem from others.
        noise_std: σ_y, images in [-1, 1].
        notes: how many images it rests on, and whether priors differ.
        rows: text under `HEADINGS`, best mean first.
    """

    title: str
    noise_std: float
    notes: list[str]
    rows: list[list[str]]


def tables(comparison: Comparison, column: Column) -> Iterator[Table]:
    """One table for each problem."""
    of_metric = comparison.ranks[comparison.ranks["metric"] == column.name]
    pairs = comparison.pairs[comparison.pairs["metric"] == column.name]
    for (task, noise_std, problem), ranks in of_metric.groupby(["task", "noise_std", "problem"], sort=False):
        among = pairs[(pairs["task"] == task) & (pairs["problem"] == problem)]
        ranks = ranks.reset_index(drop=True)
        shared = ranks["rank"].duplicated(keep=False)
        rows = [
            _cells(row, shared[i], _behind(row, ranks.loc[0], among, column), column) for i, row in ranks.iterrows()
        ]
        yield Table(comparison.titles[task, problem], float(noise_std), [*_basis(ranks), *_priors(ranks)], rows)


def _basis(ranks: pd.DataFrame) -> list[str]:
    """How many images a table rests on: "on 64 images", or which runs have fewer."""
    images, common = int(ranks["images"].iloc[0]), int(ranks["common"].iloc[0])
    if common == images:
        return [f"on {images} images"]
    few = ", ".join(f"{row['label']} has {row['n']} of {images}" for _, row in ranks.iterrows() if row["n"] < images)
    return [
        f"on {images} images, {common} of them scored in all runs: {few}; a difference is over those that both have"
    ]


def _priors(rows: pd.DataFrame) -> list[str]:
    """A line where the priors of a table differ."""
    priors = sorted({*rows["prior"]} - {""})
    return [f"priors differ ({', '.join(priors)}): ranks go across them"] if len(priors) > 1 else []


def _cells(row: pd.Series, shared: bool, behind: tuple[str, str], column: Column) -> list[str]:
    count = f"{row['n']} of {row['images']} ⚠" if row["n"] < row["images"] else str(row["n"])
    about = [str(row["label"]), count, printed(row["mean"], column), *behind]
    if pd.isna(row["rank"]):
        return ["†", *about, MISSING, MISSING, MISSING]
    redrawn = f"{row['expected_rank']:.1f} [{row['rank_low']:.0f}, {row['rank_high']:.0f}]"
    return [f"{row['rank']:.0f}" + "=" * bool(shared), *about, row["letters"], f"{100 * row['p_best']:.0f} %", redrawn]


def _behind(row: pd.Series, best: pd.Series, pairs: pd.DataFrame, column: Column) -> tuple[str, str]:
    """This run's mean less the best one's, with its bounds, and Holm's p; nothing for the best itself."""
    for sign, this, other in ((1, "a", "b"), (-1, "b", "a")):
        found = pairs[(pairs[f"label_{this}"] == row["label"]) & (pairs[f"label_{other}"] == best["label"])]
        for _, pair in found.iterrows():
            low, high = sorted((sign * pair["low"], sign * pair["high"]))
            difference = printed(sign * pair["difference"], column)
            interval = bounds(low, high, column.digits, column.significant)
            p = MISSING if pd.isna(pair["p_holm"]) else f"{pair['p_holm']:.3f}" if pair["p_holm"] >= 0.001 else "<0.001"
            return f"{difference} {interval}".strip(), p
    return "", ""


def overall(comparison: Comparison, column: Column) -> tuple[list[str], list[list[str]]]:
    """Notes, and rows of label, mean rank with bounds, problems won, share of resamples with the lowest mean rank."""
    if comparison.overall.empty:
        return [], []
    ranks = comparison.overall[comparison.overall["metric"] == column.name]
    rows = [
        [
            str(row["label"]) + "†" * bool(row["diverged_cells"]),
            f"{row['mean_rank']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            f"{row['wins']} of {row['cells']}",
            f"{100 * row['p_best']:.0f} %",
        ]
        for _, row in ranks.iterrows()
    ]
    return _priors(ranks), rows


OVERALL_HEADINGS = ["method", "mean rank", "best mean", "lowest in"]


def format_comparison(comparison: Comparison, metric: str) -> str:
    """The comparison by one metric for a terminal.

    Raises:
        InputError: the runs have no such score.
    """
    if metric not in comparison.columns:
        raise InputError(f"'{comparison.dataset}' has no {metric}", f"choose among {', '.join(comparison.columns)}")
    column = comparison.columns[metric]
    parts = []
    for table in tables(comparison, column):
        heading = f"{comparison.dataset} · {table.title} · σ_y = {table.noise_std:g} · {column.title}"
        lines = map(escape_terminal, (heading, *table.notes))
        parts.append("\n".join([*lines, *aligned([HEADINGS, *table.rows], left=[1], rule=True)]))
    notes, rows = overall(comparison, column)
    if rows:
        heading = f"{comparison.dataset} · mean rank over problems · {column.title}"
        lines = map(escape_terminal, (heading, *notes))
        parts.append("\n".join([*lines, *aligned([OVERALL_HEADINGS, *rows], left=[0], rule=True)]))
    return "\n\n".join([*parts, "\n".join(explanation(comparison))])


def to_markdown(comparison: Comparison) -> str:
    """The whole comparison, one table per problem and metric."""
    lines = [f"# Comparison: {escape_markdown(comparison.dataset)}", ""]
    lines += [f"- {line}" for line in explanation(comparison)]
    lines += [f"- Note: {escape_markdown(note)}" for note in comparison.notes]
    for column in comparison.columns.values():
        notes, rows = overall(comparison, column)
        if rows:
            lines += ["", f"## Mean rank over problems by {_title(column)}", ""]
            lines += _sentences(notes)
            lines += _markdown(OVERALL_HEADINGS, rows, left=0)
            lines += ["", "Bounds: other images, the same problems. †: took the last place where it diverged."]
    for column in comparison.columns.values():
        for table in tables(comparison, column):
            lines += ["", f"## {escape_markdown(table.title)}, σ_y = {table.noise_std:g}: {_title(column)}", ""]
            lines += _sentences(table.notes)
            lines += _markdown(HEADINGS, table.rows, left=1)
    return "\n".join(lines) + "\n"


def _sentences(notes: list[str]) -> list[str]:
    return [line for note in notes for line in (f"{escape_markdown(note[:1].upper() + note[1:])}.", "")]


def _title(column: Column) -> str:
    return f"{escape_markdown(column.title)} {ARROWS[column.better]}"


def _markdown(headings: list[str], rows: list[list[str]], left: int) -> list[str]:
    """A table whose column flush left is of names."""
    rows = [[*row[:left], escape_markdown(row[left]), *row[left + 1 :]] for row in rows]
    return markdown(headings, rows, left=[left])


def write(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.csv (pairs), ranks.csv, mean_ranks.csv and comparison.md, each whole or not at all.

    Args:
        folder: where they go; made if absent.

    Returns:
        The four paths.
    """
    contents = {
        "comparison.csv": comparison.pairs.to_csv(index=False, lineterminator="\n"),
        "ranks.csv": comparison.ranks.to_csv(index=False, lineterminator="\n"),
        "mean_ranks.csv": comparison.overall.to_csv(index=False, lineterminator="\n"),
        "comparison.md": to_markdown(comparison),
    }
    return write_files(folder, contents)
