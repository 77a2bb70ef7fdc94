"""Quality against compute, one panel per problem, as PNG and PDF for a paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import IdentityTransform

from vml_bench.analysis.leaderboard.aggregate import build
from vml_bench.analysis.leaderboard.render import ARROWS, Block, blocks
from vml_bench.columns import BY_NAME, LPIPS, PSNR, Column
from vml_bench.figures.labels import place
from vml_bench.figures.page import FAINT, INK, STYLE, compute_axis, front, panels, points, save

METRICS = (LPIPS.name, PSNR.name)
"""What `write_tradeoffs` draws, with the runs' own metrics."""
COMPUTE = "network passes per image (evaluations + Jacobian products)"
DPI = 300
COLUMNS = 3
NAMED = 3
"""Up to this many runs of a method in a panel have a label each; more share one, at a run that no other beats."""
PANEL, GAP, MARGIN = (2.05, 1.95), (0.36, 0.44), (0.46, 0.44, 0.08, 0.26)
"""Inches: a panel's width and height; between panels; left, bottom, right and top of them all."""
LABEL, TITLE = 6.2, 7.5
OWN_STYLE = {
    **STYLE,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": LABEL + 0.5,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlepad": 4,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    **{f"{axis}tick.labelsize": 6.0 for axis in "xy"},
    **{
        f"{axis}tick.major.{what}": value
        for axis in "xy"
        for what, value in (("size", 2.5), ("width", 0.6), ("pad", 2))
    },
}
LETTER = 0.58
"""Mean width of a letter over its size: titles wider than their panel are written smaller."""
SIGMA = r"$\sigma_y$"
REACH, LEADER = 2.6, 4.0
"""Points: half a marker; a label further away than this is led to."""
INSET = np.array([-0.8, 1.5])
"""Points by which a leader ends inside the edges of its label; outside, where negative."""
SIDE, CROWD = 3.2, 14.0
"""Points between markers of equal compute, and from the first of them to the last at most."""
FAR = 4.0
"""A point this many times further from the best than the median is shown at the edge, with its value."""


