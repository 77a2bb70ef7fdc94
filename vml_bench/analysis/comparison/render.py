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
OVERALL_HEADINGS = ["method", "mean rank", "best mean", "lowest in"]
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
    """The runs of one problem by one metric, or their mean ranks over problems.

    Attributes:
        title: the task, what tells its problem from others, and σ_y; or what it is over.
        notes: how many images it rests on, and whether priors differ.
        headings: "method" is one of them.
        rows: text under `headings`, best first.
    """

    title: tuple[str, ...]
    notes: list[str]
    headings: list[str]
    rows: list[list[str]]

    @property
    def names(self) -> int:
        """The number of the column of names."""
        return self.headings.index("method")


def tables(comparison: Comparison, column: Column) -> Iterator[Table]:
    """One table for each problem."""
    of_metric = comparison.ranks[comparison.ranks["metric"] == column.name]
    pairs = comparison.pairs[comparison.pairs["metric"] == column.name]
    for (task, noise_std, problem), ranks in of_metric.groupby(["task", "noise_std", "problem"], sort=False):
        among = pairs[(pairs["task"] == task) & (pairs["problem"] == problem)]
        best, shared = ranks["label"].iloc[0], ranks["rank"].duplicated(keep=False)
        rows = [
            _cells(row, shared[i], _behind(row["label"], best, among, column), column) for i, row in ranks.iterrows()
        ]
        title = (comparison.titles[task, problem], f"σ_y = {noise_std:g}")
        yield Table(title, [*_basis(ranks), *_priors(ranks)], HEADINGS, rows)


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


def _behind(label: str, best: str, pairs: pd.DataFrame, column: Column) -> tuple[str, str]:
    """A run's mean less the best one's, with its bounds, and Holm's p; nothing for the best itself."""
    pair = pairs[pairs["label_a"].isin((label, best)) & pairs["label_b"].isin((label, best))].squeeze()
    if pair.empty:
        return "", ""
    sign = 1 if pair["label_a"] == label else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    interval = bounds(low, high, column.digits, column.significant)
    p = MISSING if pd.isna(pair["p_holm"]) else f"{pair['p_holm']:.3f}" if pair["p_holm"] >= 0.001 else "<0.001"
    return f"{printed(sign * pair['difference'], column)} {interval}".strip(), p


def overall(comparison: Comparison, column: Column) -> Iterator[Table]:
    """A table of mean ranks over problems, where there are several."""
    if comparison.overall.empty:
        return
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
    if rows:
        yield Table(("mean rank over problems",), _priors(ranks), OVERALL_HEADINGS, rows)


def format_comparison(comparison: Comparison, metric: str) -> str:
    """The comparison by one metric for a terminal.

    Raises:
        InputError: the runs have no such score.
    """
    if metric not in comparison.columns:
        raise InputError(f"'{comparison.dataset}' has no {metric}", f"choose among {', '.join(comparison.columns)}")
    column = comparison.columns[metric]
    parts = []
    for table in (*tables(comparison, column), *overall(comparison, column)):
        above = (" · ".join([comparison.dataset, *table.title, column.title]), *table.notes)
        lines = aligned([table.headings, *table.rows], left=[table.names], rule=True, keys=table.names + 1)
        parts.append("\n".join([*map(escape_terminal, above), *lines]))
    return "\n\n".join([*parts, "\n".join(explanation(comparison))])


def to_markdown(comparison: Comparison) -> str:
    """The whole comparison, one table per problem and metric."""
    lines = [f"# Comparison: {escape_markdown(comparison.dataset)}", ""]
    lines += [f"- {line}" for line in explanation(comparison)]
    lines += [f"- Note: {escape_markdown(note)}" for note in comparison.notes]
    columns = comparison.columns.values()
    for column in columns:
        for table in overall(comparison, column):
            lines += _section(f"Mean rank over problems by {_title(column)}", table)
            lines += ["", "Bounds: other images, the same problems. †: took the last place where it diverged."]
    for column in columns:
        for table in tables(comparison, column):
            lines += _section(
                f"{', '.join((escape_markdown(table.title[0]), *table.title[1:]))}: {_title(column)}", table
            )
    return "\n".join(lines) + "\n"


def _title(column: Column) -> str:
    return f"{escape_markdown(column.title)} {ARROWS[column.better]}"


def _section(heading: str, table: Table) -> list[str]:
    """A heading that is Markdown already, the notes as sentences, and the table."""
    notes = [f"{escape_markdown(note[:1].upper() + note[1:])}." for note in table.notes]
    rows = [[escape_markdown(cell) if i == table.names else cell for i, cell in enumerate(row)] for row in table.rows]
    above = [line for text in (f"## {heading}", *notes) for line in ("", text)]
    return [*above, "", *markdown(table.headings, rows, left=[table.names])]


def write(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.csv (pairs), ranks.csv, mean_ranks.csv and comparison.md, each whole or not at all.

    Args:
        folder: where they go; made if absent.

    Returns:
        The four paths.
    """
    frames = {"comparison": comparison.pairs, "ranks": comparison.ranks, "mean_ranks": comparison.overall}
    contents = {f"{name}.csv": frame.to_csv(index=False, lineterminator="\n") for name, frame in frames.items()}
    return write_files(folder, contents | {"comparison.md": to_markdown(comparison)})
