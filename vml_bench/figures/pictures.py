"""One figure per problem: ground truth, measurement and every run's restoration, with PSNR and LPIPS under each."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from vml_bench.errors import InputError
from vml_bench.figures.page import FAINT, STYLE, file_stem, heading, save
from vml_bench.store import layout
from vml_bench.store.labels import differences, labels
from vml_bench.store.runs import UNREADABLE, Problem, Run, by_problem, open_run
from vml_bench.text import say

DPI = 200
MOST = 24
"""Columns of restorations that `write_figures` draws at most."""
PICTURE, CROWDED = 256, 10
"""About how many pixels a picture is enlarged to, by a whole factor; half of that where there are more columns."""
GAP, CAPTION, HEAD, SIDE, MARGIN = 12, 46, 44, 34, 16
"""Pixels between columns, under a picture, above the first row, left of it, and around everything."""
SCORES = ["psnr", "lpips_alex"]
LETTER = 0.66
"""Mean width of a letter of that font over its size: titles that would run into each other are written smaller."""


@dataclass(frozen=True)
class Sheet:
    """The figure of one problem.

    Attributes:
        problem: the problem.
        difference: what tells it from others of its task and noise level; empty where it is alone.
        runs: one column each, and its title.
    """

    problem: Problem
    difference: str
    runs: dict[Run, str]

    @property
    def heading(self) -> str:
        """What stands above it."""
        return heading(self.problem, self.difference)

    def of(self, runs: Sequence[Run]) -> Sheet:
        """The same figure with only these runs, in this order."""
        return replace(self, runs={run: self.runs[run] for run in runs})


def _sheets(runs: Sequence[Run]) -> list[Sheet]:
    """One sheet per problem, its runs in the leaderboard's order."""
    groups = by_problem(sorted(runs, key=lambda run: run.place))
    told = differences(list(groups))
    return [Sheet(key, told[key], dict(zip(own, labels(own), strict=True))) for key, own in groups.items()]