@matplotlib.rc_context(OWN_STYLE)
def _draw(frame: pd.DataFrame, folder: Path, metric: str) -> list[Path]:
    """Draw one metric of a leaderboard; see `write_tradeoffs`."""
    cards, column = frame.attrs["cards"], frame.attrs["columns"][metric]
    drawn = [(block, points(block, cards, metric)) for block in blocks(frame)]
    drawn = [(block, found) for block, found in drawn if len(found)]
    columns = min(COLUMNS, len(drawn))
    figure, grid = panels(math.ceil(len(drawn) / columns), columns, PANEL, GAP, MARGIN, DPI)
    for unused in grid.flat[len(drawn) :]:
        unused.remove()
    for axes, (block, found) in zip(grid.flat, drawn, strict=False):
        _panel(axes, found, column, {name: card.title for name, card in cards.items()})
        title = _heading(block)
        width = LETTER * (len(title) - len(SIGMA) + 2)
        axes.set_title(title, fontsize=min(TITLE, 72 * PANEL[0] / width), parse_math=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(
            " ".join(filter(None, (column.title, column.unit and f"({column.unit})", ARROWS[column.better])))
        )
    height = figure.get_size_inches()[1]
    figure.text(0.5, 0.09 / height, COMPUTE, fontsize=LABEL + 0.5, ha="center", va="bottom")
    return [save(figure, folder / f"tradeoff-{metric}{suffix}") for suffix in (".png", ".pdf")]


def write_tradeoffs(results_dir: str | Path, dataset: str, synthetic: bool = False) -> list[Path]:
    """Draw quality against network passes (log) by `METRICS` and the runs' own metrics, a panel per problem.

    Bars are the leaderboard's 95 % intervals over images; † marks a method with diverged images. Where a method was run
    with several settings, a line joins those that no other of its settings beats at no more compute; of more than
    `NAMED` settings the others are pale. Points with settings of their own are hollow. Points far behind stand at the
    edge with their value; points of equal compute stand side by side.

    Returns:
        Paths of a PNG and a PDF per metric, <results_dir>/<dataset>/figures/tradeoff-<metric>.{png,pdf}; the same bytes
        for the same runs.
    """
    frame, _ = build(results_dir, dataset, synthetic)
    folder = Path(results_dir, dataset, "figures")
    own = [name for name, column in frame.attrs["columns"].items() if name not in BY_NAME and column.of_images]
    present = [metric for metric in (*METRICS, *own) if _scored(frame, metric)]
    return [path for metric in present for path in _draw(frame, folder, metric)]


def _scored(frame: pd.DataFrame, metric: str) -> bool:
    """Whether any row has a finite value and a known compute."""
    return metric in frame and bool(np.isfinite(frame[[metric, "nfe", "vjp"]]).all(axis=1).any())


def _heading(block: Block) -> str:
    """What stands over a panel: the problem, and how many priors are in it where it has several."""
    title = block.title.replace("\\", "").replace("$", r"\$")
    priors = f" ({len(block.priors)} priors)" if len(block.priors) > 1 else ""
    return f"{title}, {SIGMA} = {block.noise_std:g}{priors}"


def _panel(axes: Axes, found: pd.DataFrame, column: Column, titles: Mapping[str, str]) -> None:
    """Bars, settings of one method joined by lines, markers, labels.

    Args:
        axes: empty ones.
        found: from `points`.
        column: what is drawn.
        titles: of the methods, by name.
    """
    zero, limits = _x_axis(axes, found["x"]), _y_axis(axes, found, column.better)
    found = found.assign(left=found["x"].clip(lower=zero), up=found["y"].clip(*limits))  # where each is drawn
    groups = [(own, front(own, column.better)) for _, own in found.groupby("method", sort=False)]
    shown = pd.concat([own if len(own) <= NAMED else best for own, best in groups])
    found.loc[shown.index, "left"] = _side_by_side(axes, shown["left"])
    labels, lines = [], []
    for own, best in groups:
        own, best = found.loc[own.index], found.loc[best.index]
        card, many = own["card"].iloc[0], len(own) > NAMED
        marked = best if many else own
        pale = own.drop(marked.index).query("y == up")
        if len(pale):
            axes.plot(pale["left"], pale["up"], card.marker, color=card.colour, ms=2, alpha=0.3, mew=0, zorder=2)
        faint = 0.45 if len(marked) == 1 else 0.25
        lines += [_mark(axes, point, limits, faint) for point in marked.itertuples()]
        axes.plot(best["left"], best["up"], color=card.colour, lw=0.8, zorder=3)
        lines += itertools.pairwise(best[["left", "up"]].to_numpy())
        if many:
            labels.append(_named(best, titles[card.name], column, own["diverged"].sum()))
        else:
            labels += [_named(own.loc[[i]], own["card"][i].title, column, own["diverged"][i]) for i in own.index]
    _label(axes, labels, lines)


def _mark(axes: Axes, point: Any, limits: tuple[float, float], faint: float) -> tuple:
    """Draw a point and its bar; returns the ends of the bar."""
    x, look = point.left, point.card
    bar = np.clip([point.low, point.high], *limits)
    axes.plot([x, x], bar, color=look.colour, lw=0.8, alpha=faint, solid_capstyle="butt", zorder=2)
    marker = look.marker if point.up == point.y else ("^" if point.y > point.up else "v")
    fill = "white" if look.hollow else look.colour
    axes.plot(x, point.up, marker, color=look.colour, mfc=fill, ms=2 * REACH - 1, mew=0.8, zorder=4)
    return (x, bar[0]), (x, bar[1])


def _named(best: pd.DataFrame, title: str, column: Column, lost: int) -> tuple:
    """Where a label may stand, what it says, and its colour."""
    last = best.iloc[-1]
    far = "" if last["up"] == last["y"] else f" {last['y']:.{column.digits}f}"
    anchors = best[-1:] if far else best[best["up"] == best["y"]]
    return anchors[["left", "up"]].to_numpy(), title + far + "†" * bool(lost), last["card"].ink


def _side_by_side(axes: Axes, places: pd.Series) -> pd.Series:
    """Where on the x axis each point is drawn: those of equal compute stand a little apart."""
    left, right = np.log(axes.get_xlim())
    sharing = places.groupby(places)
    count = sharing.transform("size")
    step = np.minimum(SIDE, CROWD / (count - 1).clip(lower=1)) * (right - left) / (72 * PANEL[0])
    return places * np.exp((sharing.cumcount() - (count - 1) / 2) * step)


def _x_axis(axes: Axes, values: pd.Series) -> float:
    """A log axis with a place of its own for zero compute; returns where that is."""
    positive = values[values > 0] if (values > 0).any() else pd.Series([1.0])
    least, most = positive.min(), positive.max()
    span = max(math.log10(most / least), 0.5)
    zero = least / 10 ** (0.3 * span) if (values <= 0).any() else least
    compute_axis(axes, least, most, zero if zero < least else None)
    axes.set_xlim(zero / 10 ** (0.12 * span), most * 10 ** (0.14 * span))
    if zero < least:
        axes.axvline(math.sqrt(zero * least), color=FAINT, lw=0.5, ls=(0, (1, 2)), zorder=1)
    return zero


def _y_axis(axes: Axes, found: pd.DataFrame, better: int) -> tuple[float, float]:
    """Limits that hold all points but those far behind; returns where those are drawn."""
    behind = (found["y"] - (found["y"] * better).max() * better).abs()
    ends = found.loc[behind <= FAR * max(behind.median(), 1e-9), ["y", "low", "high"]].to_numpy()
    ends = ends[np.isfinite(ends)]
    low, high = ends.min(), ends.max()
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - 2 * pad, high + 2 * pad)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return low - pad, high + pad


