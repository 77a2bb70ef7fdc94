"""Leaderboards: what the runner left on disk, pooled, with intervals, as csv, Markdown, LaTeX and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vml_bench.analysis.leaderboard.aggregate import build, of_runs, store_features
from vml_bench.analysis.leaderboard.latex import to_tex
from vml_bench.analysis.leaderboard.render import format_table, to_markdown
from vml_bench.metrics.suite import extractor
from vml_bench.store import layout
from vml_bench.store.runs import datasets
from vml_bench.text import write_files

__all__ = ["build", "datasets", "extractor", "format_table", "of_runs", "store_features", "write", "write_csv"]


def write(frame: pd.DataFrame, folder: str | Path, tex_intervals: bool = False) -> list[Path]:
    """Write a leaderboard as csv, Markdown and LaTeX, each whole or not at all; returns the three paths.

    Args:
        frame: from `build`.
        folder: where they go; made if absent.
        tex_intervals: whether the LaTeX tables show intervals.
    """
    tables = {"leaderboard.md": to_markdown(frame), "leaderboard.tex": to_tex(frame, tex_intervals)}
    return write_files(folder, {layout.LEADERBOARD: frame.to_csv(index=False), **tables})


def write_csv(frames: Sequence[pd.DataFrame], path: Path) -> Path:
    """Write the leaderboards of several data sets as one csv, whole or not at all; returns its path."""
    return write_files(path.parent, {path.name: pd.concat(frames, ignore_index=True).to_csv(index=False)})[0]
