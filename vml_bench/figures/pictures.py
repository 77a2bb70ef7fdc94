"""One figure per problem: ground truth, measurement and every run's restoration, with PSNR and LPIPS under each."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.store import layout
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import UNREADABLE, Problem, Run, by_problem, open_run, select_runs

DPI = 200
MOST = 24
"""Columns of restorations that `write_figures` draws at most."""
PICTURE, CROWDED = 256, 10
"""About how many pixels a picture is enlarged to, by a whole factor; half of that where there are more columns."""
GAP, CAPTION, HEAD, SIDE, MARGIN = 12, 46, 44, 34, 16
"""Pixels between columns, under a picture, above the first row, left of it, and around everything."""
INK, FAINT = "#1a1a1a", "#6b6b6b"
FONT = {"family": "DejaVu Sans", "parse_math": False}
LETTER = 0.66
"""Mean width of a letter of that font over its size: titles that would run into each other are written smaller."""


@dataclass(frozen=True)
class Panel:
    """One picture and what is written under it."""

    file: Path
    caption: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Sheet:
    """The figure of one problem.

    Attributes:
        problem: the problem.
        difference: what tells it from others of its task and noise level; empty where it is alone.
        runs: one column each.
        titles: one per run.
    """

    problem: Problem
    difference: str
    runs: list[Run]
    titles: list[str]

    @property
    def stem(self) -> str:
        """Its file name, with the problem's name where task and noise level have several."""
        return file_stem(self.problem, self.difference)

    @property
    def heading(self) -> str:
        """What stands above it."""
        problem = self.problem
        words = (problem.dataset, problem.task, self.difference, f"σ_y = {problem.noise_std:g}")
        return " · ".join(filter(None, words))

    def of(self, runs: Sequence[Run]) -> Sheet:
        """The same figure with only these runs, in this order."""
        titles = [self.titles[self.runs.index(run)] for run in runs]
        return replace(self, runs=list(runs), titles=titles)


def file_stem(problem: Problem, difference: str) -> str:
    """What files about a problem are called: "sr4-0.05", and its name behind it where it is not alone."""
    return f"{problem.task}-{problem.noise_std:g}" + (f"-{problem.name}" if difference else "")


def task_figure(
    results_dir: str | Path,
    dataset: str,
    task: str,
    noise_std: float,
    methods: Sequence[str] | None = None,
    image_ids: Sequence[str] | None = None,
    rows: int = 5,
    synthetic: bool = False,
    problem: str | None = None,
) -> Path:
    """Draw one task at one noise level from what the runner left on disk.

    Pictures are enlarged by whole multiples without interpolation. Under each restoration stand its PSNR and
    its LPIPS (AlexNet), in bold under the one with the lowest LPIPS of its row.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
        task: the task's name.
        noise_std: σ_y, images in [-1, 1].
        methods: columns, in order; default every run found, in the leaderboard's order.
        image_ids: rows; default the first `rows` images that every run has finished.
        rows: number of rows where `image_ids` is not given.
        synthetic: also draw runs marked synthetic.
        problem: the problem's name; needed where the task has several at this noise level.

    Returns:
        Path of the PNG, <results_dir>/<dataset>/figures/<task>-<noise_std>.png, with -<problem> behind the noise level
        where there are several.

    Raises:
        InputError: no run, method or image to draw, or several problems.
    """
    found, _ = select_runs(results_dir, dataset, synthetic)
    sheets = [sheet for sheet in _sheets(found) if sheet.problem.task == task]
    sheets = [sheet for sheet in sheets if math.isclose(sheet.problem.noise_std, noise_std, abs_tol=1e-12)]
    if problem is not None:
        sheets = [sheet for sheet in sheets if sheet.problem.name == problem]
    if len(sheets) > 1:
        known = ", ".join(f"{sheet.problem.name} ({sheet.difference})" for sheet in sheets)
        raise InputError(f"'{task}' at noise_std {noise_std:g} has {len(sheets)} problems", f"choose among {known}")
    chosen = [run for sheet in sheets for run in sheet.runs if methods is None or run.method in methods]
    if not chosen:
        known = ", ".join(sorted({f"{run.task} at {run.noise_std:g}" for run in found}))
        raise InputError(f"no run of '{task}' at noise_std {noise_std:g} to draw", f"choose among {known}")
    if methods is not None:
        chosen = sorted(chosen, key=lambda run: list(methods).index(run.method))
    return _draw_sheet(Path(results_dir), sheets[0].of(chosen), image_ids, rows)


