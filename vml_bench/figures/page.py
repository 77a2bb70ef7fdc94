"""What the figures share: their style, headings, axes in rows and columns, points, and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vml_bench.analysis.leaderboard.render import Block
from vml_bench.cards import Card
from vml_bench.columns import with_bounds
from vml_bench.files import replacing
from vml_bench.store.runs import Problem

INK, FAINT = "#1a1a1a", "#6b6b6b"
STYLE = {
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # names may hold a $
    "xtick.color": INK,
    "ytick.color": INK,
}
"""matplotlib's settings for all figures, as `@matplotlib.rc_context(STYLE)` applies them."""
FILES = {"pdf.fonttype": 42, "pdf.compression": 6}
"""Fonts are embedded whole as TrueType, as publishers ask."""


def heading(problem: Problem, difference: str, *more: str) -> str:
    """What stands above a figure of one problem.

    Args:
        problem: the problem.
        difference: what tells it from others of its task and noise level; empty where it is alone.
        more: further words.
    """
    words = (problem.dataset, problem.task, difference, f"σ_y = {problem.noise_std:g}", *more)
    return " · ".join(filter(None, words))


def file_stem(problem: Problem, difference: str) -> str:
    """What files about a problem are called: "sr4-0.05", and its name behind it where it is not alone."""
    return f"{problem.task}-{problem.noise_std:g}" + (f"-{problem.name}" if difference else "")


def panels(
    rows: int,
    columns: int,
    size: tuple[float, float],
    gap: tuple[float, float],
    margin: tuple[float, float, float, float],
    dpi: int,
    **options: object,
) -> tuple[Figure, np.ndarray]:
    """A figure with axes in rows and columns, all of one size.

    Args:
        rows, columns: their numbers.
        size: of the axes, width and height in inches.
        gap: between columns and between rows, in inches.
        margin: left, bottom, right and top of them all, in inches.
        dpi: pixels per inch.
        options: for `Figure.subplots`.

    Returns:
        The figure, and its axes, (rows, columns).
    """
    (wide, high), (left, bottom, right, top) = size, margin
    width = left + columns * wide + (columns - 1) * gap[0] + right
    height = bottom + rows * high + (rows - 1) * gap[1] + top
    figure = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)  # one that can measure texts
    edges = {"left": left / width, "right": 1 - right / width, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**edges, wspace=gap[0] / wide, hspace=gap[1] / high)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def points(block: Block, cards: Mapping[str, Card], metric: str) -> pd.DataFrame:
    """The runs of a problem that have a finite value.

    Args:
        block: the problem.
        cards: of the methods, by name.
        metric: a column of the leaderboard.

    Returns:
        The rows of the block whose compute is known, in its order, with further columns: card, the look of the row; x,
        evaluations + products per image; y, low and high, the value and its bounds.
    """
    rows = block.rows
    said = zip(rows["method"], block.labels, rows["settings"], strict=True)
    rows = rows.assign(
        card=[cards[method].of_row(label, settings) for method, label, settings in said],
        x=rows["nfe"] + rows["vjp"],
        **{name: rows[of] for name, of in zip(("y", "low", "high"), with_bounds(metric), strict=True)},
    )
    rows.attrs = {}  # large, and pandas copies them in each step
    return rows[np.isfinite(rows["x"]) & np.isfinite(rows["y"])]


def front(runs: pd.DataFrame, better: int) -> pd.DataFrame:
    """The runs (x, y) that no other of them beats at no more compute x, cheapest first; `better` as of a column."""
    runs = runs.assign(worth=better * runs["y"]).sort_values(["x", "worth"], ascending=[True, False], kind="stable")
    return runs[runs["worth"] > runs["worth"].cummax().shift(fill_value=-np.inf)]


def compute_axis(axes: Axes, least: float, most: float, zero: float | None = None) -> None:
    """A logarithmic x axis with a few round numbers from least to most, and a place for no compute where there is one.

    Args:
        axes: its limits are left as they are.
        least, most: of the compute that is not 0.
        zero: where on the axis 0 is written.
    """
    steps = [m * 10.0**e for e in range(-6, 8) for m in (1, 2, 5) if least * 0.99 <= m * 10.0**e <= most * 1.01]
    if len(steps) > 5:
        steps = [step for step in steps if round(np.log10(step), 6) % 1 == 0] or steps[:: len(steps) // 4]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([*([zero] if zero else []), *(steps or [least])]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if zero and x <= zero else f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def legend_below(figure: Figure, handles: Mapping[str, Any], columns: int) -> None:
    """A legend below all panels: `handles` by title, in so many columns, five at most."""
    style = {"loc": "outside lower center", "ncols": min(5, columns), "fontsize": 8, "frameon": False}
    figure.legend(handles.values(), handles.keys(), **style)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG or PDF, whole or not at all, the same bytes for the same figure; returns its path."""
    unsaid = ("Software",) if path.suffix == ".png" else ("CreationDate", "Producer", "Creator")
    with replacing(path) as partial, matplotlib.rc_context(FILES):
        figure.savefig(partial, metadata=dict.fromkeys(unsaid))
    return path