def _label(axes: Axes, labels: list, lines: list) -> None:
    """Write each (points, text, colour) beside one of its points, with a thin leader where it had to go further."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    scale = 72 / figure.dpi
    texts = [
        axes.text(0, 0, text, color=ink, fontsize=LABEL, transform=IdentityTransform(), zorder=6)
        for _, text, ink in labels
    ]
    extents = np.array([text.get_window_extent(renderer).extents for text in texts]) * scale  # baseline at the origin

    def on_page(places: Sequence[tuple[float, float]]) -> np.ndarray:
        return axes.transData.transform(np.array(places)) * scale

    anchors = [on_page(points) for points, _, _ in labels]
    starts, ends = (on_page([line[i] for line in lines]) for i in (0, 1))
    thin = np.concatenate([starts + (ends - starts) * t for t in np.linspace(0, 1, 25)])
    frame = axes.get_window_extent(renderer).extents * scale + [1, 1, 3, 0]
    sizes = extents[:, 2:] - extents[:, :2]
    boxes, points = place(anchors, sizes, np.concatenate(anchors), np.hstack([thin - 0.6, thin + 0.6]), frame, REACH)
    for text, point, box, extent, (_, _, ink) in zip(texts, points, boxes, extents, labels, strict=True):
        text.set_transform(figure.dpi_scale_trans)
        text.set_position((box[:2] - extent[:2]) / 72)
        nearest = np.clip(point, box[:2] + INSET, box[2:] - INSET)
        if np.hypot(*(nearest - point)) > REACH + LEADER:
            way = np.array([point, nearest]) / 72
            axes.plot(*way.T, color=ink, lw=0.4, alpha=0.7, transform=figure.dpi_scale_trans, zorder=3, clip_on=False)