def _sheets(runs: Sequence[Run]) -> list[Sheet]:
    """One sheet per problem, its runs in the leaderboard's order."""
    groups = by_problem(sorted(runs, key=lambda run: run.place))
    told = differences(list(groups))
    return [Sheet(problem, told[problem], own, labels(own)) for problem, own in groups.items()]


def _draw_sheet(results: Path, sheet: Sheet, image_ids: Sequence[str] | None, rows: int) -> Path:
    """Draw the runs of one problem, one column each; see `task_figure`."""
    runs, task = sheet.runs, sheet.problem.task
    ids = list(image_ids) if image_ids is not None else _common_ids(runs)[:rows]
    if not ids:
        raise InputError(f"the runs of '{task}' have no image in common", "finish them with the same runner.limit")
    tables = [run.images.set_index("image_id") for run in runs]
    grid = []
    for image_id in ids:
        scores = [_score(table, image_id) for table in tables]
        best = min((lpips for _, lpips in scores if lpips == lpips), default=None)
        grid.append([Panel(runs[0].original(image_id)), Panel(runs[0].measurement(image_id))])
        for run, table, (psnr, lpips) in zip(runs, tables, scores, strict=True):
            grid[-1].append(Panel(run.picture(image_id), _caption(table, image_id, psnr, lpips), lpips == best))

    path = results / sheet.problem.dataset / "figures" / f"{sheet.stem}.png"
    titles = [title.replace(" · ", "\n") for title in sheet.titles]
    figure = _draw(grid, ["ground truth", "measurement", *titles], ids, sheet.heading)
    return save_png(figure, path)


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, without the version of what drew it; returns its path."""
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata={"Software": None})
    return path


def write_figures(results_dir: str | Path, dataset: str, rows: int = 5, synthetic: bool = False) -> list[Path]:
    """Draw every problem of a data set that has pictures; see `task_figure`.

    Where a problem has more than `MOST` runs, the best of each method are drawn, and a line on stderr says so; likewise
    where a problem cannot be drawn.
    """
    folders = layout.run_folders(results_dir, dataset)
    pictured = {folder for folder in folders if any((folder / layout.PICTURES).glob("*.png"))}
    tasks, runs = {folder.parents[1] for folder in pictured}, []
    for folder in (folder for folder in folders if folder.parents[1] in tasks):
        with suppress(*UNREADABLE):
            runs.append(open_run(folder))
    sheets = _sheets([run for run in runs if synthetic or not run.synthetic])
    drawn = [_drawn(sheet) for sheet in sheets if any(run.folder in pictured for run in sheet.runs)]
    paths = []
    for sheet in (sheet for sheet in drawn if sheet.runs):
        try:
            paths.append(_draw_sheet(Path(results_dir), sheet, None, rows))
        except InputError as error:  # the runs share no image, or their pictures are gone
            print(f"note: not drawn: {error}", file=sys.stderr)
    return paths


def _drawn(sheet: Sheet) -> Sheet:
    """Keep the runs that can be read; of more than `MOST`, the best of each method, best methods first."""
    scores: dict[Run, float] = {}
    for run in sheet.runs:
        with suppress(*UNREADABLE):
            scores[run] = _mean_lpips(replace(run))
    if len(scores) <= MOST:
        return sheet.of(list(scores))
    best: dict[str, Run] = {}
    for run in sorted(scores, key=lambda run: scores[run]):
        best.setdefault(run.method, run)
    kept = list(best.values())[:MOST]
    note = f"{sheet.heading}: pictures of {len(kept)} of {len(scores)} runs, the best of each method"
    print(f"note: {note}", file=sys.stderr)
    return sheet.of([run for run in scores if run in kept])


def _mean_lpips(run: Run) -> float:
    """Mean LPIPS over the images that did not diverge, infinite where there is none."""
    mean = float(run.good["lpips_alex"].mean()) if "lpips_alex" in run.images else math.inf
    return mean if mean == mean else math.inf


def _common_ids(runs: Sequence[Run]) -> list[str]:
    """Images that every run has finished, in the first run's order."""
    common = set.intersection(*(set(run.images["image_id"]) for run in runs))
    return [image_id for image_id in runs[0].expected if image_id in common]


