"""Quality against compute, a panel a task, as PNG and PDF for a paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import IdentityTransform

from vml_bench.errors import InputError
from vml_bench.figures.labels import place
from vml_bench.figures.pictures import FAINT, INK
from vml_bench.figures.styles import style
from vml_bench.files import replacing
from vml_bench.leaderboard.aggregate import build
from vml_bench.leaderboard.columns import BY_NAME, with_bounds
from vml_bench.leaderboard.render import ARROWS

METRICS = ("lpips_alex", "psnr")
COSTS = {"passes": "network passes an image (evaluations + Jacobian products)", "seconds": "seconds an image"}
DPI = 300
COLUMNS = 3
PANEL, GAP, MARGIN = (2.05, 1.95), (0.36, 0.44), (0.46, 0.44, 0.08, 0.26)
"""Inches: a panel's width and height; between panels; left, bottom, right and top of them all."""
SMALL, LABEL, TITLE = 6.0, 6.2, 7.5
REACH, LEADER = 2.6, 4.0
"""Points: half a marker; a label further away than this is led to."""
INSET = np.array([-0.8, 1.5])
"""Points by which a leader ends inside the edges of its label; outside, where negative."""
SIDE, CROWD = 3.2, 14.0
"""Points between markers of equal compute, and from the first of them to the last at most."""
FAR = 4.0
"""A point this many times further from the best than the median is shown at the edge, with its value."""


@dataclass(frozen=True)
class Point:
    """One run in one panel.

    Attributes:
        method: its method.
        x: compute an image.
        y, low, high: mean score and its 95 % bounds.
        lost: number of diverged images.
    """

    method: str
    x: float
    y: float
    low: float
    high: float
    lost: int


def read_point(row: Mapping[str, Any], metric: str, cost: str) -> Point | None:
    """A row of a leaderboard as a point, or None where it has no finite mean."""
    if not math.isfinite(row.get(metric, math.nan)):
        return None
    x = row["nfe"] + row["vjp"] if cost == "passes" else row["seconds"]
    return Point(row["method"], x, *(row[name] for name in with_bounds(metric)), row["diverged"])


