"""Figures of what is on disk: pictures side by side, quality against compute, distances to exact answers."""

from vml_bench.figures.pictures import write_figures
from vml_bench.figures.tradeoff import write_tradeoffs

__all__ = ["write_figures", "write_tradeoffs"]
