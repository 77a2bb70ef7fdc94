"""The protocol report as csv, Markdown and plain text."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.render import SYNTHETIC
from vml_bench.analysis.protocols.blurs import PICTURE
from vml_bench.analysis.protocols.report import draw_blurs
from vml_bench.columns import BY_NAME
from vml_bench.text import aligned, bounds, escape_markdown, escape_terminal, markdown, number, write_files

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
        value = f"{number(row['value'], digits)} {bounds(row['low'], row['high'], digits)}".strip()
        difference = ""
        if not math.isnan(row["difference"]):
            interval = bounds(row["difference_low"], row["difference_high"], digits)
            difference = f"{row['difference']:+.{digits}f} {interval}".strip()
        rows.append([*(str(row[key]) for key in HEAD[:3]), value, str(row["n"] or ""), difference, str(row["note"])])
    return rows


def to_markdown(frame: pd.DataFrame) -> str:
    """The report as Markdown."""
    lines = [f"# Protocols: {escape_markdown(frame.attrs['run'])}", "", ABOUT, ""]
    lines += [SYNTHETIC, ""] if frame.attrs["synthetic"] else []
    lines += markdown(HEAD, [list(map(escape_markdown, row)) for row in table(frame)], left=[0, 1, 2, 6])
    lines += ["", f"![Ground truth, both measurements and their difference]({PICTURE})"] if _blurred(frame) else []
    return "\n".join(lines) + "\n"


def format_report(frame: pd.DataFrame) -> str:
    """The report for a terminal; notes stand below, each once, referred to by number."""
    rows = table(frame)
    notes = list(dict.fromkeys(row[-1] for row in rows if row[-1]))
    cells = [list(HEAD), *([*row[:-1], f"({notes.index(row[-1]) + 1})" if row[-1] else ""] for row in rows)]
    lines = aligned(cells, rule=True, keys=3)
    numbered = [f"({i}) {escape_terminal(note)}" for i, note in enumerate(notes, 1)]
    synthetic = [SYNTHETIC] if frame.attrs["synthetic"] else []
    return "\n".join([escape_terminal(frame.attrs["run"]), *lines, "", *synthetic, ABOUT, *numbered])


def write(frame: pd.DataFrame, folder: str | Path) -> list[Path]:
    """Write protocols.csv and protocols.md into the run's folder, and for a blur its picture; returns their paths."""
    files = write_files(folder, {"protocols.csv": frame.to_csv(index=False), "protocols.md": to_markdown(frame)})
    return [*files, *(draw_blurs(folder, Path(folder, PICTURE)) if _blurred(frame) else ())]


def _blurred(frame: pd.DataFrame) -> bool:
    """Whether blurs were compared."""
    return bool(((frame["convention"] == "blur") & frame["value"].notna()).any())