@matplotlib.rc_context(STYLE)
def write_figures(results_dir: str | Path, dataset: str, rows: int = 5, synthetic: bool = False) -> list[Path]:
    """Draw every problem of a data set that has pictures, from what the runner left on disk.

    Pictures are enlarged by whole multiples without interpolation. Under each restoration stand its PSNR and its LPIPS
    (AlexNet), in bold under the one with the lowest LPIPS of its row. The rows are the first images that every run has
    finished. Where a problem has more than `MOST` runs, the best of each method are drawn, and a line on stderr says
    so; likewise where a problem cannot be drawn.
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
            file = f"{file_stem(sheet.problem, sheet.difference)}.png"
            paths.append(save(_draw(sheet, rows), Path(results_dir, dataset, "figures", file)))
        except InputError as error:  # the runs share no image, or their pictures are gone
            say(f"note: not drawn: {error}", sys.stderr)
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
    say(f"note: {note}", sys.stderr)
    return sheet.of([run for run in scores if run in kept])


def _mean_lpips(run: Run) -> float:
    """Mean LPIPS over the images that did not diverge, infinite where there is none."""
    mean = float(run.good["lpips_alex"].mean()) if "lpips_alex" in run.images else math.inf
    return mean if mean == mean else math.inf


def picture_grid(runs: Sequence[Run], rows: int = 3) -> Figure:
    """The figure of `write_figures` for some runs of one problem; a notebook shows it.

    Raises:
        InputError: the runs are of several problems, share no image, or have no pictures.
    """
    sheets = _sheets(runs)
    if len(sheets) != 1:
        raise InputError(f"a grid shows one problem, these runs have {len(sheets)}", "choose the rows of one task")
    figure = _draw(sheets[0], rows)
    figure.add_axes((0, 0, 1, 1)).set_axis_off()  # notebooks show no figure that has none
    return figure


class Shown(Figure):
    """A figure that a notebook shows, with pyplot or without, and always whole: its pictures stand on whole pixels."""

    @matplotlib.rc_context(STYLE)
    def _repr_png_(self) -> bytes:
        encoded = io.BytesIO()
        self.savefig(encoded, format="png")
        return encoded.getvalue()

    def get_tightbbox(self, *arguments: object, **options: object) -> Bbox:
        """All of it, less the margin that matplotlib puts round what it cuts out."""
        return Bbox.from_bounds(0, 0, *self.get_size_inches()).padded(-matplotlib.rcParams["savefig.pad_inches"])


@matplotlib.rc_context(STYLE)
def _draw(sheet: Sheet, rows: int) -> Figure:
    """Draw the runs of one problem, one column each, in whole pixels; see `write_figures`."""
    runs = list(sheet.runs)
    first = runs[0]
    common = set.intersection(*(set(run.images["image_id"]) for run in runs))
    ids = [name for name in first.asked if name in common][:rows]
    if not ids:
        raise InputError(
            f"the runs of '{first.task}' have no image in common", "finish them with the same runner.limit"
        )
    files = [[first.original(name), first.measurement(name), *(run.picture(name) for run in runs)] for name in ids]
    pictures = [[_read(file) for file in row] for row in files]
    sizes = [picture.size for row in pictures for picture in row if picture]
    if not sizes:
        raise InputError(
            "none of the pictures to draw is on disk", f"run the task again: its {layout.PICTURES} are gone"
        )
    titles = ["ground truth", "measurement", *(title.replace(" · ", "\n") for title in sheet.runs.values())]
    columns, crowded = len(titles), len(titles) > CROWDED
    zoom = max(1, round(PICTURE / (1 + crowded) / max(max(sizes))))
    cell_w, cell_h = (side * zoom for side in max(sizes))
    small = 0.7 if crowded else 1.0
    head = round(HEAD * (1 + max(title.count("\n") for title in titles) * 0.6))
    full_w = 2 * MARGIN + SIDE + columns * cell_w + (columns - 1) * GAP
    full_h = 2 * MARGIN + 2 * head + len(ids) * (cell_h + CAPTION)
    figure = Shown(figsize=((full_w + 0.5) / DPI, (full_h + 0.5) / DPI), dpi=DPI)  # half pixels are cut off

    def write(x: float, y: float, text: str, **style: object) -> None:
        """Write at (x, y) in pixels from the top left corner."""
        figure.text(x / full_w, 1 - y / full_h, text, **{"fontsize": 6.5, **style})

    write(MARGIN + SIDE, MARGIN, sheet.heading, va="top", fontsize=9)
    write(full_w - MARGIN, MARGIN, "PSNR   LPIPS (AlexNet, lowest in bold)", va="top", ha="right", color=FAINT)
    for i, name in enumerate(ids):
        write(
            MARGIN, MARGIN + 2 * head + i * (cell_h + CAPTION) + cell_h / 2, name, rotation=90, va="center", color=FAINT
        )
    captions = [[("", False)] * len(ids)] * 2 + _captions(runs, ids)
    for j, title in enumerate(titles):
        left = MARGIN + SIDE + j * (cell_w + GAP)
        centre = left + cell_w / 2
        fitting = 72 * (cell_w + GAP) / DPI / (LETTER * max(map(len, title.split("\n"))))
        write(centre, MARGIN + 2 * head - 12, title, ha="center", va="bottom", fontsize=min(8 * small, fitting))
        for i, (caption, best) in enumerate(captions[j]):
            top = MARGIN + 2 * head + i * (cell_h + CAPTION)
            weight = "bold" if best else "normal"
            write(centre, top + cell_h + 8, caption, ha="center", va="top", fontsize=6.5 * small, fontweight=weight)
            picture = pictures[i][j] or Image.new("RGB", (1, 1), "#eeeeee")
            pixels = np.asarray(picture.resize((cell_w, cell_h), Image.Resampling.NEAREST))
            figure.figimage(pixels, left, full_h - top - cell_h)
            if pictures[i][j] is None:
                write(centre, top + cell_h / 2, "no picture", ha="center", va="center", color=FAINT)
    return figure


def _captions(runs: Sequence[Run], ids: Sequence[str]) -> list[list[tuple[str, bool]]]:
    """For each run and image its scores, and whether its LPIPS is the lowest."""
    tables = [run.images.set_index("image_id").reindex(index=ids, columns=["status", *SCORES]) for run in runs]
    scores = [table[SCORES].astype(float)[table["status"] == layout.OK].reindex(ids) for table in tables]
    lowest = pd.concat([own["lpips_alex"] for own in scores], axis=1).min(axis=1)
    said = []
    for table, own in zip(tables, scores, strict=True):
        words = own["psnr"].map("{:.1f} dB".format, "ignore"), own["lpips_alex"].map("{:.3f}".format, "ignore")
        joined = ["   ".join(word for word in both if word == word) for both in zip(*words, strict=True)]
        status = table["status"].map({layout.OK: "", layout.DIVERGED: "diverged"}).fillna("not run")
        said.append(list(zip(status + joined, own["lpips_alex"] == lowest, strict=True)))
    return said


def _read(file: Path) -> Image.Image | None:
    """An 8-bit picture in colour, or None where there is none to show."""
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except OSError:
        return None
