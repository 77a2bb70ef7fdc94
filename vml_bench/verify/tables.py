"""Checks of a run's own record: configuration, run.json, rows, features, scenes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from vml_bench.runner.provenance import run_name
from vml_bench.store.parts import read_merged_features
from vml_bench.verify.findings import Finding, Note, Problem, some
from vml_bench.verify.folder import RunFolder, Unreadable, attempt
from vml_bench.verify.pictures import to_redo
from vml_bench.verify.png import is_file_name

STATUSES = ("ok", "diverged")
EFFORT = ("nfe", "vjp", "seconds", "memory_mb")
"""Columns that are numbers in every row, whatever became of the image."""


def recorded_name(config: DictConfig) -> str:
    """The name that a configuration on disk gives its run.

    There the folder of the images stands wherever it was referred to, and it names no run (`naming_config`).
    """
    config = copy.deepcopy(config)
    for key, value in config.dataset.get("images", {}).items():
        if "root" in config.dataset and value == config.dataset.root:
            config.dataset.images[key] = "${dataset.root}"
    return run_name(config)


def check_config(run: RunFolder) -> Iterator[Finding]:
    """config.yaml is the one that names this run, in the folders that it names."""
    file = run.path / "config.yaml"
    if isinstance(run.config, Unreadable):
        yield Problem(file, run.config.reason)
        return
    if (name := recorded_name(run.config)) != run.path.name:
        yield Problem(file, f"is not the one that this run is named by: it would be {name}")
    for group, folder in zip(("dataset", "task", "method"), run.path.parts[-4:], strict=False):
        if (said := run.config[group].name) != folder:
            yield Problem(file, f"says {group}.name={said}, its folder {folder}")


def check_record(run: RunFolder) -> Iterator[Finding]:
    """run.json is of this run."""
    file = run.path / "run.json"
    if isinstance(run.record, Unreadable):
        yield Problem(file, run.record.reason)
        return
    facts = {"run": run.path.name, "dataset": run.dataset}
    if not isinstance(run.config, Unreadable):
        facts["seed"] = run.config.seed
    for key, fact in facts.items():
        if (said := run.record.get(key)) != fact:
            yield Problem(file, f"says {key}={said}, the run is of {fact}")
    if len(set(run.ids)) < len(run.ids):
        yield Problem(file, "lists an image twice")


def check_rows(run: RunFolder) -> Iterator[Finding]:
    """Every image that the run was asked for has one row, and no other image has one."""
    for file, part in run.tables.items():
        if isinstance(part, Unreadable):
            yield Problem(file, part.reason)
            continue
        ids = part.rows["image_id"]
        for image_id in dict.fromkeys(ids[ids.duplicated()]):
            yield Problem(file, f"lists '{image_id}' twice", remove=to_redo(run, image_id))
    have = set(run.rows.index)
    for image_id in run.rows.index:
        if not is_file_name(image_id):
            yield Problem(_table(run, image_id), f"has the id {image_id!r}, which names no file", _table(run, image_id))
    if isinstance(run.record, Unreadable):
        return
    if missing := [image_id for image_id in run.ids if image_id not in have]:
        done = len(run.ids) - len(missing)
        yield Problem(run.path / "images.parquet", f"unfinished: {done} of {len(run.ids)}, without {some(missing)}")
    for image_id in sorted(have.difference(run.ids)):
        what = f"has a row of '{image_id}', which the run was not asked for"
        yield Problem(_table(run, image_id), what, remove=to_redo(run, image_id))


def check_numbers(run: RunFolder) -> Iterator[Finding]:
    """Scores are numbers where the status is ok and none where the image diverged; all that was asked for are there."""
    if run.rows.empty:
        return
    numbers = run.rows.select_dtypes("number")
    scores = [name for name in numbers if name not in (*EFFORT, "residual")]
    if not isinstance(run.config, Unreadable):
        asked = ["map_gap", "map_distance"] if run.exact else run.config.metrics.get("names", [])
        for name in (name for name in (*asked, "residual", *EFFORT) if name not in numbers):
            yield Problem(run.path / "images.parquet", f"has no numbers '{name}'", remove=run.path / "images.parquet")
    for image_id, row in run.rows.iterrows():
        if wrong := _wrong(run, row, scores):
            what = f"row of '{image_id}': {wrong}"
            yield Problem(_table(run, image_id), what, remove=to_redo(run, image_id))


def _wrong(run: RunFolder, row: pd.Series, scores: list[str]) -> str:
    """What is wrong with the numbers of a row; empty: nothing."""
    if row["status"] not in STATUSES:
        return f"the status is {row['status']!r}"
    if bad := [name for name in EFFORT if not math.isfinite(row.get(name, 0))]:
        return f"{bad[0]} is {row[bad[0]]}"
    if row["status"] == "diverged":
        filled = [name for name in scores if not math.isnan(row[name])]
        return f"diverged, but {filled[0]} is {row[filled[0]]}" if filled else ""
    bad = [name for name in scores if not _is_score(run, name, row[name])]
    bad += [] if math.isfinite(row.get("residual", 0)) else ["residual"]
    return f"the status is ok, but {bad[0]} is {row[bad[0]]}" if bad else ""


def _is_score(run: RunFolder, name: str, value: float) -> bool:
    """Whether a healthy image may have this score: a perfect one's PSNR is inf, no noise expects no residual."""
    if name == "residual_ratio":
        return math.isfinite(value) or math.isnan(value)
    return math.isfinite(value) or (name.startswith("psnr") and value == math.inf)


