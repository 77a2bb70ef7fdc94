"""What is logged about a run or a published result, all of it from files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from vml_bench.configuration import read_config, read_record
from vml_bench.files import sha256
from vml_bench.leaderboard.aggregate import leaderboard_row, references
from vml_bench.leaderboard.features import read_features
from vml_bench.leaderboard.runs import Run
from vml_bench.tracker.base import Row

KEYS = ("dataset", "task", "noise_std", "method", "run")
"""Columns of a leaderboard's row that say which run it is."""
LEFT_OUT = ("ids", "files", "runner")
"""Parts of run.json that are as long as the data set, or stand in the configuration, too."""
CIRCUMSTANCES = ("runner", "tracker", "experiment", "provenance")
"""Parts of what is logged as configuration that say how a run was made and change none of its results."""


@dataclass(frozen=True)
class Subject:
    """What a logged run is about.

    Attributes:
        key: what tells it from all others.
        name: shown in legends.
        group: data set, task and noise level: what may be compared.
        job_type: the method, or "published".
        config: the resolved configuration, and as `provenance` how it was made.
        tags: "synthetic", where the numbers mean nothing.
    """

    key: tuple[str, ...]
    name: str
    group: str
    job_type: str
    config: dict[str, Any]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Original, measurement and restoration of one image, as far as there are pictures of them.

    Attributes:
        files: the pictures.
        caption: what they are and what the image scored.
    """

    files: tuple[Path, ...]
    caption: str

    def strip(self) -> Image.Image:
        """The pictures side by side, each as large as the first by nearest neighbour."""
        tiles = [Image.open(file).convert("RGB") for file in self.files]
        width, height = tiles[0].size
        joined = Image.new("RGB", (width * len(tiles), height))
        for position, tile in enumerate(tiles):
            joined.paste(tile.resize((width, height), Image.Resampling.NEAREST), (position * width, 0))
        return joined


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        scores: under the names of leaderboard columns, those that have a value.
        rows: a row an image.
        pictures: of a few images.
    """

    scores: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def digest(self, subject: Subject) -> str:
        """Sha256 of what would be logged, whoever computed it and however."""
        told = {name: value for name, value in subject.config.items() if name not in CIRCUMSTANCES}
        seen = [[picture.caption, *map(sha256, picture.files)] for picture in self.pictures]
        content = json.dumps([told, self.scores, self.rows, seen], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()


def group_of(dataset: str, task: str, noise_std: float | None) -> str:
    """The group of runs that compare: data set, task and, where it is known, σ_y."""
    return f"{dataset}/{task}" + ("" if noise_std is None else f" σ_y={noise_std:g}")


def subject_of(folder: Path) -> Subject:
    """What a run's folder is about; config.yaml and run.json are enough.

    Raises:
        OSError, ValueError, KeyError: a file is missing or broken.
    """
    config, record = read_config(folder / "config.yaml"), read_record(folder / "run.json")
    dataset, task, method = (str(config[group]["name"]) for group in ("dataset", "task", "method"))
    return Subject(
        key=(dataset, task, method, folder.name),
        name=f"{method} ({folder.name})",
        group=group_of(dataset, task, float(config["task"]["noise_std"])),
        job_type=method,
        config={**config, "provenance": {name: value for name, value in record.items() if name not in LEFT_OUT}},
        tags=("synthetic",) if record.get("synthetic") else (),
    )


def outcome_of(run: Run, panel: int) -> tuple[Outcome, list[str]]:
    """What a run came to, its scores by the leaderboard's own code.

    Args:
        run: the run, with at least one image.
        panel: of how many images pictures are shown: the first ones, so that all methods show the same.

    Returns:
        The outcome, and the leaderboard's warnings about this run.

    Raises:
        One of `leaderboard.runs.UNREADABLE`: the features of the originals are damaged.
    """
    results, warnings = results_of(run.folder), []
    row = leaderboard_row(run, read_features(references(results, run.dataset)), warnings)
    scores = {name: finite(value) for name, value in row.items() if name not in KEYS}
    known = {name: value for name, value in scores.items() if value is not None}
    rows = run.images.to_dict("records")
    return Outcome(known, rows, _pictures(run, results, rows[:panel])), warnings


def results_of(folder: Path) -> Path:
    """The results folder of a run's folder, <results>/runs/<dataset>/<task>/<method>/<run>."""
    return folder.parents[4]


def finite(value: Any) -> Any:
    """The value; None for a float that JSON cannot carry."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(run: Run, results: Path, rows: Sequence[Row]) -> list[Picture]:
    measured = run.folder.parents[1] / "measurements" / f"{run.noise_std:g}-{run.seed}"
    pictures = []
    for row in rows:
        file = f"{row['image_id']}.png"
        tiles = {
            "original": references(results, run.dataset) / file,
            "measurement": measured / file,
            "restoration": run.picture(row["image_id"]),
        }
        there = {name: path for name, path in tiles.items() if path.is_file()}
        if there:
            caption = f"{row['image_id']}: {', '.join(there)} · {_score(row)}"
            pictures.append(Picture(tuple(there.values()), caption))
    return pictures


def _score(row: Row) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    known = (("psnr", "{:.2f} dB"), ("lpips_alex", "LPIPS {:.3f}"))
    return " · ".join(form.format(row[name]) for name, form in known if name in row)
