"""Leaderboards: what the runner left on disk, pooled, with intervals, as csv, Markdown, LaTeX and plain text."""

from vml_bench.leaderboard.aggregate import build, datasets
from vml_bench.leaderboard.render import format_table, write, write_csv

__all__ = ["build", "datasets", "format_table", "write", "write_csv"]