def check_features(run: RunFolder) -> Iterator[Finding]:
    """Every image that did not diverge has its features, finite, and of one length a network."""
    if isinstance(run.merged_features, Unreadable):
        yield Problem(run.path / "features.npz", run.merged_features.reason)
    for network in () if run.tables_only else run.networks:
        vectors = run.features.get(network, {})
        if missing := [image_id for image_id in run.healthy if image_id not in vectors]:
            yield Problem(run.path / "features.npz", f"has no '{network}' of {some(missing)}")
    for network, vectors in run.features.items():
        if len({np.shape(vector) for vector in vectors.values()}) > 1:
            yield Problem(run.path / "features.npz", f"has '{network}' of several lengths", run.path / "features.npz")
        for image_id, vector in vectors.items():
            if image_id in run.rows.index and not np.isfinite(vector).all():
                what = f"has no finite '{network}' of '{image_id}'"
                yield Problem(run.path / "features.npz", what, remove=to_redo(run, image_id))
    yield from check_completed_features(run.path, run.healthy)


def check_completed_features(folder: Path, image_ids: list[str]) -> Iterator[Finding]:
    """What `vml-bench leaderboard --features` added can be read; it fills in what it lacks."""
    for file in sorted(folder.glob("features_*.npz")):
        network = file.stem.removeprefix("features_")
        mend = f"vml-bench leaderboard --features {network}"
        found = attempt(read_merged_features, file)
        if isinstance(found, Unreadable):
            yield Problem(file, found.reason, remove=file, mend=mend)
        elif not all(np.isfinite(vector).all() for vector in found.get(network, {}).values()):
            yield Problem(file, f"has no finite '{network}' of every image", remove=file, mend=mend)
        elif missing := [image_id for image_id in image_ids if image_id not in found.get(network, {})]:
            yield Note(file, f"lacks {len(missing)} images; `{mend}` adds them")


def check_scenes(run: RunFolder) -> Iterator[Finding]:
    """Against an exact posterior: oracle.parquet has each scene once, with as many repeats as rows that are ok."""
    if not run.exact or set(run.ids).difference(run.rows.index):
        return  # scenes are scored when the images are done
    file = run.path / "oracle.parquet"
    repeats = run.rows.loc[run.healthy, "scene"].value_counts().to_dict()
    if not repeats and not file.exists():
        return
    scenes = attempt(pd.read_parquet, file)
    if isinstance(scenes, Unreadable):
        yield Problem(file, scenes.reason)
        return
    if lacking := [name for name in ("scene", "repeats", "sw2", "mean_error") if name not in scenes]:
        yield Problem(file, f"lacks the column {lacking[0]}", remove=file)
        return
    if scenes["scene"].duplicated().any() or dict(zip(scenes["scene"], scenes["repeats"], strict=True)) != repeats:
        yield Problem(file, "does not have the scenes and repeats of the rows")
    if not np.isfinite(scenes[["sw2", "mean_error"]]).all(axis=None):
        yield Problem(file, "has scores that are no numbers", remove=file)


def _table(run: RunFolder, image_id: str) -> Path:
    """The file that an image's row is from."""
    return Path(run.rows.loc[image_id, "table"])
