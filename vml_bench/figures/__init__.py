"""Figures of what is on disk: pictures side by side, quality against compute, distances to exact answers."""

from vml_bench.figures.pictures import task_figure, write_figures
from vml_bench.figures.tradeoff import tradeoff_figure, write_tradeoffs

__all__ = ["task_figure", "tradeoff_figure", "write_figures", "write_tradeoffs"]