def _score(table: pd.DataFrame, image_id: str) -> tuple[float, float]:
    """(PSNR, LPIPS) of one image, NaN where it has none or diverged."""
    if image_id not in table.index or table.at[image_id, "status"] != layout.OK:
        return math.nan, math.nan
    return tuple(float(table.at[image_id, name]) if name in table else math.nan for name in ("psnr", "lpips_alex"))


def _caption(table: pd.DataFrame, image_id: str, psnr: float, lpips: float) -> str:
    if image_id not in table.index:
        return "not run"
    if table.at[image_id, "status"] != layout.OK:
        return "diverged"
    return "   ".join([f"{psnr:.1f} dB"] * (psnr == psnr) + [f"{lpips:.3f}"] * (lpips == lpips))


def _read(file: Path) -> np.ndarray | None:
    """An 8-bit picture as (H, W, 3), or None where there is none to show."""
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError):
        return None


def _draw(grid: list[list[Panel]], titles: list[str], ids: list[str], heading: str) -> Figure:
    """Lay the panels out in whole pixels, so that nearest-neighbour enlargement is exact."""
    pictures = [[_read(panel.file) for panel in row] for row in grid]
    sizes = [picture.shape[:2] for row in pictures for picture in row if picture is not None]
    if not sizes:
        raise InputError(
            "none of the pictures to draw is on disk", f"run the task again: its {layout.PICTURES} are gone"
        )
    height, width = max(sizes)
    columns, rows = len(titles), len(grid)
    crowded = columns > CROWDED
    zoom = max(1, round(PICTURE / (1 + crowded) / max(height, width)))
    cell_w, cell_h = width * zoom, height * zoom
    size = 0.7 if crowded else 1.0
    head = HEAD * (1 + max(title.count("\n") for title in titles) * 0.6)
    full_w = 2 * MARGIN + SIDE + columns * cell_w + (columns - 1) * GAP
    full_h = 2 * MARGIN + 2 * head + rows * (cell_h + CAPTION)
    figure = Figure(figsize=(full_w / DPI, full_h / DPI), dpi=DPI, facecolor="white")

    def write(x: float, y: float, text: str, **style: object) -> None:
        """Write at (x, y) in pixels from the top left corner."""
        figure.text(x / full_w, 1 - y / full_h, text, **{"color": INK, "fontsize": 6.5, **FONT, **style})

    write(MARGIN + SIDE, MARGIN, heading, va="top", fontsize=9)
    write(full_w - MARGIN, MARGIN, "PSNR   LPIPS (AlexNet, lowest in bold)", va="top", ha="right", color=FAINT)
    for j, title in enumerate(titles):
        centre = MARGIN + SIDE + j * (cell_w + GAP) + cell_w / 2
        fitting = 72 * (cell_w + GAP) / DPI / (LETTER * max(map(len, title.split("\n"))))
        write(centre, MARGIN + 2 * head - 12, title, ha="center", va="bottom", fontsize=min(8 * size, fitting))
    for i, (panels, row) in enumerate(zip(grid, pictures, strict=True)):
        top = MARGIN + 2 * head + i * (cell_h + CAPTION)
        write(MARGIN, top + cell_h / 2, ids[i], rotation=90, va="center", ha="left", color=FAINT)
        for j, (panel, picture) in enumerate(zip(panels, row, strict=True)):
            left = MARGIN + SIDE + j * (cell_w + GAP)
            write(
                left + cell_w / 2,
                top + cell_h + 8,
                panel.caption,
                ha="center",
                va="top",
                fontsize=6.5 * size,
                fontweight="bold" if panel.bold else "normal",
            )
            box = (left / full_w, 1 - (top + cell_h) / full_h, cell_w / full_w, cell_h / full_h)
            axes = figure.add_axes(box, xticks=[], yticks=[], frameon=picture is None)
            if picture is None:
                axes.set_facecolor("#eeeeee")
                axes.text(0.5, 0.5, "no picture", ha="center", va="center", color=FAINT, fontsize=6.5, **FONT)
            else:
                axes.imshow(picture, interpolation="nearest", aspect="auto")
    return figure
