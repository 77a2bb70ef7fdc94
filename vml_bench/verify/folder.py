"""What a folder of a run or of originals keeps; or which of its files cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vml_bench.configuration import mapping, read_config, read_record
from vml_bench.data.ids import is_id
from vml_bench.runner.command import again
from vml_bench.store import layout
from vml_bench.store.parts import features_file, part_files, pooled, read_merged_features, read_part, table
from vml_bench.store.runs import Run, run_of
from vml_bench.verify.findings import Finding, attempt

NAMED = (("dataset", "name"), ("task", "name"), ("task", "noise_std"), ("method", "name"))
"""What every configuration says, besides the seed."""


@dataclass(frozen=True)
class Kept:
    """Rows, features and pictures of images: of a run, or of a data set's originals.

    Attributes:
        folder: of rows and features.
        pictures: of pictures.
        listed: all rows of all tables, parts first; the column "table" names the file.
        rows: those by image id, each image once.
        features: by network and image id.
    """

    folder: Path
    pictures: Path
    listed: pd.DataFrame
    rows: pd.DataFrame
    features: Mapping[str, Mapping[str, np.ndarray]]

    def table_of(self, image_id: str) -> Path:
        """The file that an image's row is from."""
        return Path(self.rows.loc[image_id, "table"])

    def picture(self, image_id: str) -> Path:
        """Where the picture of an image lies."""
        return layout.picture(self.pictures, image_id)

    def sha256(self, image_id: str) -> str:
        """The sha256 on record of an image's picture; empty where there is none."""
        recorded = self.rows.loc[image_id].get("sha256")
        return recorded if isinstance(recorded, str) else ""

    def to_redo(self, image_id: str) -> Path | None:
        """What has to go for a start to do an image again: its picture, or, where none is on record, its table."""
        if self.sha256(image_id) and is_id(image_id):
            file = self.picture(image_id)
            return file if file.exists() else None
        return self.table_of(image_id)


@dataclass(frozen=True)
class RunKept(Kept):
    """What is kept of a run.

    Attributes:
        run: what its record says that it is.
        config: its resolved configuration.
    """

    run: Run
    config: Mapping[str, Any]

    @property
    def healthy(self) -> list[str]:
        """Ids of the images that did not diverge."""
        return self.rows.index[self.rows["status"] == layout.OK].tolist()

    @property
    def networks(self) -> list[str]:
        """The feature networks that its configuration asks for."""
        return ["restored"] if self.run.exact else self.metrics("features")

    def metrics(self, key: str) -> list[str]:
        """Names that the metrics' configuration lists under a key."""
        listed = mapping(self.config, "metrics").get(key)
        return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def read_kept(folder: Path, pictures: Path | None = None) -> Kept | list[Finding]:
    """What is kept in a folder, pictures there or elsewhere; or which of its files cannot be read."""
    tables = {file: attempt(file, read_part) for file in [*part_files(folder), table(folder)]}
    tables = {file: part for file, part in tables.items() if file.exists()}  # parts may be merged meanwhile
    merged = attempt(features_file(folder), read_merged_features)
    if unreadable := [found for found in (*tables.values(), merged) if isinstance(found, Finding)]:
        return unreadable
    frames = [part.rows.assign(table=str(file)) for file, part in tables.items() if len(part.rows)]
    listed = pd.concat(frames) if frames else pd.DataFrame({"image_id": [], "table": []}, dtype=str)
    listed["status"] = listed["status"].astype(str) if "status" in listed else ""
    rows = listed.drop_duplicates("image_id").set_index("image_id")
    return Kept(
        folder, pictures or folder, listed, rows, pooled([*(part.features for part in tables.values()), merged])
    )


def read_run(folder: Path) -> RunKept | list[Finding]:
    """What is kept of a run, or which of its files cannot be read."""
    run = attempt(folder / layout.RECORD, lambda file: run_of(folder, read_record(file)))
    config = attempt(folder / layout.CONFIG, _read_config)
    kept = read_kept(folder, folder / layout.PICTURES)
    unreadable = [found for found in (run, config) if isinstance(found, Finding)]
    if unreadable or isinstance(kept, list):
        return unreadable + (kept if isinstance(kept, list) else [])
    return RunKept(**vars(kept), run=run, config=config)


def rerun(folder: Path) -> str | None:
    """The command that goes on with the run in a folder; None where none is on record."""
    results = layout.RunPlace.of(folder).results
    command = attempt(folder / layout.RECORD, lambda file: again(read_record(file), results))
    return command if isinstance(command, str) else None


def _read_config(file: Path) -> dict[str, Any]:
    config = read_config(file)
    if None in [config["seed"], *(config[group][key] for group, key in NAMED)]:
        raise ValueError("it lacks a name, a noise level or the seed")
    return config
