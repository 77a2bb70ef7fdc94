"""Leaderboards: what the runner left on disk, pooled, with intervals, as csv, Markdown, LaTeX and plain text."""

from vml_bench.analysis.leaderboard.aggregate import build, store_features
from vml_bench.analysis.leaderboard.render import format_table
from vml_bench.analysis.leaderboard.write import write, write_csv
from vml_bench.metrics.suite import extractor
from vml_bench.store.runs import datasets

__all__ = ["build", "datasets", "extractor", "format_table", "store_features", "write", "write_csv"]