def front(points: Sequence[Point], better: int) -> list[Point]:
    """The points that no other of them beats at no more compute, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -better * point.y)):
        if not kept or better * (point.y - kept[-1].y) > 0:
            kept.append(point)
    return kept


def tradeoff_figure(
    results_dir: str | Path, dataset: str, metric: str = "lpips_alex", cost: str = "passes", synthetic: bool = False
) -> list[Path]:
    """Draw every task and noise level of a data set: compute (log) against quality, each method labelled.

    Bars are the leaderboard's 95 % intervals over images; † marks a method of which images diverged. Where a method
    was run with several settings, a line joins those that no other of its settings beats at no more compute; the
    others are pale. Points far behind stand at the edge with their value; points of equal compute stand side by side.

    Args:
        results_dir: the folder that holds runs/.
        dataset: name under which the runs are filed.
        metric: a score of single images.
        cost: "passes" (network evaluations + vector-Jacobian products) or "seconds".
        synthetic: also draw runs marked synthetic.

    Returns:
        Paths of the PNG and the PDF, <results_dir>/<dataset>/figures/tradeoff-<metric>[-seconds].{png,pdf}; the same
        bytes for the same runs.

    Raises:
        InputError: no run with this score, or an unknown cost.
    """
    if cost not in COSTS:
        raise InputError(f"unknown cost '{cost}'", f"choose among {', '.join(COSTS)}")
    return _draw(build(results_dir, dataset, synthetic)[0], Path(results_dir, dataset, "figures"), metric, cost)


def _draw(frame: pd.DataFrame, folder: Path, metric: str, cost: str) -> list[Path]:
    """Draw a leaderboard; see `tradeoff_figure`."""
    panels: dict[tuple[str, float], list[Point]] = {}
    for row in frame.to_dict("records"):
        if point := read_point(row, metric, cost):
            panels.setdefault((row["task"], row["noise_std"]), []).append(point)
    if not panels:
        raise InputError(
            f"no run of '{frame.attrs['dataset']}' has a {metric}", "choose a metric that its images.parquet holds"
        )
    figure = _layout(len(panels))
    for i, ((task, noise_std), points) in enumerate(panels.items()):
        axes = figure.axes[i]
        _panel(axes, points, metric)
        task = task.replace("\\", "").replace("$", r"\$")
        axes.set_title(f"{task}, $\\sigma_y$ = {noise_std:g}", fontsize=TITLE, color=INK, pad=4)
        if i % COLUMNS == 0:
            axes.set_ylabel(_title(metric), fontsize=LABEL + 0.5, color=INK)
    height = figure.get_size_inches()[1]
    figure.text(0.5, 0.09 / height, COSTS[cost], fontsize=LABEL + 0.5, color=INK, ha="center", va="bottom")
    stem = f"tradeoff-{metric}" + ("" if cost == "passes" else f"-{cost}")
    return _save(figure, folder, stem)


def write_tradeoffs(results_dir: str | Path, dataset: str, synthetic: bool = False) -> list[Path]:
    """Draw quality against network passes for each of `METRICS` that the data set has; see `tradeoff_figure`."""
    frame, _ = build(results_dir, dataset, synthetic)
    folder = Path(results_dir, dataset, "figures")
    present = [metric for metric in METRICS if np.isfinite(frame[metric]).any()]
    return [path for metric in present for path in _draw(frame, folder, metric, "passes")]


def _title(metric: str) -> str:
    column = BY_NAME[metric]
    return f"{column.title}{f' ({column.unit})' if column.unit else ''} {ARROWS[column.better]}"


def _layout(count: int) -> Figure:
    """Axes in whole rows, all of one size."""
    columns, rows = min(COLUMNS, count), math.ceil(count / COLUMNS)
    left, bottom, right, top = MARGIN
    width = left + columns * PANEL[0] + (columns - 1) * GAP[0] + right
    height = bottom + rows * PANEL[1] + (rows - 1) * GAP[1] + top
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)  # one for all panels: each holds a whole page of pixels
    for i in range(count):
        row, column = divmod(i, COLUMNS)
        x = left + column * (PANEL[0] + GAP[0])
        y = height - top - PANEL[1] - row * (PANEL[1] + GAP[1])
        figure.add_axes((x / width, y / height, PANEL[0] / width, PANEL[1] / height))
    return figure


def _panel(axes: Axes, points: list[Point], metric: str) -> None:
    """Bars, settings joined by lines, markers, labels."""
    column = BY_NAME[metric]
    zero = _x_axis(axes, [point.x for point in points])
    low, high = _y_axis(axes, points, column.better)
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.method, []).append(point)
    fronts = {method: front(own, column.better) for method, own in groups.items()}
    beside = _side_by_side(axes, [(method, max(p.x, zero)) for method, best in fronts.items() for p in best])
    labels, lines = [], []
    for method, best in fronts.items():
        look = style(method)
        pale = [(max(p.x, zero), p.y) for p in groups[method] if p not in best and low <= p.y <= high]
        if pale:
            axes.plot(*zip(*pale, strict=True), look.marker, color=look.colour, ms=2, alpha=0.3, mew=0, zorder=2)
        faint = 0.45 if len(best) == 1 else 0.25
        way = [(beside[method, max(point.x, zero)], min(max(point.y, low), high)) for point in best]
        for point, (x, y) in zip(best, way, strict=True):
            bar = np.clip([point.low, point.high], low, high)
            axes.plot([x, x], bar, color=look.colour, lw=0.8, alpha=faint, solid_capstyle="butt", zorder=2)
            marker = look.marker if y == point.y else ("^" if point.y > high else "v")
            fill = "white" if look.hollow else look.colour
            axes.plot(x, y, marker, color=look.colour, mfc=fill, ms=2 * REACH - 1, mew=0.8, zorder=4)
            lines.append(((x, bar[0]), (x, bar[1])))
        axes.plot(*zip(*way, strict=True), color=look.colour, lw=0.8, zorder=3)
        lines += itertools.pairwise(way)
        far = "" if way[-1][1] == best[-1].y else f" {best[-1].y:.{column.digits}f}"
        anchors = way[-1:] if far else [at for at, point in zip(way, best, strict=True) if at[1] == point.y]
        labels.append((anchors, look.title + far + "†" * any(point.lost for point in groups[method]), look.ink))
    _label(axes, labels, lines)


def _side_by_side(axes: Axes, places: list[tuple[str, float]]) -> dict[tuple[str, float], float]:
    """Where on the x axis each method's point is drawn: those of equal compute stand a little apart."""
    left, right = np.log(axes.get_xlim())
    sharing: dict[float, list[str]] = {}
    for method, x in places:
        sharing.setdefault(x, []).append(method)
    beside = {}
    for x, methods in sharing.items():
        step = min(SIDE, CROWD / max(len(methods) - 1, 1)) * (right - left) / (72 * PANEL[0])
        for k, method in enumerate(methods):
            beside[method, x] = x * math.exp((k - (len(methods) - 1) / 2) * step)
    return beside


