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

from vml_bench.analysis.leaderboard.aggregate import leaderboard_row
from vml_bench.columns import KEYS
from vml_bench.configuration import read_config, read_record
from vml_bench.files import sha256
from vml_bench.identity import in_words
from vml_bench.runner.tracking import Row
from vml_bench.store import layout
from vml_bench.store.features import read_features
from vml_bench.store.runs import Run, labels, run_of

COUNTS = ("n", "diverged")
"""Those of a leaderboard's `KEYS` that a run came to; the others say which run it is."""
LEFT_OUT = ("ids", "files", "runner")
"""Parts of a run's record that are as long as the data set, or stand in the configuration, too."""
TAG = 64
"""Letters that W&B allows a tag."""
CIRCUMSTANCES = ("runner", "tracker", "experiment", "provenance")
"""Parts of what is logged as configuration that say how a run was made and change none of its results."""


@dataclass(frozen=True)
class Subject:
    """What a logged run is about.

    Attributes:
        key: what tells it from all others.
        name: shown in legends: the method and what is its own.
        group: data set, task, noise level and problem: what may be compared.
        job_type: the method, or "published".
        config: the resolved configuration; as `run` its name, problem, prior and settings in words; and as `provenance`
            how it was made.
        tags: the method's family, data set and task; "synthetic", where the numbers mean nothing.
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
        rows: one row per image.
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


def group_of(dataset: str, task: str, noise_std: float | None, problem: str | None = None) -> str:
    """The group of runs that compare: data set, task and, where they are known, σ_y and the problem's name."""
    noise = "" if noise_std is None else f" σ_y={noise_std:g}"
    return f"{dataset}/{task}{noise}" + (f" {problem}" if problem else "")


def tags_of(*words: str) -> tuple[str, ...]:
    """Words as W&B takes tags: each once, none empty or too long."""
    return tuple(dict.fromkeys(word[:TAG] for word in words if word))


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
        tags=tags_of(str(run.card.family), run.dataset, run.task, "synthetic" if run.synthetic else ""),
    )


def outcome_of(run: Run, panel: int) -> tuple[Outcome, list[str]]:
    """What a run came to, its scores by the leaderboard's own code.

    Args:
        run: the run, with at least one image.
        panel: of how many images pictures are shown: the first ones, so that all methods show the same.

    Returns:
        The outcome, and the leaderboard's warnings about this run.

    Raises:
        One of `vml_bench.store.runs.UNREADABLE`: the features of the originals are damaged.
    """
    warnings: list[str] = []
    row = leaderboard_row(run, read_features(run.originals), warnings)
    scores = {name: finite(value) for name, value in row.items() if name not in KEYS or name in COUNTS}
    known = {name: value for name, value in scores.items() if value is not None}
    rows = run.images.to_dict("records")
    return Outcome(known, rows, _pictures(run, rows[:panel])), warnings


def finite(value: Any) -> Any:
    """The value; None for a float that JSON cannot carry."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(run: Run, rows: Sequence[Row]) -> list[Picture]:
    pictures = []
    for row in rows:
        image_id = str(row["image_id"])
        tiles = {
            "original": run.original(image_id),
            "measurement": run.measurement(image_id),
            "restoration": run.picture(image_id),
        }
        there = {name: path for name, path in tiles.items() if path.is_file()}
        if there:
            caption = f"{image_id}: {', '.join(there)} · {_score(row)}"
            pictures.append(Picture(tuple(there.values()), caption))
    return pictures


def _score(row: Row) -> str:
    if row["status"] != layout.OK:
        return str(row["status"])
    known = (("psnr", "{:.2f} dB"), ("lpips_alex", "LPIPS {:.3f}"))
    return " · ".join(form.format(row[name]) for name, form in known if name in row)
