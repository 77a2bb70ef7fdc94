"""Figures of the closed-form priors: score against compute, and in the plane the paths that methods take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vml_bench.analysis.leaderboard.render import Block, blocks
from vml_bench.cards import Card
from vml_bench.columns import BY_NAME
from vml_bench.errors import InputError
from vml_bench.figures.pictures import FAINT, FONT, INK, file_stem, save_png
from vml_bench.identity import in_words
from vml_bench.store import layout
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import Run, by_problem, select_runs
from vml_bench.text import number

DPI = 200
RULE = "#d5d5d5"
SMALLEST = 1e-4
"""Smaller values, 0 among them, are drawn here on a logarithmic axis."""
DENSITY = LinearSegmentedColormap.from_list("density", ["#ffffff", "#cfe0ee", "#7fb0d3", "#2f6fa5"])
WAYS = 4
"""Restorations whose path is drawn; of the others only the result is."""
THINNEST = 0.03
"""Standard deviation, images in [-1, 1], below which a posterior is drawn thicker than it is, so that it is seen."""


DASHES = {"o": "--", "s": "-.", "^": (0, (6, 2, 1, 2, 1, 2))}
"""Dashes of the methods that use no denoiser, by their markers."""


def _dashed(card: Card) -> dict[str, object]:
    """matplotlib's style for the level of a method that uses no denoiser."""
    return {"color": card.colour, "linestyle": DASHES.get(card.marker, "--"), "lw": 1.2}


def _line(card: Card) -> dict[str, object]:
    """matplotlib's style for a method's line and markers; a further configuration of a method is hollow."""
    face = "white" if card.hollow else card.colour
    return {"color": card.colour, "marker": card.marker, "markerfacecolor": face, "markeredgecolor": card.colour}


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
    cards = frame.attrs["cards"]
    shown = {(block.title, block.noise_std): _drawable(block, column, cards) for block in blocks(frame)}
    shown = {place: rows for place, rows in shown.items() if len(rows)}
    if not shown:
        raise InputError(f"no run has a {column} to draw", "vml-bench run dataset=gmm task=sr4 method=vml_map_pre")
    table = pd.concat(shown.values())
    tasks, levels = list(dict.fromkeys(title for title, _ in shown)), sorted({level for _, level in shown})
    width, height = 2.5 * len(levels) + 2.1, 2.15 * len(tasks) + 0.75
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    grid = figure.subplots(len(tasks), len(levels), sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 1.65 / width, bottom=0.55 / height, top=1 - 0.4 / height, wspace=0.06, hspace=0.08
    )
    for axes_row, task in zip(grid, tasks, strict=True):
        for axes, noise_std in zip(axes_row, levels, strict=True):
            rows = shown.get((task, noise_std), table[:0])
            _against_compute_panel(axes, rows, column, cards)
            if len(priors := set(rows["prior"]) - {""}) > 1:
                note = f"{len(priors)} priors"
                axes.annotate(note, (0.03, 0.03), xycoords="axes fraction", fontsize=6.5, color=FAINT, **FONT)
        size = min(8.0, 72 * 2.1 / (0.6 * len(task)))
        axes_row[-1].annotate(
            task, (1.02, 0.5), xycoords="axes fraction", rotation=270, va="center", fontsize=size, color=INK, **FONT
        )
    for axes, noise_std in zip(grid[0], levels, strict=True):
        axes.set_title(f"σ_y = {noise_std:g}", fontsize=8, color=INK, **FONT)
    asked = table.loc[table["compute"] > 0, "compute"]
    if len(asked):
        low, high = asked.min() / 1.5, asked.max() * 1.5
        ticks = [m * 10**e for e in range(6) for m in ((1, 2, 5) if high < 100 * low else (1,))]
        grid[0, 0].set_xlim(low, high)
        for axes in grid.flat:
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
    here = [card for name, card in cards.items() if name in set(table["method"])]
    free = {card.name for card in here if not table.loc[table["method"] == card.name, "compute"].any()}
    handles = [
        Line2D([], [], label=card.title, **_dashed(card))
        if card.name in free
        else Line2D([], [], lw=1.4, ms=4.5, label=card.title, **_line(card))
        for card in here
    ]
    if any(
        hollow and not cards[method].hollow for hollow, method in zip(table["hollow"], table["method"], strict=True)
    ):
        label = "settings of its own"
        handles.append(Line2D([], [], color=FAINT, ls="", marker="o", ms=4.5, mfc="white", label=label))
    if f"{column}_floor" in table:
        handles.append(Line2D([], [], color=INK, ls=":", lw=1.2, label="exact samples"))
    figure.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(1 - 0.05 / width, 0.5),
        frameon=False,
        prop={"family": FONT["family"], "size": 7},
    )
    figure.supxlabel(
        "network evaluations + Jacobian products per image", fontsize=8, color=INK, y=0.08 / height, **FONT
    )
    figure.text(0.08 / width, 1 - 0.12 / height, frame.attrs["dataset"], va="top", fontsize=9, color=INK, **FONT)
    known = BY_NAME[column]
    unit = f" ({known.unit})" if known.unit else ""
    kind = f"{known.statistic} " if known.statistic == "median" else ""
    figure.supylabel(f"{kind}{known.title}{unit}", fontsize=8, color=INK, x=0.08 / width, **FONT)
    return save_png(figure, path)


