"""Checks of rows and features, of a run or of a data set's originals, and of a run's scenes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vml_bench.data.ids import is_id
from vml_bench.store import layout
from vml_bench.store.features import completed_files
from vml_bench.store.parts import features_file, read_merged_features, table
from vml_bench.verify.findings import Defect, Finding, Note, some
from vml_bench.verify.folder import Kept, RunKept, Unreadable, attempt


def check_tables(kept: Kept) -> Iterator[Finding]:
    """Every table can be read, lists an image once, and by an id that names a file."""
    for file, part in kept.tables.items():
        if isinstance(part, Unreadable):
            yield Defect(file, part.reason)
            continue
        ids = part.rows["image_id"]
        for image_id in dict.fromkeys(ids[ids.duplicated()]):
            yield Defect(file, f"lists '{image_id}' twice", remove=kept.to_redo(image_id))
    for image_id in kept.rows.index:
        if not is_id(image_id):
            file = kept.table_of(image_id)
            yield Defect(file, f"has the id {image_id!r}, which names no file", remove=file)


def check_rows(kept: RunKept) -> Iterator[Finding]:
    """Every image that the run was asked for has a row, and no other image has one."""
    if isinstance(kept.run, Unreadable):
        return
    have, asked = set(kept.rows.index), kept.asked
    if missing := [image_id for image_id in asked if image_id not in have]:
        done = len(asked) - len(missing)
        yield Defect(table(kept.folder), f"unfinished: {done} of {len(asked)}, without {some(missing)}")
    for image_id in sorted(have.difference(asked)):
        what = f"has a row of '{image_id}', which the run was not asked for"
        yield Defect(kept.table_of(image_id), what, remove=kept.to_redo(image_id))


def check_numbers(kept: RunKept) -> Iterator[Finding]:
    """Scores are numbers where the status is ok and none where the image diverged; all that was asked for are there."""
    if kept.rows.empty:
        return
    numbers = kept.rows.select_dtypes("number")
    asked = ["map_gap", "map_distance"] if kept.exact else kept.metrics("names")
    if not isinstance(kept.config, Unreadable):
        file = table(kept.folder)
        for name in (name for name in (*asked, "residual", *layout.EFFORT) if name not in numbers):
            yield Defect(file, f"has no numbers '{name}'", remove=file)
    for image_id, row in kept.rows.iterrows():
        if wrong := _wrong(row, [name for name in numbers if name not in (*layout.EFFORT, "residual")], asked):
            what = f"row of '{image_id}': {wrong}"
            yield Defect(kept.table_of(image_id), what, remove=kept.to_redo(image_id))


def _wrong(row: pd.Series, scores: list[str], asked: list[str]) -> str:
    """What is wrong with the numbers of a row; empty: nothing."""
    if row["status"] not in layout.STATUSES:
        return f"the status is {row['status']!r}"
    if bad := [name for name in layout.EFFORT if not math.isfinite(row.get(name, 0))]:
        return f"{bad[0]} is {row[bad[0]]}"
    if row["status"] == layout.DIVERGED:
        filled = [name for name in scores if not math.isnan(row[name])]
        return f"diverged, but {filled[0]} is {row[filled[0]]}" if filled else ""
    bad = [name for name in asked if name in scores and not _is_score(name, row[name])]
    bad += [] if math.isfinite(row.get("residual", 0)) else ["residual"]
    return f"the status is ok, but {bad[0]} is {row[bad[0]]}" if bad else ""


def _is_score(name: str, value: float) -> bool:
    """Whether a healthy image may have this score: a perfect one's PSNR is inf."""
    return math.isfinite(value) or (name == "psnr" and value == math.inf)


def check_features(kept: Kept, needs: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Images have their features, finite, and of one length for each network.

    Args:
        kept: of a run or of originals.
        needs: ids of the images that must have features, by network.
    """
    file = features_file(kept.folder)
    if isinstance(kept.merged_features, Unreadable):
        yield Defect(file, kept.merged_features.reason)
    for network, image_ids in needs.items():
        vectors = kept.features.get(network, {})
        if missing := [image_id for image_id in image_ids if image_id not in vectors]:
            yield Defect(file, f"has no '{network}' of {some(missing)}")
    for network, vectors in kept.features.items():
        if len({np.shape(vector) for vector in vectors.values()}) > 1:
            yield Defect(file, f"has '{network}' of several lengths", remove=file)
        for image_id, vector in vectors.items():
            if image_id in kept.rows.index and not np.isfinite(vector).all():
                yield Defect(file, f"has no finite '{network}' of '{image_id}'", remove=kept.to_redo(image_id))


def check_completed_features(folder: Path, image_ids: Iterable[str]) -> Iterator[Finding]:
    """What `vml-bench leaderboard --features` added can be read; it fills in what it lacks."""
    prefix, _, suffix = layout.COMPLETED.partition("{network}")
    for file in completed_files(folder):
        network = file.name.removeprefix(prefix).removesuffix(suffix)
        mend = f"vml-bench leaderboard --features {network}"
        found = attempt(lambda file=file: read_merged_features(file))
        if isinstance(found, Unreadable):
            yield Defect(file, found.reason, remove=file, mend=mend)
        elif not all(np.isfinite(vector).all() for vector in found.get(network, {}).values()):
            yield Defect(file, f"has no finite '{network}' of every image", remove=file, mend=mend)
        elif missing := [image_id for image_id in image_ids if image_id not in found.get(network, {})]:
            yield Note(file, f"lacks {len(missing)} images; `{mend}` adds them")


def check_scenes(kept: RunKept) -> Iterator[Finding]:
    """Against an exact posterior: the table of scenes has each once, with as many repeats as rows that are ok."""
    if not kept.exact or set(kept.asked).difference(kept.rows.index):
        return  # scenes are scored when the images are done
    file = kept.folder / layout.SCENES
    repeats = kept.rows.loc[kept.healthy, "scene"].value_counts().to_dict() if "scene" in kept.rows else {}
    if not repeats and not file.exists():
        return
    scenes = attempt(lambda: pd.read_parquet(file))
    if isinstance(scenes, Unreadable):
        yield Defect(file, scenes.reason)
        return
    if lacking := [name for name in ("scene", "repeats", "sw2", "mean_error") if name not in scenes]:
        yield Defect(file, f"lacks the column {lacking[0]}", remove=file)
        return
    if scenes["scene"].duplicated().any() or dict(zip(scenes["scene"], scenes["repeats"], strict=True)) != repeats:
        yield Defect(file, "does not have the scenes and repeats of the rows")
    if not np.isfinite(scenes[["sw2", "mean_error"]]).all(axis=None):
        yield Defect(file, "has scores that are no numbers", remove=file)
