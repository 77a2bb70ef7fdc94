"""Quality against compute, one panel per problem, as PNG and PDF for a paper."""

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

from vml_bench.analysis.leaderboard.aggregate import build
from vml_bench.analysis.leaderboard.render import ARROWS, Block, blocks
from vml_bench.cards import Card
from vml_bench.columns import BY_NAME, LPIPS, PSNR, Column, with_bounds
from vml_bench.errors import InputError
from vml_bench.figures.labels import place
from vml_bench.figures.pictures import FAINT, INK, save_png
from vml_bench.files import replacing

METRICS = (LPIPS.name, PSNR.name)
"""What `write_tradeoffs` draws, with the runs' own metrics."""
COSTS = {"passes": "network passes per image (evaluations + Jacobian products)", "seconds": "seconds per image"}
DPI = 300
COLUMNS = 3
NAMED = 3
"""Up to this many runs of a method in a panel have a label each; more share one, at a run that no other beats."""
PANEL, GAP, MARGIN = (2.05, 1.95), (0.36, 0.44), (0.46, 0.44, 0.08, 0.26)
"""Inches: a panel's width and height; between panels; left, bottom, right and top of them all."""
SMALL, LABEL, TITLE = 6.0, 6.2, 7.5
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


@dataclass(frozen=True)
class Point:
    """One run in one panel.

    Attributes:
        card: its look.
        x: compute per image.
        y, low, high: mean score and its 95 % bounds.
        lost: number of diverged images.
    """

    card: Card
    x: float
    y: float
    low: float
    high: float
    lost: int


def read_point(row: Mapping[str, Any], card: Card, metric: str, cost: str) -> Point | None:
    """A row of a leaderboard as a point with that look, or None where it has no finite mean."""
    if not math.isfinite(row.get(metric, math.nan)):
        return None
    x = row["nfe"] + row["vjp"] if cost == "passes" else row["seconds"]
    return Point(card, x, *(row[name] for name in with_bounds(metric)), row["diverged"])


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
    """Draw every problem of a data set: compute (log) against quality, each method labelled.

    Bars are the leaderboard's 95 % intervals over images; † marks a method with diverged images. Where a method
    was run with several settings, a line joins those that no other of its settings beats at no more compute; of more
    than `NAMED` settings the others are pale. Points with settings of their own are hollow. Points far
    behind stand at the edge with their value; points of equal compute stand side by side.

    Args:
        results_dir: the results folder.
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
    cards, column = frame.attrs["cards"], frame.attrs["columns"].get(metric)
    panels = [(block, points) for block in blocks(frame) if (points := _points(block, cards, metric, cost))]
    if not panels or column is None:
        known = ", ".join(c.name for c in frame.attrs["columns"].values() if c.of_images and _scored(frame, c.name))
        remedy = f"choose among {known}" if known else "vml-bench run dataset=photos64 task=sr4 method=ddrm"
        raise InputError(f"no run of '{frame.attrs['dataset']}' has a {metric}", remedy)
    figure = _layout(len(panels))
    for i, (block, points) in enumerate(panels):
        axes = figure.axes[i]
        _panel(axes, points, column, {name: card.title for name, card in cards.items()})
        title = _heading(block)
        width = LETTER * (len(title) - len(SIGMA) + 2)
        axes.set_title(title, fontsize=min(TITLE, 72 * PANEL[0] / width), color=INK, pad=4)
        if i % COLUMNS == 0:
            axes.set_ylabel(_title(column), fontsize=LABEL + 0.5, color=INK, parse_math=False)
    height = figure.get_size_inches()[1]
    figure.text(0.5, 0.09 / height, COSTS[cost], fontsize=LABEL + 0.5, color=INK, ha="center", va="bottom")
    stem = f"tradeoff-{metric}" + ("" if cost == "passes" else f"-{cost}")
    return _save(figure, folder, stem)


def write_tradeoffs(results_dir: str | Path, dataset: str, synthetic: bool = False) -> list[Path]:
    """Draw quality against network passes by `METRICS` and the runs' own metrics; see `tradeoff_figure`."""
    frame, _ = build(results_dir, dataset, synthetic)
    folder = Path(results_dir, dataset, "figures")
    own = [name for name, column in frame.attrs["columns"].items() if name not in BY_NAME and column.of_images]
    present = [metric for metric in (*METRICS, *own) if _scored(frame, metric)]
    return [path for metric in present for path in _draw(frame, folder, metric, "passes")]


def _points(block: Block, cards: Mapping[str, Card], metric: str, cost: str) -> list[Point]:
    """The points of a problem, in the table's order."""
    rows = zip(block.rows.to_dict("records"), block.labels, strict=True)
    looks = [(row, cards[row["method"]].of_row(label, row["settings"])) for row, label in rows]
    return [point for row, card in looks if (point := read_point(row, card, metric, cost))]


