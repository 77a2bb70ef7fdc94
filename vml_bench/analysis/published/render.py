"""Published claims beside measured results, as csv, Markdown and plain text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.render import SYNTHETIC
from vml_bench.analysis.published.compare import NOT_RUN
from vml_bench.columns import BY_NAME
from vml_bench.text import aligned, bounds, escape_markdown, escape_terminal, markdown, number, write_files

HEAD = ("task", "σ_y", "method", "prior", "convention", "measured", "n", "difference", "verdict", "note")
ABOUT = (
    "Each published number is set against every task its wording could mean and every convention of its metric. "
    "Verdicts: reproduced, the published value lies in the measured 95 % interval; near, within 5 % of it (PSNR: "
    "0.5 dB); off; not scored, run but without that metric; not run. The difference is measured minus published."
)


def table(rows: pd.DataFrame) -> list[list[str]]:
    """Rows of one claim as printed, by `HEAD`."""
    return [[_cells(row)[name] for name in HEAD] for _, row in rows.iterrows()]


def _cells(row: pd.Series) -> dict[str, str]:
    cells = dict.fromkeys(HEAD, "") | {name: str(row[name]) for name in ("convention", "verdict", "note")}
    cells["task"] = str(row["title"])
    if row["verdict"] == NOT_RUN:
        return cells
    digits = BY_NAME[row["convention"]].digits
    ours, low, high, difference = (float(row[key]) for key in ("ours", "low", "high", "difference"))
    return cells | {
        "σ_y": f"{row['noise_std']:g}",
        "method": f"{row['label']} ({row['run']})",
        "prior": str(row["prior"]),
        "measured": f"{number(ours, digits)} {bounds(low, high, digits)}".strip(),
        "n": f"{row['n']:.0f}",
        "difference": number(difference, digits) if math.isnan(difference) else f"{difference:+.{digits}f}",
    }


def gathered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one claim in which, for a task that was not run, one row names all conventions."""
    waiting = rows["verdict"] == NOT_RUN
    joined = rows[waiting].groupby("task", sort=False)["convention"].transform(", ".join)
    rows = rows.assign(convention=rows["convention"].where(~waiting, joined))
    return rows.drop_duplicates(["task", "convention", "method", "run"])


def _claims(frame: pd.DataFrame) -> Iterator[tuple[str, list[str], pd.DataFrame]]:
    """For each claim its title, what is known of it, and its rows."""
    for _, rows in frame.groupby("claim", sort=False):
        first = rows.iloc[0]
        title = f"{first['task_published']}, {first['dataset_published']}: {first['metric']} {first['published']:g}"
        known = [
            f"{first['method_published']} (here {first['methods']}): {first['paper']}",
            f"Source: {first['source']}",
        ]
        if first["open"]:
            known.append(f"The source does not say, so this table does not know: {first['open']}")
        if first["remark"]:
            known.append(f"Remark: {first['remark']}")
        yield title, known, rows


def to_markdown(frame: pd.DataFrame, dataset: str, synthetic: bool = False) -> str:
    """The comparison as Markdown, one section per claim."""
    lines = [f"# Published claims: {escape_markdown(dataset)}", "", ABOUT]
    lines += ["", SYNTHETIC] if synthetic else []
    for title, known, rows in _claims(frame):
        lines += ["", f"## {escape_markdown(title)}", "", *(f"- {escape_markdown(line)}" for line in known), ""]
        cells = [list(map(escape_markdown, row)) for row in table(rows)]
        lines += markdown(HEAD, cells, left=[0, 1, 2, 3, 4, 8, 9])
    return "\n".join(lines) + "\n"


def format_comparison(frame: pd.DataFrame, dataset: str) -> str:
    """The comparison for a terminal; of a task that was not run, one line stands for all conventions."""
    parts = [f"published claims · {escape_terminal(dataset)}", ABOUT]
    for title, known, rows in _claims(frame):
        cells = [list(HEAD), *table(gathered(rows))]
        used = [i for i in range(len(HEAD)) if any(line[i] for line in cells[1:])]
        lines = aligned([[line[i] for i in used] for line in cells])
        parts.append("\n".join([*map(escape_terminal, (title, *known)), *(f"    {line}" for line in lines)]))
    return "\n\n".join(parts)


def write_comparison(frame: pd.DataFrame, dataset: str, folder: str | Path, synthetic: bool = False) -> list[Path]:
    """Write published.csv and published.md, each whole or not at all; returns their paths."""
    contents = {"published.csv": frame.to_csv(index=False), "published.md": to_markdown(frame, dataset, synthetic)}
    return write_files(folder, contents)
