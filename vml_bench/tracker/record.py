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
from vml_bench.columns import KEYS
from vml_bench.configuration import read_config, read_record
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


@dataclass(frozen=True)
class Subject:
    """What a W&B run is about and, once it is finished, what came of it.

    Attributes:
        key: tells it from all others.
        name: shown in legends: the method and its own settings.
        group: data set, task, noise level and problem: what may be compared.
        job_type: the method, or "published".
        config: the resolved configuration; as `run` its name, problem, prior and settings in words; and as `provenance`
            how it was made.
        tags: the method's family, data set and task; "synthetic" if the numbers mean nothing.
        scores: by leaderboard column, those that have a value.
        rows: one row per image.
        panel: caption and picture of a few images.
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
    words = {"name": run.name, "problem": run.problem.name, "prior": run.prior, "settings": in_words(run.all_settings)}
    provenance = {name: value for name, value in record.items() if name not in LEFT_OUT}
    return Subject(
        key=(run.dataset, run.task, run.method, run.name),
        name=labels([run])[0],
        group=group_of(run.dataset, run.task, run.noise_std, run.problem.name),
        job_type=run.method,
        config={**config, "run": words, "provenance": provenance},
        tags=(str(run.card.family), run.dataset, run.task, "synthetic" if run.synthetic else ""),
    )


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
    return replace(subject_of(run.folder), scores=scores, rows=rows, panel=_panel(run, rows[:panel])), found.warnings


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
                            "dataset": {"name": name},
                            "task": {"name": task, "noise_std": noise_std},
                            "method": {"name": row.method},
                            "published": {claim.metric: asdict(claim) for claim in same},
                        },
                        tags=(name, task),
                        scores=scores | ({"n": row.images} if row.images else {}),
                    )


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that JSON can carry: neither NaN nor infinite."""
    return {name: v for name, v in values.items() if v is not None and not (isinstance(v, float) and not isfinite(v))}


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