def _scored(frame: pd.DataFrame, metric: str) -> bool:
    """Whether any row has a finite value."""
    return metric in frame and bool(np.isfinite(frame[metric]).any())


def _heading(block: Block) -> str:
    """What stands over a panel: the problem, and how many priors are in it where it has several."""
    title = block.title.replace("\\", "").replace("$", r"\$")
    priors = f" ({len(block.priors)} priors)" if len(block.priors) > 1 else ""
    return f"{title}, {SIGMA} = {block.noise_std:g}{priors}"


def _title(column: Column) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.title}{unit} {ARROWS[column.better]}"


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


def _panel(axes: Axes, points: list[Point], column: Column, titles: Mapping[str, str]) -> None:
    """Bars, settings of one method joined by lines, markers, labels.

    Args:
        axes: empty ones.
        points: in the table's order.
        column: what is drawn.
        titles: of the methods, by name.
    """
    zero = _x_axis(axes, [point.x for point in points])
    low, high = _y_axis(axes, points, column.better)
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.card.name, []).append(point)
    fronts = {method: front(own, column.better) for method, own in groups.items()}
    shown = {method: own if len(own) <= NAMED else fronts[method] for method, own in groups.items()}
    drawn = [point for own in shown.values() for point in own]
    beside = _side_by_side(axes, [max(point.x, zero) for point in drawn])
    at = {id(p): (x, min(max(p.y, low), high)) for p, x in zip(drawn, beside, strict=True)}
    labels, lines = [], []
    for method, own in groups.items():
        pale = [(max(p.x, zero), p.y) for p in own if p not in shown[method] and low <= p.y <= high]
        if pale:
            look = own[0].card
            axes.plot(*zip(*pale, strict=True), look.marker, color=look.colour, ms=2, alpha=0.3, mew=0, zorder=2)
        faint = 0.45 if len(shown[method]) == 1 else 0.25
        for point in shown[method]:
            lines.append(_mark(axes, point, at[id(point)], (low, high), faint))
        way = [at[id(point)] for point in fronts[method]]
        axes.plot(*zip(*way, strict=True), color=own[0].card.colour, lw=0.8, zorder=3)
        lines += itertools.pairwise(way)
        if len(own) <= NAMED:
            labels += [_named([point], [at[id(point)]], point.card.title, column, point.lost) for point in own]
        else:
            lost = sum(point.lost for point in own)
            labels.append(_named(fronts[method], way, titles[method], column, lost))
    _label(axes, labels, lines)


def _mark(axes: Axes, point: Point, at: tuple[float, float], limits: tuple[float, float], faint: float) -> tuple:
    """Draw a point and its bar; returns the ends of the bar."""
    (x, y), look = at, point.card
    bar = np.clip([point.low, point.high], *limits)
    axes.plot([x, x], bar, color=look.colour, lw=0.8, alpha=faint, solid_capstyle="butt", zorder=2)
    marker = look.marker if y == point.y else ("^" if point.y > limits[1] else "v")
    fill = "white" if look.hollow else look.colour
    axes.plot(x, y, marker, color=look.colour, mfc=fill, ms=2 * REACH - 1, mew=0.8, zorder=4)
    return (x, bar[0]), (x, bar[1])


def _named(best: list[Point], way: list[tuple[float, float]], title: str, column: Column, lost: int) -> tuple:
    """Where a label may stand, what it says, and its colour."""
    far = "" if way[-1][1] == best[-1].y else f" {best[-1].y:.{column.digits}f}"
    anchors = way[-1:] if far else [at for at, point in zip(way, best, strict=True) if at[1] == point.y]
    return anchors, title + far + "†" * bool(lost), best[0].card.ink


def _side_by_side(axes: Axes, places: list[float]) -> list[float]:
    """Where on the x axis each point is drawn: those of equal compute stand a little apart."""
    left, right = np.log(axes.get_xlim())
    sharing: dict[float, list[int]] = {}
    for i, x in enumerate(places):
        sharing.setdefault(x, []).append(i)
    beside = list(places)
    for x, own in sharing.items():
        step = min(SIDE, CROWD / max(len(own) - 1, 1)) * (right - left) / (72 * PANEL[0])
        for k, i in enumerate(own):
            beside[i] = x * math.exp((k - (len(own) - 1) / 2) * step)
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
    pdf = folder / f"{stem}.pdf"
    png = save_png(figure, folder / f"{stem}.png")
    with replacing(pdf) as partial, matplotlib.rc_context({"pdf.fonttype": 42, "pdf.compression": 6}):
        FigureCanvasPdf(figure).print_pdf(partial, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return [png, pdf]
