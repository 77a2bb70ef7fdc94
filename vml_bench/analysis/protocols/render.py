"""The protocol report as csv, Markdown and plain text."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.render import SYNTHETIC, escape_markdown, escape_terminal, number
from vml_bench.columns import BY_NAME
from vml_bench.files import replacing

HEAD = ("convention", "setting", "metric", "value", "n", "difference", "note")
ABOUT = (
    "Each row changes one convention and leaves the others as the leaderboard has them. In brackets: 95 % intervals, "
    "of a difference over the same images that of the paired difference. fd_alex is a Fréchet distance on other "
    "features and is not set against FID."
)


def _digits(metric: str) -> int:
    names = [name for name in BY_NAME if metric.startswith(name)]
    return BY_NAME[max(names, key=len)].digits if names else 3


def table(frame: pd.DataFrame) -> list[list[str]]:
    """The rows as printed."""
    rows = []
    for _, row in frame.iterrows():
        digits = _digits(str(row["metric"]))
        value = _with_interval(number(row["value"], digits), row["low"], row["high"], digits)
        difference = row["difference"]
        shown = "" if math.isnan(difference) else f"{difference:+.{digits}f}"
        shown = _with_interval(shown, row["difference_low"], row["difference_high"], digits)
        rows.append([*(str(row[key]) for key in HEAD[:3]), value, str(row["n"] or ""), shown, str(row["note"])])
    return rows


def _with_interval(text: str, low: float, high: float, digits: int) -> str:
    if not text or math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{number(low, digits)}, {number(high, digits)}]"


def to_markdown(frame: pd.DataFrame) -> str:
    """The report as Markdown."""
    lines = [f"# Protocols: {escape_markdown(frame.attrs['run'])}", "", ABOUT, ""]
    lines += [SYNTHETIC, ""] if frame.attrs["synthetic"] else []
    lines += [f"| {' | '.join(HEAD)} |", "| --- | --- | --- | ---: | ---: | ---: | --- |"]
    lines += ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in table(frame)]
    return "\n".join(lines) + "\n"


def format_report(frame: pd.DataFrame) -> str:
    """The report for a terminal; notes stand below, each once, referred to by number."""
    rows = [[escape_terminal(cell) for cell in row] for row in table(frame)]
    notes = list(dict.fromkeys(row[-1] for row in rows if row[-1]))
    cells = [list(HEAD), *([*row[:-1], f"({notes.index(row[-1]) + 1})" if row[-1] else ""] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "─" * max(map(len, lines)))
    numbered = [f"({i}) {note}" for i, note in enumerate(notes, 1)]
    synthetic = [SYNTHETIC] if frame.attrs["synthetic"] else []
    return "\n".join([escape_terminal(frame.attrs["run"]), *lines, "", *synthetic, ABOUT, *numbered])


def write(frame: pd.DataFrame, folder: str | Path) -> list[Path]:
    """Write protocols.csv and protocols.md into the run's folder, each whole or not at all; returns their paths."""
    contents = {"csv": frame.to_csv(index=False), "md": to_markdown(frame)}
    paths = []
    for suffix, content in contents.items():
        path = Path(folder, f"protocols.{suffix}")
        with replacing(path) as partial:
            partial.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths
