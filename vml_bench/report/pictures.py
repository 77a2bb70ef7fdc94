"""What the image browser of one task needs: pictures brought into the report, and every image's scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vml_bench.leaderboard.aggregate import references
from vml_bench.leaderboard.columns import BY_NAME
from vml_bench.leaderboard.runs import Run
from vml_bench.report.folder import ReportFolder, safe_name

SCORES = ("psnr", "ssim", "lpips_alex", "lpips_vgg", "residual", "seconds")
"""Columns of images.parquet that the browser shows, where a run has them."""


def run_folder(run: Run) -> str:
    """Where a run's files lie in the report, with a slash at the end."""
    parts = (run.dataset, run.task, run.method, run.name)
    return "/".join(["runs", *map(safe_name, parts), ""])


def browse(folder: ReportFolder, results: Path, runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any] | None:
    """Bring the pictures of one task at one noise level into the report.

    Args:
        folder: the report.
        results: the folder that holds runs/ and references/.
        runs: the runs of that task, in the leaderboard's order.
        labels: how each is called.

    Returns:
        What the browser reads, ready for JSON; None where there is no picture. Pictures are named by their place in
        "files", below the "base" of each series, which lists under "missing" the places without a picture.
    """
    ids = list(dict.fromkeys(image_id for run in runs for image_id in (*run.expected, *run.images["image_id"])))
    files = [f"{safe_name(image_id)}.png" for image_id in ids]
    dataset, task = safe_name(runs[0].dataset), safe_name(runs[0].task)

    def series(base: str, source: Path) -> dict[str, Any]:
        here = _pictures(source)
        missing = []
        for place, (image_id, file) in enumerate(zip(ids, files, strict=True)):
            if f"{image_id}.png" in here:
                folder.file(base + file, here[f"{image_id}.png"], link=True)
            else:
                missing.append(place)
        return {"base": base, "missing": missing}

    restored = [
        series(f"{run_folder(run)}recon/", run.folder / "recon")
        | {"label": label, "method": run.method, "run": run_folder(run), **_scores(run, ids)}
        for run, label in zip(runs, labels, strict=True)
    ]
    if all(len(one["missing"]) == len(ids) for one in restored):
        return None
    seeds = list({run.seed: run for run in runs}.values())
    measured = [
        series(
            f"measurements/{dataset}/{task}/{safe_name(f'{run.noise_std:g}-{run.seed}')}/",
            run.measurements,
        )
        | {"label": "measurement" if len(seeds) == 1 else f"measurement (seed {run.seed})"}
        for run in seeds
    ]
    original = series(f"originals/{dataset}/", references(results, runs[0].dataset)) | {"label": "original"}
    names = [name for name in SCORES if any(name in one["scores"] for one in restored)]
    return {
        "ids": ids,
        "files": files,
        "scores": [_about(name) for name in names],
        "given": [original, *measured],
        "restored": restored,
    }


def _pictures(folder: Path) -> dict[str, Path]:
    """The pictures below a folder by relative name, without links, which could bring in any file of this machine."""
    if not folder.is_dir():
        return {}
    found = (path for path in folder.rglob("*.png") if path.name[0] != "." and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _scores(run: Run, ids: Iterable[str]) -> dict[str, Any]:
    """Scores and status of each image; None, and "missing", where the run has not come to it."""
    table = run.images.set_index("image_id").reindex(list(ids))
    status = table["status"].fillna("missing").tolist()
    scores = {name: [_finite(value) for value in table[name]] for name in SCORES if name in table}
    return {"status": status, "scores": scores}


def _finite(value: object) -> float | str | None:
    """A value as JSON can carry it, six digits of it; infinities as text."""
    number = float(pd.to_numeric(value, errors="coerce"))
    if math.isnan(number):
        return None
    return float(f"{number:.6g}") if math.isfinite(number) else ("∞" if number > 0 else "−∞")


def _about(name: str) -> dict[str, Any]:
    column = BY_NAME[name]
    return {key: getattr(column, key) for key in ("name", "title", "better", "digits", "significant", "unit")}
