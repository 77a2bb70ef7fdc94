"""A picture a task: original, measurement and every method's restoration, with PSNR and LPIPS under each."""

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
from vml_bench.leaderboard.aggregate import references, select_runs
from vml_bench.leaderboard.runs import UNREADABLE, Run, open_run, place_of, run_folders

DPI = 200
MOST = 24
"""Columns of restorations that `write_figures` draws at most."""
PICTURE, CROWDED = 256, 10
"""Pixels, about, that a picture is enlarged to, a whole multiple of its own size; half where columns are more."""
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


def task_figure(
    results_dir: str | Path,
    dataset: str,
    task: str,
    noise_std: float,
    methods: Sequence[str] | None = None,
    image_ids: Sequence[str] | None = None,
    rows: int = 5,
    synthetic: bool = False,
) -> Path:
    """Draw one task at one noise level from what the runner left on disk.

    Pictures are enlarged by whole multiples without interpolation. Under each restoration stand its PSNR and
    its LPIPS (AlexNet), in bold under the one with the lowest LPIPS of its row.

    Args:
        results_dir: the folder that holds runs/ and references/.
        dataset: name under which the runs are filed.
        task: the task's name.
        noise_std: σ_y, images in [-1, 1].
        methods: columns, in order; default every method found, in the leaderboard's order.
        image_ids: rows; default the first `rows` images that every run has finished.
        rows: number of rows where `image_ids` is not given.
        synthetic: also draw runs marked synthetic.

    Returns:
        Path of the PNG, <results_dir>/<dataset>/figures/<task>-<noise_std>.png.

    Raises:
        InputError: no run, method or image to draw.
    """
    found, _ = select_runs(results_dir, dataset, synthetic)
    runs = [run for run in found if run.task == task and math.isclose(run.noise_std, noise_std, abs_tol=1e-12)]
    if methods is not None:
        runs = sorted((run for run in runs if run.method in methods), key=lambda run: list(methods).index(run.method))
    if not runs:
        known = ", ".join(sorted({f"{run.task} at {run.noise_std:g}" for run in found}))
        raise InputError(f"no run of '{task}' at noise_std {noise_std:g} to draw", f"choose among {known}")
    return _draw_task(Path(results_dir), runs, image_ids, rows)


def _draw_task(results: Path, runs: Sequence[Run], image_ids: Sequence[str] | None, rows: int) -> Path:
    """Draw runs of one task at one noise level, a column each; see `task_figure`."""
    dataset, task, noise_std = runs[0].dataset, runs[0].task, runs[0].noise_std
    ids = list(image_ids) if image_ids is not None else _common_ids(runs)[:rows]
    if not ids:
        raise InputError(f"the runs of '{task}' have no image in common", "finish them with the same runner.limit")
    names = [run.method for run in runs]
    titles = [f"{run.method}\n{run.name}" if names.count(run.method) > 1 else run.method for run in runs]
    measured = runs[0].measurements
    tables = [run.images.set_index("image_id") for run in runs]
    grid = []
    for image_id in ids:
        scores = [_score(table, image_id) for table in tables]
        best = min((lpips for _, lpips in scores if lpips == lpips), default=None)
        original = Panel(references(results, dataset) / f"{image_id}.png")
        grid.append([original, Panel(measured / f"{image_id}.png")])
        for run, table, (psnr, lpips) in zip(runs, tables, scores, strict=True):
            caption = _caption(table, image_id, psnr, lpips)
            grid[-1].append(Panel(run.folder / "recon" / f"{image_id}.png", caption, lpips == best))

    path = results / dataset / "figures" / f"{task}-{noise_std:g}.png"
    heading = f"{dataset} · {task} · σ_y = {noise_std:g}"
    figure = _draw(grid, ["original", "measurement", *titles], ids, heading)
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata={"Software": None})
    return path


