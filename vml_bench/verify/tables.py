"""Checks of rows and features, of a run or of a data set's originals, and of a run's scenes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from vml_bench.data.ids import is_id
from vml_bench.store import layout
from vml_bench.store.features import completed_files
from vml_bench.store.parts import features_file, read_merged_features, table
from vml_bench.verify.findings import Finding, attempt, some
from vml_bench.verify.folder import Kept, RunKept


def check_ids(kept: Kept) -> Iterator[Finding]:
    """Every table lists an image once, and by an id that names a file."""
    listed = kept.listed[["image_id", "table"]]
    for image_id, file in listed[listed.duplicated()].drop_duplicates().itertuples(index=False):
        yield Finding(Path(file), f"lists '{image_id}' twice", remove=kept.to_redo(image_id))
    for image_id in kept.rows.index:
        if not is_id(image_id):
            file = kept.table_of(image_id)
            yield Finding(file, f"has the id {image_id!r}, which names no file", remove=file)


def check_rows(kept: RunKept) -> Iterator[Finding]:
    """Every image that the run was asked for has a row, and no other image has one."""
    have, asked = set(kept.rows.index), kept.run.asked
    if missing := [image_id for image_id in asked if image_id not in have]:
        done = len(asked) - len(missing)
        yield Finding(table(kept.folder), f"unfinished: {done} of {len(asked)}, without {some(missing)}")
    for image_id in sorted(have.difference(asked)):
        what = f"has a row of '{image_id}', which the run was not asked for"
        yield Finding(kept.table_of(image_id), what, remove=kept.to_redo(image_id))


def check_numbers(kept: RunKept) -> Iterator[Finding]:
    """Scores are numbers where the status is ok and none where the image diverged; all that was asked for are there.

    What a restoration took is a number in every row, unless another program made it. The PSNR of a perfect one is
    infinite.
    """
    rows, status = kept.rows, kept.rows["status"]
    numbers = rows.select_dtypes("number").astype(float)
    needed = ["residual", *(("map_gap", "map_distance") if kept.run.exact else kept.metrics("names"))]
    file = table(kept.folder)
    for name in (*needed, *layout.EFFORT) if len(rows) else ():
        if name not in numbers:
            yield Finding(file, f"has no numbers '{name}'", remove=file)
    wrong = {image_id: f"the status is '{said}'" for image_id, said in status.items() if said not in layout.STATUSES}
    for name, values in numbers.items():
        bad = ~np.isfinite(values) & ~((name == "psnr") & (values == np.inf))
        if name in layout.EFFORT:
            bad &= not kept.run.external  # whose effort may be unknown
        else:
            filled = (status == layout.DIVERGED) & values.notna() & (name != "residual")
            bad = (status == layout.OK) & bad & (name in needed) | filled
        for image_id, value in values[bad].items():
            wrong.setdefault(image_id, f"the status is {status[image_id]}, but {name} is {value}")
    for image_id, what in wrong.items():
        yield Finding(kept.table_of(image_id), f"row of '{image_id}': {what}", remove=kept.to_redo(image_id))


def check_features(kept: Kept, needs: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Images have their features, finite, and of one length for each network.

    Args:
        kept: of a run or of originals.
        needs: ids of the images that must have features, by network.
    """
    file = features_file(kept.folder)
    for network, image_ids in needs.items():
        vectors = kept.features.get(network, {})
        if missing := [image_id for image_id in image_ids if image_id not in vectors]:
            yield Finding(file, f"has no '{network}' of {some(missing)}")
    for network, vectors in kept.features.items():
        if len({np.shape(vector) for vector in vectors.values()}) > 1:
            yield Finding(file, f"has '{network}' of several lengths", remove=file)
        for image_id, vector in vectors.items():
            if image_id in kept.rows.index and not np.isfinite(vector).all():
                yield Finding(file, f"has no finite '{network}' of '{image_id}'", remove=kept.to_redo(image_id))


def check_completed_features(folder: Path, image_ids: Iterable[str]) -> Iterator[Finding]:
    """What `vml-bench leaderboard --features` added can be read; it fills in what it lacks."""
    prefix, _, suffix = layout.COMPLETED.partition("{network}")
    for file in completed_files(folder):
        network = file.name.removeprefix(prefix).removesuffix(suffix)
        mend = f"vml-bench leaderboard --features {network}"
        found = attempt(file, read_merged_features)
        if isinstance(found, Finding):
            yield replace(found, remove=file, mend=mend)
        elif not all(np.isfinite(vector).all() for vector in found.get(network, {}).values()):
            yield Finding(file, f"has no finite '{network}' of every image", remove=file, mend=mend)
        elif missing := [image_id for image_id in image_ids if image_id not in found.get(network, {})]:
            yield Finding(file, f"lacks {len(missing)} images; `{mend}` adds them", mend=None)


def check_scenes(kept: RunKept) -> Iterator[Finding]:
    """Against an exact posterior: the table of scenes has each once, with as many repeats as rows that are ok."""
    if not kept.run.exact or set(kept.run.asked).difference(kept.rows.index):
        return  # scenes are scored when the images are done
    file = kept.folder / layout.SCENES
    repeats = kept.rows.loc[kept.healthy, "scene"].value_counts().to_dict() if "scene" in kept.rows else {}
    if not repeats and not file.exists():
        return
    scenes = attempt(file, pd.read_parquet)
    if isinstance(scenes, Finding):
        yield scenes
        return
    if lacking := [name for name in ("scene", "repeats", "sw2", "mean_error") if name not in scenes]:
        yield Finding(file, f"lacks the column {lacking[0]}", remove=file)
        return
    if scenes["scene"].duplicated().any() or dict(zip(scenes["scene"], scenes["repeats"], strict=True)) != repeats:
        yield Finding(file, "does not have the scenes and repeats of the rows")
    if not np.isfinite(scenes[["sw2", "mean_error"]]).all(axis=None):
        yield Finding(file, "has scores that are no numbers", remove=file)
