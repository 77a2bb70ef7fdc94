"""Leaderboards and claims as the page's templates take them: texts ready to print, numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vml_bench.analysis.leaderboard.render import ARROWS, Block, interval, printed
from vml_bench.analysis.published.render import HEAD, WAITING, gathered, table
from vml_bench.cards import Card
from vml_bench.columns import BY_NAME, Column
from vml_bench.report.verdict import Judged
from vml_bench.report.words import explained
from vml_bench.store import layout

PLACE = ["task", "noise_std", "method", "run", "convention"]
"""What tells a number of a leaderboard from all others."""


def about(column: Column) -> dict[str, Any]:
    """A column as the page's scripts take it."""
    return {key: getattr(column, key) for key in ("name", "title", "better", "digits", "significant", "unit")}


def headings(columns: list[Column], frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The columns of a data set; those without a value and conventions beside the main one begin hidden.

    Returns:
        For each, beside `about`: "arrow", which way is better; "tip", what it is; "label", its title, or its name where
        another column has the same title; "shown", whether it is shown before the reader chooses.
    """
    titles = [column.title for column in columns]
    return [
        about(column)
        | {
            "arrow": ARROWS[column.better],
            "tip": explained(column),
            "label": column.title if titles.count(column.title) == 1 else column.name,
            "shown": bool(frame[column.name].notna().any() and not column.name.startswith(("fid_", "kd_", "memory_"))),
        }
        for column in columns
    ]


def rows(
    block: Block, cards: Mapping[str, Card], bases: Sequence[str], comparison: pd.DataFrame, judged: Sequence[Judged]
) -> list[dict[str, Any]]:
    """The rows of a leaderboard's block.

    Args:
        block: from `vml_bench.analysis.leaderboard.render.blocks`.
        cards: of the methods, by name.
        bases: for each row, the folder of its run's files in the report.
        comparison: from `vml_bench.analysis.published.compare`, for the same leaderboard.
        judged: from `vml_bench.report.verdict.judge`, of the block.

    Returns:
        For each its "method"; "label", and "words", the label without the method; "title", how it is called on the
        page; "hollow", whether its mark is an outline; "base", and "record", the file there that says how it was made;
        "n" and "diverged", and "count", n as printed; "numbers", its cells in the order of the columns.
    """
    published = dict(iter(comparison.groupby(PLACE)))
    letters = {one.column.name: one.letters for one in judged}
    nothing = [""] * len(block.rows)
    found = []
    for i, row in block.rows.iterrows():
        method, label, base = str(row["method"]), block.labels[i], bases[i]
        own = [(column, (*row[PLACE[:-1]], column.name)) for column in block.columns]
        cells = [
            _number(row, column, block.ranks[column.name][i], published.get(place, comparison[:0]))
            | {"letters": letters.get(column.name, nothing)[i]}
            for column, place in own
        ]
        card = cards[method].of_row(label, row["settings"])
        found.append(
            {
                "method": method,
                "label": label,
                "words": label.removeprefix(method).removeprefix(" · ").strip(),
                "title": card.title,
                "hollow": card.hollow,
                "base": base,
                "record": base + layout.RECORD,
                "n": int(row["n"]),
                "diverged": int(row["diverged"]),
                "count": block.count(i),
                "numbers": cells,
            }
        )
    return found


def _number(row: pd.Series, column: Column, rank: int, claims: pd.DataFrame) -> dict[str, Any]:
    """A cell of a leaderboard.

    Returns:
        Its column's "name"; "value", None where there is none; "bounds", None where no interval can be drawn; both in
        words, "text" and "interval"; its "rank", 1, 2 or 0; and each "published" value with what is said of it.
    """
    value, low, high = (float(row[f"{column.name}{end}"]) for end in ("", "_low", "_high"))
    return {
        "name": column.name,
        "value": None if math.isnan(value) else value,
        "text": printed(value, column),
        "interval": interval(row, column),
        "bounds": (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None,
        "rank": rank,
        "published": [
            (printed(claim["published"], column), "; ".join(filter(None, (claim["verdict"], claim["note"]))))
            for claim in claims.to_dict("records")
        ],
    }


def claims(comparison: pd.DataFrame) -> list[dict[str, Any]]:
    """Published claims, each with all results that it can be compared with.

    Returns:
        For each its "title", "method", "metric" and "value" in its source's words; "known", further lines: who claims
        it, where, and what is left open; "rows" by the names of `HEAD`, as printed, of which one stands for all
        conventions of a task that was not run; and "run", whether any result stands beside it.
    """
    found = []
    for _, group in comparison.groupby("claim", sort=False):
        first = group.iloc[0]
        cells = [dict(zip(HEAD, line, strict=True)) for line in table(gathered(group))]
        for line in cells:
            line["convention"] = ", ".join(BY_NAME[name].title for name in filter(None, line["convention"].split(", ")))
        unsaid = first["open"] and f"The source leaves open: {first['open']}."
        known = (f"{first['paper']} (here {first['methods']})", first["source"], unsaid, first["remark"])
        found.append(
            {
                "title": first["task_published"],
                "method": first["method_published"],
                "metric": first["metric"],
                "value": f"{first['published']:g}",
                "known": list(filter(None, known)),
                "rows": cells,
                "run": bool((~group["verdict"].isin(WAITING)).any()),
            }
        )
    return found