def _drawable(block: Block, column: str, cards: Mapping[str, Card]) -> pd.DataFrame:
    """The rows of a problem that have a value, with their compute and whether they have settings of their own."""
    rows = block.rows
    looks = [
        cards[method].of_row(method, words) for method, words in zip(rows["method"], rows["settings"], strict=True)
    ]
    rows = rows.assign(compute=rows["nfe"] + rows["vjp"], hollow=[look.hollow for look in looks])
    return rows[np.isfinite(rows[column])]


def _against_compute_panel(axes: Axes, rows: pd.DataFrame, column: str, cards: Mapping[str, Card]) -> None:
    axes.set(xscale="log", yscale="log")
    axes.grid(True, color="#eeeeee", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7, colors=INK, which="both", length=2)
    for spine in axes.spines.values():
        spine.set_color(RULE)
    here = {name: card for name, card in cards.items() if name in set(rows["method"])}
    for layer, (method, card) in enumerate(here.items()):
        runs = rows[rows["method"] == method]
        runs = runs.assign(value=runs[column].clip(lower=SMALLEST))
        if not runs["compute"].any():
            axes.axhline(runs["value"].min(), **_dashed(card))
            continue
        best = _frontier(runs)
        axes.plot(runs["compute"], runs["value"], ls="", ms=2.5, alpha=0.35, zorder=3, **_line(card))
        axes.plot(best["compute"], best["value"], lw=1.1, ms=4, mew=0.8, zorder=4 + layer / 100, **_line(card))
        own = best[best["hollow"]]
        hollow = {**_line(card), "markerfacecolor": "white"}
        axes.plot(own["compute"], own["value"], ls="", ms=4, mew=0.8, zorder=4 + layer / 100, **hollow)
    if f"{column}_floor" in rows and rows[f"{column}_floor"].notna().any():
        axes.axhline(rows[f"{column}_floor"].median(), color=INK, ls=":", lw=1.2)


def _frontier(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that beat every other with as little compute, by compute."""
    runs = runs.sort_values(["compute", "value"])
    return runs[runs["value"] < runs["value"].cummin().shift(fill_value=math.inf)]


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
    place, kept = scenes.index(scene), list(runs)
    columns = math.ceil(math.sqrt(1.5 * (len(kept) + 1)))
    rows = math.ceil((len(kept) + 1) / columns)
    width, height = 2.2 * columns + 0.1, 2.42 * rows + 0.85
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    figure.subplots_adjust(
        left=0.05 / width, right=1 - 0.05 / width, bottom=0.5 / height, top=1 - 0.55 / height, wspace=0.04, hspace=0.12
    )
    window = _window(answers)
    _exact_panel(grid[0], answers, place, window)
    for axes, run, label in zip(grid[1:], kept, labels(kept), strict=False):
        _way_panel(axes, run, run.card.of_row(label, in_words(run.all_settings)), answers, place, window)
    for axes in grid[len(kept) + 1 :]:
        axes.set_axis_off()
    first = kept[0]
    heading = filter(None, (first.dataset, first.task, difference, f"σ_y = {first.noise_std:g}", scenes[place]))
    figure.suptitle(" · ".join(heading), fontsize=9, color=INK, **FONT)
    figure.legend(
        handles=[
            Line2D([], [], color="#9a9a9a", lw=0.8, label="prior"),
            Line2D([], [], color="#7fb0d3", lw=6, label="posterior"),
            Line2D([], [], color=INK, lw=0.6, label="D(x_t, σ) along the way"),
            Line2D([], [], color=INK, ls="", marker="o", ms=4, label="answers"),
            Line2D([], [], ls="", marker="*", ms=9, mfc="#ffd000", mec=INK, mew=0.7, label="exact mode"),
            Line2D([], [], ls="", marker="X", ms=6, mfc="white", mec=INK, mew=0.8, label="posterior mean"),
        ],
        loc="lower center",
        ncols=6 if columns > 3 else 3,
        frameon=False,
        prop={"family": FONT["family"], "size": 7},
    )
    return save_png(figure, path)


def exact_answers(run: Run) -> dict[str, np.ndarray]:
    """The exact posteriors that a run kept; see `vml_bench.metrics.Oracle.answers`."""
    with np.load(run.folder / layout.POSTERIOR, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def telling_scenes(answers: dict[str, np.ndarray]) -> list[str]:
    """The scene whose posterior is spread most evenly over components, and the median scene in that order."""
    entropy = -(answers["weights"] * np.log(answers["weights"].clip(1e-300))).sum(axis=1)
    order = answers["scenes"][entropy.argsort(kind="stable")].tolist()
    return list(dict.fromkeys((order[-1], order[len(order) // 2])))


def _window(answers: dict[str, np.ndarray]) -> tuple[float, float, float, float]:
    """A square that holds the prior within 2.6 standard deviations."""
    spread = 2.6 * np.sqrt(np.diagonal(answers["prior_covariances"], axis1=-2, axis2=-1))
    low, high = (answers["prior_means"] - spread).min(axis=0), (answers["prior_means"] + spread).max(axis=0)
    centre, half = (low + high) / 2, (high - low).max() / 2
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def _ground(axes: Axes, answers: dict[str, np.ndarray], place: int, window: tuple[float, ...]) -> None:
    """Prior, posterior, mode and mean."""
    x, y = np.meshgrid(np.linspace(*window[:2], 220), np.linspace(*window[2:], 220))
    points = np.stack([x, y], axis=-1)
    prior = _mixture_density(points, *(answers[f"prior_{name}"] for name in ("weights", "means", "covariances")))
    posterior = _mixture_density(points, *(answers[name][place] for name in ("weights", "means", "covariances")))
    top = posterior.max()
    axes.contourf(x, y, posterior, levels=np.linspace(0.03, 1, 9) * top, cmap=DENSITY, vmin=0, zorder=1)
    axes.contour(
        x, y, prior, levels=prior.max() * np.geomspace(0.02, 0.8, 6), colors="#9a9a9a", linewidths=0.5, zorder=2
    )
    mode, mean = answers["mode"][place], answers["mean"][place]
    axes.plot(*mode, ls="", marker="*", ms=9, mfc="#ffd000", mec=INK, mew=0.7, zorder=4.6)
    axes.plot(*mean, ls="", marker="X", ms=6, mfc="white", mec=INK, mew=0.8, zorder=4.5)
    axes.set(xlim=window[:2], ylim=window[2:], xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_color(RULE)


def _mixture_density(points: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Σ_k w_k N(point; m_k, C_k), with no direction thinner than `THINNEST`: (..., 2) -> (...)."""
    values, vectors = np.linalg.eigh(covariances)
    values = values.clip(THINNEST**2)
    coordinates = np.einsum("kij,...ki->...kj", vectors, points[..., None, :] - means)
    exponent = -(coordinates**2 / values).sum(axis=-1) / 2
    return (weights * np.exp(exponent) / (2 * np.pi * np.sqrt(values.prod(axis=-1)))).sum(axis=-1)


def _exact_panel(axes: Axes, answers: dict[str, np.ndarray], place: int, window: tuple[float, ...]) -> None:
    _ground(axes, answers, place, window)
    rng = np.random.default_rng(0)
    weights, means, covariances = (answers[name][place] for name in ("weights", "means", "covariances"))
    component = rng.choice(len(weights), size=32, p=weights / weights.sum())
    drawn = np.stack([rng.multivariate_normal(means[k], covariances[k], method="eigh") for k in component])
    axes.plot(*drawn.T, ls="", marker="o", ms=3.4, mec="white", mew=0.4, color=INK, zorder=5)
    axes.set_title("exact samples", fontsize=8, color=INK, pad=3, loc="left", **FONT)


def _way_panel(
    axes: Axes, run: Run, card: Card, answers: dict[str, np.ndarray], place: int, window: tuple[float, ...]
) -> None:
    """One run: its paths, its results, and their scores on this scene."""
    _ground(axes, answers, place, window)
    scene = answers["scenes"][place]
    mine = run.good[run.good["scene"] == scene]
    for place_of, image_id in enumerate(mine["image_id"]):
        end = run.features.vectors["restored"][image_id]
        way = run.features.vectors["denoised"][image_id].reshape(-1, 2)
        if place_of < WAYS:
            axes.plot(*np.vstack([way, end]).T, color=card.colour, lw=0.5, alpha=0.5, zorder=4)
        axes.plot(*end, ls="", marker="o", ms=3.4, mec="white", mew=0.4, color=card.colour, zorder=5)
    scores = [f"gap {number(mine['map_gap'].median(), 3, 2)}"] if len(mine) else ["diverged"]
    if run.scenes is not None and scene in set(run.scenes["scene"]):
        scores.append(f"SW2 {number(float(run.scenes.set_index('scene').at[scene, 'sw2']), 3, 2)}")
    size = min(8.0, 130 / len(card.title))
    axes.set_title(card.title, fontsize=size, color=INK, pad=3, loc="left", **FONT)
    axes.set_title(" · ".join(scores), fontsize=6.5, color=FAINT, pad=3, loc="right", **FONT)


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
