"""What the image browser of one problem needs: pictures in the report's folder, and every image's scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vml_bench.columns import Column, columns_of
from vml_bench.identity import in_words
from vml_bench.report.folder import ReportFolder, safe_name
from vml_bench.report.tables import about
from vml_bench.store import layout
from vml_bench.store.runs import Run
from vml_bench.text import number

FURTHER = ("residual", "seconds")
"""Columns of every image that the browser shows behind its scores."""


def run_folder(run: Run) -> str:
    """Where a run's files lie in the report, with a slash at the end."""
    parts = (run.dataset, run.task, run.method, run.name)
    return "/".join([layout.RUNS, *map(safe_name, parts), ""])


def browse(folder: ReportFolder, runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any] | None:
    """Copy or link the pictures of one problem into the report.

    Args:
        folder: the report.
        runs: its runs, in the leaderboard's order.
        labels: one per run.

    Returns:
        What the browser reads, ready for JSON; None where there is no picture. Pictures are named by their place in
        "files", below the "base" of each series, which lists under "missing" the places without a picture.
    """
    ids = list(dict.fromkeys(image_id for run in runs for image_id in (*run.asked, *run.images["image_id"])))
    files = [f"{safe_name(image_id)}.png" for image_id in ids]
    first = runs[0]
    known = columns_of(said for run in runs for said in run.columns)
    columns = [column for column in known.values() if column.of_images] + [known[name] for name in FURTHER]
    columns = [column for column in columns if any(column.name in run.images for run in runs)]

    def series(label: str, pictures: Path, *base: str) -> dict[str, Any]:
        here, missing, below = _pictures(pictures), [], "/".join([*base, ""])
        for place, (image_id, file) in enumerate(zip(ids, files, strict=True)):
            if (source := layout.picture(pictures, image_id)) in here:
                folder.file(below + file, source, link=True)
            else:
                missing.append(place)
        return {"label": label, "title": label, "base": below, "missing": missing}

    cards = [run.card.of_row(label, in_words(run.all_settings)) for run, label in zip(runs, labels, strict=True)]
    restored = [
        series(label, run.folder / layout.PICTURES, run_folder(run) + layout.PICTURES)
        | {"method": run.method, "title": card.title, "hollow": card.hollow, "run": run_folder(run)}
        | _scores(run, ids, columns)
        for run, label, card in zip(runs, labels, cards, strict=True)
    ]
    if all(len(one["missing"]) == len(ids) for one in restored):
        return None
    dataset, task, problem, images = map(
        safe_name, (first.dataset, first.task, first.problem.name, first.problem.images)
    )
    given = [
        series("ground truth", first.originals, layout.ORIGINALS, dataset, images),
        series("measurement", first.measurements, layout.MEASUREMENTS, dataset, task, problem),
    ]
    return {"ids": ids, "files": files, "scores": list(map(about, columns)), "given": given, "restored": restored}


def _pictures(folder: Path) -> set[Path]:
    """The pictures below a folder, without links, which could bring in any file of this machine."""
    return {path for path in folder.rglob("*.png") if path.name[0] != "." and not path.is_symlink()}


def _scores(run: Run, ids: Sequence[str], columns: Sequence[Column]) -> dict[str, Any]:
    """Scores and status of each image; None and "missing" where the run has not reached it."""
    table = run.images.set_index("image_id").reindex(ids)
    status = table["status"].fillna("missing").tolist()
    scores = {c.name: [_finite(value) for value in table[c.name]] for c in columns if c.name in table}
    return {"status": status, "scores": scores}


def _finite(value: object) -> float | str | None:
    """A value for JSON, to six digits; infinities as text, NaN as None."""
    value = float(pd.to_numeric(value, errors="coerce"))
    if math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else number(value, 0)
