"""Leaderboards and comparisons as the page's templates take them: texts ready to print, numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from vml_bench.analysis.leaderboard.render import ARROWS, Block, interval, printed
from vml_bench.analysis.published.compare import NOT_RUN
from vml_bench.analysis.published.render import HEAD, gathered, table
from vml_bench.cards import Card
from vml_bench.columns import BY_NAME, Column
from vml_bench.store import layout


@dataclass(frozen=True)
class Heading:
    """A column of numbers.

    Attributes:
        column: what it measures.
        label: its title, or its name where another column of the table has the same title.
        shown: whether it is shown before the reader chooses.
    """

    column: Column
    label: str
    shown: bool

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS[self.column.better]

    @property
    def better(self) -> str:
        """The same in words."""
        return {1: "more is better", -1: "less is better", 0: ""}[self.column.better]


@dataclass(frozen=True)
class Number:
    """A cell of a leaderboard.

    Attributes:
        name: its column.
        value: the number, None where there is none to sort by.
        text: as printed.
        interval: its bounds as printed, or nothing.
        bounds: (low, high), or None where no interval can be drawn.
        rank: 1 (best), 2 (second best) or 0.
        published: what papers claim of it, (value, verdict and what keeps the two from being compared).
    """

    name: str
    value: float | None
    text: str
    interval: str
    bounds: tuple[float, float] | None
    rank: int
    published: list[tuple[str, str]]


@dataclass(frozen=True)
class Row:
    """A run in a leaderboard.

    Attributes:
        method: its method.
        label: the method and what sets the run apart.
        hollow: whether its mark is an outline: another configuration of a method, or of this one.
        base: folder of its files in the report.
        n, diverged: number of its images, and of those among them without a usable result.
        count: n as printed, with a warning where it is less than the table's largest.
        numbers: its cells, in the order of the columns.
    """

    method: str
    label: str
    hollow: bool
    base: str
    n: int
    diverged: int
    count: str
    numbers: list[Number]

    @property
    def words(self) -> str:
        """The label without the method's name."""
        return self.label.removeprefix(self.method).removeprefix(" · ").strip()

    @property
    def record(self) -> str:
        """The file of the report that says how it was made."""
        return self.base + layout.RECORD


@dataclass(frozen=True)
class Task:
    """One problem: a task at one noise level.

    Attributes:
        key: distinct within its data set; plain.
        title: the task, and what tells the problem from others of its task.
        noise: σ_y as printed.
        notes: what a reader must know about this table alone.
        rows: its runs.
        data: script of its image browser; empty where there are no pictures.
    """

    key: str
    title: str
    noise: str
    notes: list[str]
    rows: list[Row]
    data: str = ""


@dataclass(frozen=True)
class ClaimView:
    """A published claim and all measured results that it can be compared with.

    Attributes:
        title, method, metric, value: what is claimed, in its source's words.
        known: further lines: who claims it, where, and what is left open.
        rows: by the names of `HEAD`, as printed.
        run: whether any result stands beside it.
    """

    title: str
    method: str
    metric: str
    value: str
    known: list[str]
    rows: list[dict[str, str]]
    run: bool


def about(column: Column) -> dict[str, object]:
    """A column as the page's scripts take it."""
    return {key: getattr(column, key) for key in ("name", "title", "better", "digits", "significant", "unit")}


def headings(columns: list[Column], frame: pd.DataFrame) -> list[Heading]:
    """The columns of a data set; those without a value and conventions beside the main one begin hidden."""
    titles = [column.title for column in columns]
    return [
        Heading(
            column,
            label=column.title if titles.count(column.title) == 1 else column.name,
            shown=frame[column.name].notna().any() and not column.name.startswith(("fid_", "kd_", "memory_")),
        )
        for column in columns
    ]


def rows(block: Block, cards: Mapping[str, Card], bases: dict[str, str], comparison: pd.DataFrame) -> list[Row]:
    """The rows of a leaderboard's block.

    Args:
        block: from `vml_bench.analysis.leaderboard.render.blocks`.
        cards: of the methods, by name.
        bases: for each (method, run) joined by a slash, the folder of its files in the report.
        comparison: from `vml_bench.analysis.published.compare`, for the same leaderboard.
    """
    return [
        Row(
            method=str(row["method"]),
            label=block.labels[i],
            hollow=cards[row["method"]].of_row(block.labels[i], row["settings"]).hollow,
            base=bases[f"{row['method']}/{row['run']}"],
            n=int(row["n"]),
            diverged=int(row["diverged"]),
            count=block.count(i),
            numbers=[_number(row, column, block.ranks[column.name][i], comparison) for column in block.columns],
        )
        for i, row in block.rows.iterrows()
    ]


def _number(row: pd.Series, column: Column, rank: int, comparison: pd.DataFrame) -> Number:
    value, low, high = (float(row[f"{column.name}{end}"]) for end in ("", "_low", "_high"))
    claims = comparison[
        (comparison["run"] == row["run"])
        & (comparison["method"] == row["method"])
        & (comparison["task"] == row["task"])
        & (comparison["noise_std"] == row["noise_std"])
        & (comparison["convention"] == column.name)
    ]
    return Number(
        name=column.name,
        value=None if math.isnan(value) else value,
        text=printed(value, column),
        interval=interval(row, column),
        bounds=(low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None,
        rank=rank,
        published=[
            (printed(claim["published"], column), "; ".join(filter(None, (claim["verdict"], claim["note"]))))
            for claim in claims.to_dict("records")
        ],
    )


def claims(comparison: pd.DataFrame) -> Iterator[ClaimView]:
    """Published claims one by one; for a task that was not run, one row stands for all conventions."""
    for _, group in comparison.groupby("claim", sort=False):
        first = group.iloc[0]
        kept = gathered(group)
        printed_rows = [dict(zip(HEAD, cells, strict=True)) for cells in table(kept)]
        for cells in printed_rows:
            cells["convention"] = ", ".join(BY_NAME[name].title for name in cells["convention"].split(", "))
        known = [f"{first['paper']} (here {first['methods']})", str(first["source"])]
        if first["open"]:
            known.append(f"The source does not say, so this page does not know: {first['open']}.")
        if first["remark"]:
            known.append(str(first["remark"]))
        yield ClaimView(
            title=str(first["task_published"]),
            method=str(first["method_published"]),
            metric=str(first["metric"]),
            value=f"{first['published']:g}",
            known=known,
            rows=printed_rows,
            run=bool((group["verdict"] != NOT_RUN).any()),
        )