def _x_axis(axes: Axes, values: list[float]) -> float:
    """A log axis with a place of its own for zero compute; returns where that is."""
    positive = [value for value in values if value > 0] or [1.0]
    least, most = min(positive), max(positive)
    span = max(math.log10(most / least), 0.5)
    zero = least / 10 ** (0.3 * span) if min(values) <= 0 else least
    axes.set_xscale("log")
    axes.set_xlim(zero / 10 ** (0.12 * span), most * 10 ** (0.14 * span))
    steps = [m * 10.0**e for e in range(-6, 8) for m in (1, 2, 5) if least * 0.99 <= m * 10.0**e <= most * 1.01]
    if len(steps) > 5:
        steps = [step for step in steps if round(math.log10(step), 6) % 1 == 0] or steps[:: len(steps) // 4]
    axes.xaxis.set_major_locator(FixedLocator([*([zero] if zero < least else []), *(steps or [least])]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if zero < least and x <= zero else f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    if zero < least:
        axes.axvline(math.sqrt(zero * least), color=FAINT, lw=0.5, ls=(0, (1, 2)), zorder=1)
    return zero


def _y_axis(axes: Axes, points: list[Point], better: int) -> tuple[float, float]:
    """Limits that hold all points but those far behind; returns where those are drawn."""
    means = np.array([point.y for point in points])
    best = (means * better).max() * better
    behind = np.abs(means - best)
    shown = [p for p, d in zip(points, behind, strict=True) if d <= FAR * max(np.median(behind), 1e-9)] or points
    ends = [value for p in shown for value in (p.y, p.low, p.high) if math.isfinite(value)]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - 2 * pad, high + 2 * pad)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=SMALL, length=2.5, width=0.6, pad=2, colors=INK)
    axes.grid(axis="y", color="#e6e6e6", lw=0.5)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), linewidth=0.6, color=INK)
    return low - pad, high + pad


def _label(axes: Axes, labels: list, lines: list) -> None:
    """Write each (points, text, colour) beside one of its points, with a thin leader where it had to go further."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    scale = 72 / figure.dpi
    texts = [
        axes.text(0, 0, text, color=ink, fontsize=LABEL, parse_math=False, transform=IdentityTransform(), zorder=6)
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


def _save(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """PNG and PDF without dates or versions; fonts embedded whole as TrueType, as publishers ask."""
    png, pdf = folder / f"{stem}.png", folder / f"{stem}.pdf"
    with replacing(png) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata={"Software": None})
    with replacing(pdf) as partial, matplotlib.rc_context({"pdf.fonttype": 42, "pdf.compression": 6}):
        FigureCanvasPdf(figure).print_pdf(partial, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return [png, pdf]