def write_figures(results_dir: str | Path, dataset: str, rows: int = 5, synthetic: bool = False) -> list[Path]:
    """Draw every task and noise level of a data set that has pictures; see `task_figure`.

    Where a cell has more than `MOST` runs, the best of each method are drawn, and a line on stderr says so.
    """
    by_task: dict[str, list[Path]] = {}
    for folder in run_folders(results_dir, dataset):
        by_task.setdefault(folder.parts[-3], []).append(folder)
    pictured = [folders for folders in by_task.values() if any(map(_has_pictures, folders))]
    cells = [runs for folders in pictured for runs in _cells(folders, synthetic)]
    return [_draw_task(Path(results_dir), runs, None, rows) for runs in map(_drawn, cells) if runs]


def _has_pictures(folder: Path) -> bool:
    """Whether a run's folder holds restorations."""
    return any((folder / "recon").glob("*.png"))


def _cells(folders: Sequence[Path], synthetic: bool) -> list[list[Run]]:
    """The runs of one task by noise level, in the leaderboard's order; levels without pictures are left out."""
    cells: dict[float, list[Run]] = {}
    for folder in folders:
        with suppress(*UNREADABLE):
            run = open_run(folder)
            if synthetic or not run.synthetic:
                cells.setdefault(run.noise_std, []).append(run)
    for runs in cells.values():
        runs.sort(key=lambda run: place_of(run.task, run.noise_std, run.method, run.name))
    return [cells[level] for level in sorted(cells) if any(_has_pictures(run.folder) for run in cells[level])]


def _drawn(runs: Sequence[Run]) -> list[Run]:
    """Those runs of a cell that can be read; of more than `MOST`, the best of each method, the best methods first."""
    scores: dict[Run, float] = {}
    for run in runs:
        with suppress(*UNREADABLE):
            scores[run] = _mean_lpips(replace(run))
    if len(scores) <= MOST:
        return list(scores)
    best: dict[str, Run] = {}
    for run in sorted(scores, key=lambda run: scores[run]):
        best.setdefault(run.method, run)
    kept = list(best.values())[:MOST]
    cell = f"{runs[0].task} at noise_std {runs[0].noise_std:g}"
    print(f"note: {cell}: pictures of {len(kept)} of {len(scores)} runs, the best of each method", file=sys.stderr)
    return [run for run in scores if run in kept]


def _mean_lpips(run: Run) -> float:
    """Mean LPIPS over the images that did not diverge, infinite where there is none."""
    mean = float(run.good["lpips_alex"].mean()) if "lpips_alex" in run.images else math.inf
    return mean if mean == mean else math.inf


def _common_ids(runs: Sequence[Run]) -> list[str]:
    """Images that every run has finished, in the order in which the first run was asked for them."""
    common = set.intersection(*(set(run.images["image_id"]) for run in runs))
    return [image_id for image_id in runs[0].expected if image_id in common]


def _score(table: pd.DataFrame, image_id: str) -> tuple[float, float]:
    """(PSNR, LPIPS) of one image, NaN where it has none or diverged."""
    if image_id not in table.index or table.at[image_id, "status"] != "ok":
        return math.nan, math.nan
    return tuple(float(table.at[image_id, name]) if name in table else math.nan for name in ("psnr", "lpips_alex"))


def _caption(table: pd.DataFrame, image_id: str, psnr: float, lpips: float) -> str:
    if image_id not in table.index:
        return "not run"
    if table.at[image_id, "status"] != "ok":
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
        raise InputError("none of the pictures to draw is on disk", "run the task again: its recon/ folders are empty")
    height, width = max(sizes)
    columns, rows = len(titles), len(grid)
    crowded = columns > CROWDED
    zoom = max(1, round(PICTURE / (1 + crowded) / max(height, width)))
    cell_w, cell_h = width * zoom, height * zoom
    size = 0.7 if crowded else 1.0
    head = HEAD * (1 + any("\n" in title for title in titles) * 0.6)
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
