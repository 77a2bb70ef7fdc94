"""What is logged about runs and published claims, all of it from files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vml_bench.analysis.leaderboard.aggregate import finish
from vml_bench.analysis.published.claims import METRICS, Claim, Published
from vml_bench.cards import card
from vml_bench.columns import KEYS, columns_of, with_bounds
from vml_bench.configuration import choices, config_dir, read_config, read_record
from vml_bench.identity import in_words, name_of
from vml_bench.runner.tracking import Row
from vml_bench.store import layout
from vml_bench.store.features import read_originals
from vml_bench.store.labels import labels
from vml_bench.store.runs import Problem, Run, run_of

COUNTS = ("n", "diverged")
"""The leaderboard `KEYS` that are results; the others say which run it is."""
LEFT_OUT = ("ids", "files", "runner")
"""Parts of a run's record that are as long as the data set, or repeat the configuration."""
LEAST, LEAST_SET = 10, 50
"""Images (or scenes) from which on intervals are logged, and distances between sets of images: of fewer, a bootstrap
interval is too narrow, and a distance on hundreds of features is mostly bias. Both numbers are this project's choice.
"""


@dataclass(frozen=True)
class Subject:
    """What a W&B run is about and, once it is finished, what came of it.

    Attributes:
        key: tells it from all others.
        name: shown in legends: the method and its own settings, then the task and its noise level.
        group: data set, task, noise level and problem: what may be compared.
        job_type: the method, or "published".
        config: texts and numbers to group by, named as the leaderboard's columns; as `configuration` the resolved
            configuration, and as `provenance` how it was made; of a claim, as `published` what its source says.
        tags: the method's family, data set and task; where its settings are from (`origin`); "claim" for a published
            claim, "synthetic" if the numbers mean nothing.
        scores: by leaderboard column, those that have a value, of enough images.
        rows: one row per image.
        panel: caption and picture of a few images.
        first: of the first image one table's row by column: equal columns in all runs, so that W&B's table of several
            runs shows this image under every method.
    """

    key: tuple[str, ...]
    name: str
    group: str
    job_type: str
    config: dict[str, Any]
    tags: tuple[str, ...]
    scores: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    panel: list[tuple[str, Image.Image]] = field(default_factory=list)
    first: dict[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The name of its results by content, however and wherever they were computed."""
        return name_of({"results": repr([self.config.get("published"), self.scores, self.rows])})


def group_of(dataset: str, task: str, noise_std: float | None, problem: str | None = None) -> str:
    """The group of runs that compare: data set, task and, where they are known, σ_y and the problem's name."""
    noise = "" if noise_std is None else f" σ_y={noise_std:g}"
    return f"{dataset}/{task}{noise}" + (f" {problem}" if problem else "")


def subject_of(folder: Path) -> Subject:
    """What a run's folder is about; its configuration and its record are enough.

    Raises:
        OSError, ValueError, KeyError, TypeError: one of them is missing or broken.
    """
    config, record = read_config(folder / layout.CONFIG), read_record(folder / layout.RECORD)
    run = run_of(folder, record)
    label = labels([run])[0]
    by = {"dataset": run.dataset, "task": run.task, "noise_std": run.noise_std, "problem": run.problem.name}
    by |= {"seed": run.problem.form.get("seed"), "prior": run.prior, "method": run.method, "title": run.card.title}
    by |= {"family": run.card.family, "settings": in_words(run.all_settings), "origin": origin(run), "run": run.name}
    provenance = {name: value for name, value in record.items() if name not in LEFT_OUT}
    return Subject(
        key=(run.dataset, run.task, run.method, run.name),
        name=f"{label} · {run.task} σ_y={run.noise_std:g}",
        group=group_of(run.dataset, run.task, run.noise_std, run.problem.name),
        job_type=run.method,
        config={**by, "configuration": config, "provenance": provenance},
        tags=(str(run.card.family), run.dataset, run.task, origin(run), "synthetic" if run.synthetic else ""),
    )


def origin(run: Run) -> str:
    """Where a method's settings are from.

    Returns:
        "own settings" where they differ from the configuration of its name; of a configuration in a folder of
        conf/method the folder, such as "published"; "tuned" where conf/experiment/tune has its sweep; else nothing.
    """
    choice = choices("method").get(run.method)
    if choice is None or run.settings:
        return "own settings" if run.settings else ""
    if "/" in choice:
        return choice.partition("/")[0]
    return "tuned" if (config_dir() / "experiment" / "tune" / f"{choice}.yaml").is_file() else ""


def finished(run: Run, panel: int) -> tuple[Subject, list[str]]:
    """What a run is about and what came of it, by the leaderboard's own code; and the leaderboard's warnings about it.

    Args:
        run: the run, with at least one image.
        panel: number of images whose pictures are shown: the first ones, so that all methods show the same.

    Raises:
        One of `vml_bench.store.runs.UNREADABLE`: a picture is damaged.
    """
    found = finish(run, read_originals)
    scores = finite({name: value for name, value in found.row.items() if name not in KEYS or name in COUNTS})
    rows = run.images.to_dict("records")
    told = {"scores": meaningful(scores, run), "rows": rows, "panel": _panel(run, rows[:panel]), "first": _first(run)}
    return replace(subject_of(run.folder), **told), found.warnings


def meaningful(scores: Mapping[str, float], run: Run) -> dict[str, float]:
    """The scores without intervals, and without distances between sets of images, where a run has too few of them."""
    units = len(run.good) if run.scenes is None else len(run.scenes)
    columns = columns_of(run.columns).values()
    bounds = {end for column in columns for end in with_bounds(column.name)[1:]}
    distances = {name for column in columns if column.features for name in with_bounds(column.name)}
    left_out = (bounds if units < LEAST else set()) | (distances if units < LEAST_SET else set())
    return {name: value for name, value in scores.items() if name not in left_out}


def published(claims: Published, names: Iterable[str], problems: Collection[Problem]) -> Iterator[Subject]:
    """What papers claim about data sets, once for each problem on disk that a claim could be about.

    A claim stands in the group of each of its candidate tasks and of each problem that was run, at its own noise level
    if its source states one. Its value stands under every leaderboard column that its metric could mean; what the
    source leaves open is part of the configuration.
    """
    for name in names:
        rows: dict[Claim, list[Claim]] = {}  # by row of a paper: claims that differ in the metric alone
        for claim in claims.about(name):
            row = replace(claim, methods=(), metric="", value=0.0, source="", open="", remark="")
            rows.setdefault(row, []).append(claim)
        for row, same in rows.items():
            scores = {column: claim.value for claim in same for column in METRICS[claim.metric]}
            family = next((card(method).family for method in same[0].methods), "")
            for task in row.candidates:
                run = {(p.noise_std, p.name) for p in problems if (p.dataset, p.task) == (name, task)}
                meant = sorted(at for at in run if row.noise_std in (None, at[0]))
                for noise_std, problem in meant or [(row.noise_std, None)]:
                    group = group_of(name, task, noise_std, problem)
                    yield Subject(
                        key=("published", row.paper, row.method, row.dataset, row.task, str(row.images), group),
                        name=f"{row.method}, published: {row.task}",
                        group=group,
                        job_type="published",
                        config={
                            **{"dataset": name, "task": task, "noise_std": noise_std, "problem": problem or ""},
                            **{"method": row.method, "title": row.method, "family": family, "origin": "claim"},
                            "published": {claim.metric: asdict(claim) for claim in same},
                        },
                        tags=(family, name, task, "claim"),
                        scores=scores | ({"n": row.images} if row.images else {}),
                    )


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that JSON can carry: neither NaN nor infinite."""
    return {name: v for name, v in values.items() if v is not None and not (isinstance(v, float) and not isfinite(v))}


def _first(run: Run) -> dict[str, Any]:
    """The row of the first image; empty where it has no pictures."""
    row = run.images.iloc[0].to_dict()
    pictures = {"ground truth": run.original, "measurement": run.measurement, "restoration": run.picture}
    files = {name: place(row["image_id"]) for name, place in pictures.items()}
    if not any(file.is_file() for file in files.values()):
        return {}
    shown = {name: Image.open(file).convert("RGB") if file.is_file() else None for name, file in files.items()}
    scores = {name: row.get(name) for name in ("psnr", "lpips_alex", "nfe", "vjp", "status")}
    return {"method": labels([run])[0], "task": run.task, "image_id": row["image_id"], **shown, **finite(scores)}


def _panel(run: Run, rows: Sequence[Row]) -> list[tuple[str, Image.Image]]:
    """Ground truth, measurement and restoration side by side, all as large as the first; a missing one is left out."""
    panel = []
    for row in rows:
        image_id, status = row["image_id"], row["status"]
        files = {"ground truth": run.original, "measurement": run.measurement, "restoration": run.picture}
        files = {name: place(image_id) for name, place in files.items() if place(image_id).is_file()}
        if not files:
            continue
        tiles = [Image.open(file).convert("RGB") for file in files.values()]
        strip = np.hstack([tile.resize(tiles[0].size, Image.Resampling.NEAREST) for tile in tiles])
        shown = [("psnr", "{:.2f} dB"), ("lpips_alex", "LPIPS {:.3f}")] if status == layout.OK else []
        score = " · ".join(form.format(row[name]) for name, form in shown if name in row)
        panel.append((f"{image_id}: {', '.join(files)} · {score or status}", Image.fromarray(strip)))
    return panel
