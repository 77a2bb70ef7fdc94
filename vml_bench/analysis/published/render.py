"""The comparison with published results as csv, Markdown and plain text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.render import SYNTHETIC, escape_markdown, escape_terminal, number
from vml_bench.analysis.published.compare import NOT_RUN
from vml_bench.columns import BY_NAME
from vml_bench.files import replacing

HEAD = ("task", "σ_y", "method", "prior", "convention", "ours", "n", "difference", "verdict", "note")
ABOUT = (
    "Each published number is set against every task its wording could mean and every convention of its metric. "
    "Verdicts: reproduced, the published value lies in our 95 % interval; near, within 5 % of it (PSNR: 0.5 dB); off; "
    "not scored, run but without that metric; not run. Difference is ours minus published."
)


def table(rows: pd.DataFrame) -> list[list[str]]:
    """Rows of one claim as printed."""
    printed = []
    for _, row in rows.iterrows():
        cells = [
            str(row["title"]),
            "",
            "",
            "",
            str(row["convention"]),
            "",
            "",
            "",
            str(row["verdict"]),
            str(row["note"]),
        ]
        if row["verdict"] != NOT_RUN:
            digits = BY_NAME[row["convention"]].digits
            ours, low, high, difference = (float(row[key]) for key in ("ours", "low", "high", "difference"))
            cells[1:4] = [f"{row['noise_std']:g}", f"{row['label']} ({row['run']})", str(row["prior"])]
            bounds = "" if math.isnan(low) else f" [{number(low, digits)}, {number(high, digits)}]"
            cells[5:8] = [number(ours, digits) + bounds, f"{row['n']:.0f}", _signed(difference, digits)]
        printed.append(cells)
    return printed


def _signed(value: float, digits: int) -> str:
    return number(value, digits) if math.isnan(value) else f"{value:+.{digits}f}"


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
    lines = [f"# Published against ours: {escape_markdown(dataset)}", "", ABOUT]
    lines += ["", SYNTHETIC] if synthetic else []
    for title, known, rows in _claims(frame):
        lines += ["", f"## {escape_markdown(title)}", "", *(f"- {escape_markdown(line)}" for line in known), ""]
        lines += [f"| {' | '.join(HEAD)} |", "|" + " --- |" * 5 + " ---: |" * 3 + " --- |" * 2]
        lines += ["| " + " | ".join(map(escape_markdown, cells)) + " |" for cells in table(rows)]
    return "\n".join(lines) + "\n"


def format_comparison(frame: pd.DataFrame, dataset: str) -> str:
    """The comparison for a terminal; of a task that was not run, one line stands for all conventions."""
    parts = [f"published against ours · {escape_terminal(dataset)}", ABOUT]
    for title, known, rows in _claims(frame):
        waiting = rows["verdict"] == NOT_RUN
        joined = rows[waiting].groupby("task", sort=False)["convention"].transform(", ".join)
        rows = rows.assign(convention_printed=rows["convention"].where(~waiting, joined))
        rows = rows.drop_duplicates(["task", "convention_printed", "method", "run"])
        cells = table(rows)
        for line, printed in zip(cells, rows["convention_printed"], strict=True):
            line[HEAD.index("convention")] = printed
        cells = [list(HEAD), *([escape_terminal(cell) for cell in line] for line in cells)]
        used = [i for i in range(len(HEAD)) if any(line[i] for line in cells[1:])]
        widths = {i: max(len(line[i]) for line in cells) for i in used}
        lines = ["  ".join(line[i].ljust(widths[i]) for i in used).rstrip() for line in cells]
        parts.append("\n".join([*map(escape_terminal, (title, *known)), *(f"    {line}" for line in lines)]))
    return "\n\n".join(parts)


def write_comparison(frame: pd.DataFrame, dataset: str, folder: str | Path, synthetic: bool = False) -> list[Path]:
    """Write published.csv and published.md, each whole or not at all; returns their paths."""
    contents = {"csv": frame.to_csv(index=False), "md": to_markdown(frame, dataset, synthetic)}
    paths = []
    for suffix, content in contents.items():
        path = Path(folder, f"published.{suffix}")
        with replacing(path) as partial:
            partial.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths
