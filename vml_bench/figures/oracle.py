"""Figures of the closed-form priors: score against compute, and in the plane the paths that methods take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from scipy.stats import Covariance, multivariate_normal

from vml_bench.analysis.leaderboard.render import blocks
from vml_bench.cards import Card
from vml_bench.columns import BY_NAME
from vml_bench.errors import InputError
from vml_bench.figures.page import FAINT, INK, STYLE, compute_axis, file_stem, front, heading, panels, points, save
from vml_bench.identity import in_words
from vml_bench.store import layout
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import Run, by_problem, select_runs
from vml_bench.text import number

DPI = 200
OWN_STYLE = {
    **STYLE,
    "axes.edgecolor": "#d5d5d5",
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "grid.color": "#eeeeee",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7,
    **{f"{axis}tick.labelsize": 7 for axis in "xy"},
    **{f"{axis}tick.{which}.size": 2 for axis in "xy" for which in ("major", "minor")},
}
SMALLEST = 1e-4
"""Smaller values, 0 among them, are drawn here on a logarithmic axis."""
DENSITY = LinearSegmentedColormap.from_list("density", ["#ffffff", "#cfe0ee", "#7fb0d3", "#2f6fa5"])
WAYS = 4
"""Restorations whose path is drawn; of the others only the result is."""
THINNEST = 0.03
"""Standard deviation, images in [-1, 1], below which a posterior is drawn thicker than it is, so that it is seen."""


DASHES = {"o": "--", "s": "-.", "^": (0, (6, 2, 1, 2, 1, 2))}
"""Dashes of the methods that use no denoiser, by their markers."""
DOT = {"ls": "", "marker": "o", "ms": 3.4, "mec": "white", "mew": 0.4, "zorder": 5}
MODE = {"ls": "", "marker": "*", "ms": 9, "mfc": "#ffd000", "mec": INK, "mew": 0.7}
MEAN = {"ls": "", "marker": "X", "ms": 6, "mfc": "white", "mec": INK, "mew": 0.8}
FLOOR = {"color": INK, "ls": ":", "lw": 1.2}


def _look(card: Card, free: bool) -> dict[str, object]:
    """The style of a method: dashes where it is free of compute, else a line and markers, hollow for a variant."""
    if free:
        return {"color": card.colour, "linestyle": DASHES.get(card.marker, "--"), "lw": 1.2}
    face = "white" if card.hollow else card.colour
    return {"color": card.colour, "marker": card.marker, "markerfacecolor": face, "markeredgecolor": card.colour}


@matplotlib.rc_context({**OWN_STYLE, "text.parse_math": True})  # 10⁴ on a logarithmic axis is mathematics
def against_compute(frame: pd.DataFrame, column: str, path: Path) -> Path:
    """Draw a column of a leaderboard against compute, one panel per problem, both axes logarithmic.

    Compute is NFE + VJP per image. A method's runs are points, those below `SMALLEST` drawn on it, hollow where they
    have settings of their own; runs that none with as little compute beats are joined. A method that uses no denoiser
    is a dashed line, and the score of exact posterior samples, where known, a dotted one.

    Args:
        frame: from `vml_bench.analysis.leaderboard.build`.
        column: one where less is better, such as map_gap or sw2.
        path: the PNG.

    Raises:
        InputError: no run has a value.
    """
    cards, known, floor = frame.attrs["cards"], BY_NAME[column], f"{column}_floor"
    found = {(block.title, block.noise_std): points(block, cards, column) for block in blocks(frame)}
    found = {place: rows for place, rows in found.items() if len(rows)}
    if not found:
        raise InputError(f"no run has a {column} to draw", "vml-bench run dataset=gmm task=sr4 method=vml_map_pre")
    table = pd.concat(found.values())
    tasks, levels = list(dict.fromkeys(title for title, _ in found)), sorted({level for _, level in found})
    figure, grid = panels(
        len(tasks), len(levels), (2.36, 2.0), (0.14, 0.15), (0.75, 0.55, 1.65, 0.4), DPI, sharex=True, sharey=True
    )
    asked = table.loc[table["x"] > 0, "x"]
    for axes, (task, noise_std) in zip(grid.flat, itertools.product(tasks, levels), strict=True):
        rows = found.get((task, noise_std), table[:0])
        axes.set_yscale("log")
        compute_axis(axes, *((asked.min(), asked.max()) if len(asked) else (1, 10)))
        axes.grid(True)
        _against_compute_panel(axes, rows, cards)
        if floor in rows and rows[floor].notna().any():
            axes.axhline(rows[floor].median(), **FLOOR)
        if len(priors := set(rows["prior"]) - {""}) > 1:
            axes.annotate(f"{len(priors)} priors", (0.03, 0.03), xycoords="axes fraction", fontsize=6.5, color=FAINT)
    if len(asked):
        grid[0, 0].set_xlim(asked.min() / 1.5, asked.max() * 1.5)
    for axes, task in zip(grid[:, -1], tasks, strict=True):
        size = min(8.0, 72 * 2.1 / (0.6 * len(task)))
        style = {"rotation": 270, "va": "center", "fontsize": size, "parse_math": False}
        axes.annotate(task, (1.02, 0.5), xycoords="axes fraction", **style)
    for axes, noise_std in zip(grid[0], levels, strict=True):
        axes.set_title(f"σ_y = {noise_std:g}")
    compute = table.groupby("method")["x"].max()
    here = [(card, compute[name] == 0) for name, card in cards.items() if name in compute]
    handles = [Line2D([], [], label=card.title, **{"lw": 1.4, "ms": 4.5, **_look(card, free)}) for card, free in here]
    if any(look.hollow and not cards[look.name].hollow for look in table["card"]):
        handles.append(Line2D([], [], color=FAINT, ls="", marker="o", ms=4.5, mfc="white", label="settings of its own"))
    if floor in table:
        handles.append(Line2D([], [], label="exact samples", **FLOOR))
    width, height = figure.get_size_inches()
    figure.legend(handles=handles, loc="center right", bbox_to_anchor=(1 - 0.05 / width, 0.5))
    figure.text(0.08 / width, 1 - 0.12 / height, frame.attrs["dataset"], va="top", fontsize=9, parse_math=False)
    figure.supxlabel("network evaluations + Jacobian products per image", fontsize=8, y=0.08 / height)
    words = (known.statistic if known.statistic == "median" else "", known.title, known.unit and f"({known.unit})")
    figure.supylabel(" ".join(filter(None, words)), fontsize=8, x=0.08 / width)
    return save(figure, path)


def _against_compute_panel(axes: Axes, rows: pd.DataFrame, cards: Mapping[str, Card]) -> None:
    """The runs of one problem, method after method in the cards' order."""
    rows = rows.assign(y=rows["y"].clip(lower=SMALLEST))
    for layer, (method, card) in enumerate(cards.items()):
        runs = rows[rows["method"] == method]
        if runs.empty:
            continue
        if not runs["x"].any():
            axes.axhline(runs["y"].min(), **_look(card, free=True))
            continue
        best = front(runs, -1)
        own = best[[look.hollow for look in best["card"]]]
        line, over = _look(card, free=False), {"ms": 4, "mew": 0.8, "zorder": 4 + layer / 100}
        axes.plot(runs["x"], runs["y"], ls="", alpha=0.35, **line | {"ms": 2.5, "zorder": 3})
        axes.plot(best["x"], best["y"], lw=1.1, **line | over)
        axes.plot(own["x"], own["y"], ls="", **line | over | {"markerfacecolor": "white"})


@matplotlib.rc_context({**OWN_STYLE, "axes.titlelocation": "left", "axes.titlepad": 3})
def trajectories(runs: Sequence[Run], scene: str, path: Path, difference: str = "") -> Path:
    """Draw the paths of one scene's restorations in the plane: one panel per run, and one of exact samples.

    Grey contours are the prior, blue is the posterior; thin lines follow D(x_t, σ) of `WAYS` restorations from the
    first evaluation to the last, dots are all answers, the star is the exact mode and the cross the posterior mean.

    Args:
        runs: of one problem, with trajectories kept (metrics=oracle_2d).
        scene: the scene.
        path: the PNG.
        difference: what tells the problem from others of its task and noise level.

    Raises:
        InputError: there is no such scene, or its images are not points of the plane.
    """
    answers = exact_answers(runs[0])
    scenes = answers["scenes"].tolist()
    if answers["mean"].shape[1] != 2:
        raise InputError(f"images of {answers['mean'].shape[1]} numbers cannot be drawn", "use dataset=gmm_2d")
    if scene not in scenes:
        raise InputError(f"there is no scene '{scene}'", f"choose among {', '.join(scenes)}")
    place, first = scenes.index(scene), runs[0]
    columns = math.ceil(math.sqrt(1.5 * (len(runs) + 1)))
    rows = math.ceil((len(runs) + 1) / columns)
    figure, grid = panels(rows, columns, (2.12, 2.12), (0.08, 0.3), (0.05, 0.5, 0.05, 0.55), DPI)
    for axes in grid.flat[len(runs) + 1 :]:
        axes.remove()
    for axes in grid.flat[: len(runs) + 1]:
        _ground(axes, answers, place)
    _exact_panel(grid[0, 0], answers, place)
    for axes, run, label in zip(grid.flat[1:], runs, labels(runs), strict=False):
        _way_panel(axes, run, run.card.of_row(label, in_words(run.all_settings)), scene)
    figure.suptitle(heading(first.problem, difference, scene), fontsize=9)
    handles = [
        Line2D([], [], color="#9a9a9a", lw=0.8, label="prior"),
        Line2D([], [], color="#7fb0d3", lw=6, label="posterior"),
        Line2D([], [], color=INK, lw=0.6, label="D(x_t, σ) along the way"),
        Line2D([], [], color=INK, ls="", marker="o", ms=4, label="answers"),
        Line2D([], [], label="exact mode", **MODE),
        Line2D([], [], label="posterior mean", **MEAN),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=6 if columns > 3 else 3)
    return save(figure, path)


def exact_answers(run: Run) -> dict[str, np.ndarray]:
    """The exact posteriors that a run kept; see `vml_bench.metrics.Oracle.answers`."""
    with np.load(run.folder / layout.POSTERIOR, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def telling_scenes(answers: dict[str, np.ndarray]) -> list[str]:
    """The scene whose posterior is spread most evenly over components, and the median scene in that order."""
    entropy = -(answers["weights"] * np.log(answers["weights"].clip(1e-300))).sum(axis=1)
    order = answers["scenes"][entropy.argsort(kind="stable")].tolist()
    return list(dict.fromkeys((order[-1], order[len(order) // 2])))


def _ground(axes: Axes, answers: dict[str, np.ndarray], place: int) -> None:
    """Prior, posterior, mode and mean, in a square that holds the prior within 2.6 standard deviations."""
    spread = 2.6 * np.sqrt(np.diagonal(answers["prior_covariances"], axis1=-2, axis2=-1))
    low, high = (answers["prior_means"] - spread).min(axis=0), (answers["prior_means"] + spread).max(axis=0)
    centre, half = (low + high) / 2, (high - low).max() / 2
    window = np.stack([centre - half, centre + half], axis=1)
    x, y = np.meshgrid(*(np.linspace(*ends, 220) for ends in window))
    at = np.stack([x, y], axis=-1)
    prior = _mixture_density(at, *(answers[f"prior_{name}"] for name in ("weights", "means", "covariances")))
    posterior = _mixture_density(at, *(answers[name][place] for name in ("weights", "means", "covariances")))
    axes.contourf(x, y, posterior, levels=np.linspace(0.03, 1, 9) * posterior.max(), cmap=DENSITY, vmin=0, zorder=1)
    levels = prior.max() * np.geomspace(0.02, 0.8, 6)
    axes.contour(x, y, prior, levels=levels, colors="#9a9a9a", linewidths=0.5, zorder=2)
    axes.plot(*answers["mode"][place], zorder=4.6, **MODE)
    axes.plot(*answers["mean"][place], zorder=4.5, **MEAN)
    axes.set(xlim=window[0], ylim=window[1], xticks=[], yticks=[], aspect="equal")


def _mixture_density(at: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Σ_k w_k N(point; m_k, C_k), with no direction thinner than `THINNEST`: (..., 2) -> (...)."""
    spectra = zip(*np.linalg.eigh(covariances), strict=True)
    thick = [Covariance.from_eigendecomposition((values.clip(THINNEST**2), vectors)) for values, vectors in spectra]
    return sum(w * multivariate_normal.pdf(at, *shape) for w, *shape in zip(weights, means, thick, strict=True))


def _exact_panel(axes: Axes, answers: dict[str, np.ndarray], place: int) -> None:
    """Exact samples of a scene's posterior."""
    rng = np.random.default_rng(0)
    weights, means, covariances = (answers[name][place] for name in ("weights", "means", "covariances"))
    component = rng.choice(len(weights), size=32, p=weights / weights.sum())
    drawn = np.stack([rng.multivariate_normal(means[k], covariances[k], method="eigh") for k in component])
    axes.plot(*drawn.T, color=INK, **DOT)
    axes.set_title("exact samples")


def _way_panel(axes: Axes, run: Run, card: Card, scene: str) -> None:
    """One run: its paths, its results, and their scores on this scene."""
    mine = run.good[run.good["scene"] == scene]
    vectors = run.features.vectors
    for i, image_id in enumerate(mine["image_id"]):
        end, way = vectors["restored"][image_id], vectors["denoised"][image_id].reshape(-1, 2)
        if i < WAYS:
            axes.plot(*np.vstack([way, end]).T, color=card.colour, lw=0.5, alpha=0.5, zorder=4)
        axes.plot(*end, color=card.colour, **DOT)
    scores = [f"gap {number(mine['map_gap'].median(), 3, 2)}"] if len(mine) else ["diverged"]
    if run.scenes is not None and scene in set(run.scenes["scene"]):
        scores.append(f"SW2 {number(float(run.scenes.set_index('scene').at[scene, 'sw2']), 3, 2)}")
    axes.set_title(card.title, fontsize=min(8.0, 130 / len(card.title)))
    axes.set_title(" · ".join(scores), fontsize=6.5, color=FAINT, loc="right")


def write_oracle_figures(
    results_dir: str | Path, dataset: str, frame: pd.DataFrame, synthetic: bool = False
) -> list[Path]:
    """Draw what a data set's runs allow: MAP gap and SW2 against compute, and the paths in the plane.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
        frame: its leaderboard, from `vml_bench.analysis.leaderboard.build`.
        synthetic: also draw runs marked synthetic.

    Returns:
        The PNGs, in <results_dir>/<dataset>/figures; none for a data set without exact posterior.
    """
    if not frame.attrs.get("exact", False):
        return []
    folder = Path(results_dir, dataset, "figures")
    paths = [
        against_compute(frame, column, folder / f"{column.replace('_', '-')}-against-compute.png")
        for column in ("map_gap", "sw2")
        if np.isfinite(frame[column]).any()
    ]
    runs, _ = select_runs(results_dir, dataset, synthetic)
    groups = by_problem(runs)
    told = differences(list(groups))
    for problem, own in groups.items():
        plane = [run for run in own if (run.folder / layout.POSTERIOR).is_file()]
        for scene in telling_scenes(exact_answers(plane[0])) if plane else ():
            path = folder / f"ways-{file_stem(problem, told[problem])}-{scene}.png"
            paths.append(trajectories(plane, scene, path, told[problem]))
    return paths
