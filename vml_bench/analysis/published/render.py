"""Published claims beside measured results, as csv, Markdown and plain text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.render import SYNTHETIC
from vml_bench.analysis.published.commands import commands
from vml_bench.analysis.published.compare import NOT_HERE, NOT_RUN
from vml_bench.columns import BY_NAME
from vml_bench.text import aligned, bounds, escape_markdown, escape_terminal, markdown, number, write_files

HEAD = ("task", "σ_y", "method", "prior", "convention", "measured", "n", "difference", "verdict", "note")
CLAIMED = ("published task", "metric", "by", "published")
"""What stands before `HEAD` in a table of several claims."""
ABOUT = (
    "Each published number is set against every task its wording could mean and every convention of its metric. "
    "Verdicts: reproduced, the published value lies in the measured 95 % interval; near, within 5 % of it (PSNR: "
    "0.5 dB); off; not scored, run but without that metric; not run; not here, where this project has no such method "
    "or task. The difference is measured minus published."
)
WAITING = (NOT_RUN, NOT_HERE)
TO_RUN = "To run what is not"


def table(rows: pd.DataFrame) -> list[list[str]]:
    """Rows as printed, by `HEAD`."""
    return [[_cells(row)[name] for name in HEAD] for _, row in rows.iterrows()]


def _cells(row: pd.Series) -> dict[str, str]:
    cells = dict.fromkeys(HEAD, "") | {name: str(row[name]) for name in ("verdict", "note")}
    cells["task"] = str(row["title"])
    cells["convention"] = "" if pd.isna(row["convention"]) else str(row["convention"])
    if row["verdict"] in WAITING:
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
    """Rows of one claim in which one row names all tasks and conventions that were not run."""
    waiting = rows["verdict"] == NOT_RUN
    for key in ("title", "convention"):
        rows = rows.assign(**{key: rows[key].where(~waiting, ", ".join(rows.loc[waiting, key].drop_duplicates()))})
    return rows.drop_duplicates(["title", "convention", "method", "run"])


def _sources(frame: pd.DataFrame, dataset: str) -> Iterator[tuple[str, list[str], list[str], list[list[str]]]]:
    """For each source its title, what is known of it and of single numbers, commands to run, and its claims as rows."""
    for (paper, source), rows in frame.groupby(["paper", "source"], sort=False):
        known = [f"Source: {source}"]
        for key, words in KNOWN.items():
            said = rows.drop_duplicates("claim")[rows.drop_duplicates("claim")[key] != ""]
            for text, same in said.groupby(key, sort=False):
                about = "" if len(same) == rows["claim"].nunique() else f" ({_listed(same)})"
                known.append(f"{words}{about}: {text}")
        cells = []
        for _, claim in rows.groupby("claim", sort=False):
            first = claim.iloc[0]
            by = f"{first['method_published']}{'' if first['own'] else ' (rerun or quoted)'}"
            told = [first["task_published"], first["metric"], by, f"{first['published']:g}"]
            for i, row in enumerate(table(gathered(claim))):
                cells.append([*(told if i == 0 else [""] * len(told)), *row])
        yield f"{paper}: {rows.iloc[0]['dataset_published']}", known, commands(rows, dataset), cells


KNOWN = {
    "protocol": "Protocol",
    "network": "Network",
    "open": "The source leaves open",
    "remark": "Remark",
    "unsafe": "Unsafe",
}


def _listed(claims: pd.DataFrame) -> str:
    """Which claims a remark is about: "FID of Gaussian Deblurring, …"."""
    return "; ".join(
        dict.fromkeys(f"{row.metric} of {row.method_published}, {row.task_published}" for row in claims.itertuples())
    )


def to_markdown(frame: pd.DataFrame, dataset: str, synthetic: bool = False) -> str:
    """The comparison as Markdown, one section per source."""
    lines = [f"# Published claims: {escape_markdown(dataset)}", "", ABOUT]
    lines += ["", SYNTHETIC] if synthetic else []
    for title, known, to_run, rows in _sources(frame, dataset):
        lines += ["", f"## {escape_markdown(title)}", "", *(f"- {escape_markdown(line)}" for line in known)]
        lines += [*(f"- {TO_RUN}: `{command}`" for command in to_run), ""]
        cells = [list(map(escape_markdown, row)) for row in rows]
        lines += markdown((*CLAIMED, *HEAD), cells, left=[0, 1, 2, 4, 5, 6, 7, 8, 12, 13])
    return "\n".join(lines) + "\n"


def format_comparison(frame: pd.DataFrame, dataset: str) -> str:
    """The comparison for a terminal, without the columns that are empty in a source's table."""
    parts = [f"published claims · {escape_terminal(dataset)}", ABOUT]
    for title, known, to_run, rows in _sources(frame, dataset):
        known += [f"{TO_RUN}: {command}" for command in to_run]
        cells = [[*CLAIMED, *HEAD], *rows]
        used = [i for i in range(len(cells[0])) if any(line[i] for line in rows)]
        lines = aligned([[line[i] for i in used] for line in cells], indent=4)
        parts.append("\n".join([*map(escape_terminal, (title, *known)), *lines]))
    return "\n\n".join(parts)


def write_comparison(frame: pd.DataFrame, dataset: str, folder: str | Path, synthetic: bool = False) -> list[Path]:
    """Write published.csv and published.md, each whole or not at all; returns their paths."""
    contents = {"published.csv": frame.to_csv(index=False), "published.md": to_markdown(frame, dataset, synthetic)}
    return write_files(folder, contents)
