"""A leaderboard's files: csv, Markdown and LaTeX, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.latex import to_tex
from vml_bench.analysis.leaderboard.render import to_markdown
from vml_bench.store import layout
from vml_bench.text import write_files


def write(frame: pd.DataFrame, folder: str | Path, tex_intervals: bool = False) -> list[Path]:
    """Write the leaderboard as csv, Markdown and LaTeX.

    Args:
        frame: from `build`.
        folder: where they go; made if absent.
        tex_intervals: whether the LaTeX tables show intervals.

    Returns:
        The three paths.
    """
    contents = {
        layout.LEADERBOARD: frame.to_csv(index=False),
        "leaderboard.md": to_markdown(frame),
        "leaderboard.tex": to_tex(frame, tex_intervals),
    }
    return write_files(folder, contents)


def write_csv(frames: Sequence[pd.DataFrame], path: str | Path) -> Path:
    """Write the leaderboards of several data sets as one csv, whole or not at all; returns its path."""
    path = Path(path)
    return write_files(path.parent, {path.name: pd.concat(frames, ignore_index=True).to_csv(index=False)})[0]
