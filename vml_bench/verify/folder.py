"""Runs and originals as they lie on disk: each file read on its own, what cannot be read with the reason why."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench import configuration
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.store.parts import DAMAGED, Part, part_files, read_merged_features, read_part
from vml_bench.verify.png import is_file_name, read_picture

Read = TypeVar("Read")
Vectors = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Unreadable:
    """In place of what a file holds: why it cannot be read."""

    reason: str


def attempt(read: Callable[[Path], Read], file: Path) -> Read | Unreadable:
    """What `read` makes of a file, or why it cannot."""
    try:
        return read(file)
    except FileNotFoundError:
        return Unreadable("is missing")
    except KeyError as error:
        return Unreadable(f"cannot be read: it lacks {error}")
    except (*DAMAGED, yaml.YAMLError, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())[:200]
        return Unreadable(f"cannot be read ({said or type(error).__name__})")


def read_config(file: Path) -> DictConfig:
    """The configuration of a run; a ValueError where it is not one."""
    config = OmegaConf.create(configuration.read_config(file))
    for key in ("seed", "dataset.name", "task.name", "task.noise_std", "method.name", "prior.name", "metrics._target_"):
        if OmegaConf.select(config, key) is None:
            raise ValueError(f"it lacks {key}")
    return config


def read_record(file: Path) -> dict[str, Any]:
    """run.json; a ValueError where it is not what a run writes."""
    record = configuration.read_record(file)
    if not isinstance(record.get("ids"), list):
        raise ValueError("it lacks the list of ids")
    return record


def read_images(file: Path) -> Part:
    """A table of rows; a KeyError where it lacks a column that every table has."""
    part = read_part(file)
    return Part(part.rows.astype({"image_id": str, "status": str}), part.features)


def read_tables(folder: Path) -> dict[Path, Part | Unreadable]:
    """Rows and features by file: the parts, then what is merged; the first of several that hold an image counts."""
    tables = {file: attempt(read_images, file) for file in [*part_files(folder), folder / "images.parquet"]}
    return {file: part for file, part in tables.items() if file.exists()}  # parts may be merged meanwhile


def pooled_rows(tables: Mapping[Path, Part | Unreadable]) -> pd.DataFrame:
    """Rows of all readable tables by image id, each image once; the column "table" says which file it is from."""
    frames = [
        part.rows.assign(table=str(file)) for file, part in tables.items() if isinstance(part, Part) and len(part.rows)
    ]
    if not frames:
        return pd.DataFrame({"status": [], "table": []}, index=pd.Index([], name="image_id", dtype=str))
    return pd.concat(frames).drop_duplicates("image_id").set_index("image_id")


def pooled_vectors(tables: Mapping[Path, Part | Unreadable], features: Vectors | Unreadable) -> dict[str, dict]:
    """Features of all readable tables and of the merged file, by network and image id."""
    pooled: dict[str, dict] = {}
    sources = [part.features for part in tables.values() if isinstance(part, Part)]
    for source in [*sources, *([] if isinstance(features, Unreadable) else [features])]:
        for network, vectors in source.items():
            pooled[network] = {**vectors, **pooled.get(network, {})}
    return pooled


class StoredFeatures:
    """The features of a store's folder.

    Attributes:
        path: the folder.
        tables: rows, and in parts features, by file.
    """

    path: Path
    tables: dict[Path, Part | Unreadable]

    @cached_property
    def merged_features(self) -> Vectors | Unreadable:
        """features.npz; empty where there is none."""
        return attempt(read_merged_features, self.path / "features.npz")

    @cached_property
    def features(self) -> dict[str, dict]:
        """Features by network and image id, of all files that can be read."""
        return pooled_vectors(self.tables, self.merged_features)


@dataclass(frozen=True)
class Originals(StoredFeatures):
    """The originals of a data set, each file read once.

    Attributes:
        path: <results>/references/<dataset>.
    """

    path: Path

    @cached_property
    def tables(self) -> dict[Path, Part | Unreadable]:
        """Hashes, and in parts features, by file."""
        return {file: attempt(read_part, file) for file in [*part_files(self.path), *self.path.glob("images.parquet")]}

    @cached_property
    def sha256(self) -> dict[str, str]:
        """Hashes on record, by image id."""
        rows = [part.rows for part in self.tables.values() if isinstance(part, Part)]
        return dict(pd.concat(rows[::-1])[["image_id", "sha256"]].itertuples(index=False)) if rows else {}

    @cached_property
    def files(self) -> dict[str, Path]:
        """The pictures that are there or ought to be, by image id."""
        return {file.stem: file for file in sorted(self.path.glob("[!.]*.png"))} | {
            image_id: self.path / f"{image_id}.png" for image_id in self.sha256 if is_file_name(image_id)
        }

    def read(self, image_id: str) -> np.ndarray:
        """The pixels of an original, (H, W, 3) uint8; InputError where it is not the one that was saved."""
        return read_picture(self.path / f"{image_id}.png", digest=self.sha256.get(image_id, ""))

    def sound(self, image_id: str) -> np.ndarray | None:
        """The same; None where it cannot be had, which `check_originals` reports."""
        try:
            return self.read(image_id) if is_file_name(image_id) else None
        except InputError:
            return None

    @cached_property
    def _hashes(self) -> dict[tuple[str, ...], tuple[str, dict[str, str]]]:
        return {}

    def hashes(self, image_ids: tuple[str, ...]) -> tuple[str, dict[str, str]]:
        """sha256 of pixels, as `ImageSet.manifest` and `files_sha256` take it; ("", {}) where one is lacking."""
        if image_ids not in self._hashes:
            self._hashes[image_ids] = self._hashed(image_ids)
        return self._hashes[image_ids]

    def _hashed(self, image_ids: tuple[str, ...]) -> tuple[str, dict[str, str]]:
        manifest, pixels = hashlib.sha256(), {}
        for image_id in image_ids:
            original = self.sound(image_id)
            if original is None:
                return "", {}
            values = from_uint8(original).numpy().tobytes()
            manifest.update(image_id.encode() + b"\0" + values)
            pixels[image_id] = hashlib.sha256(values).hexdigest()
        return manifest.hexdigest(), pixels


@dataclass(frozen=True)
class RunFolder(StoredFeatures):
    """A run's folder, read without a complaint.

    Attributes:
        results: the folder that holds runs/ and references/.
        path: <results>/runs/<dataset>/<task>/<method>/<run>.
        originals: of its data set.
    """

    results: Path
    path: Path
    originals: Originals

    @property
    def label(self) -> str:
        """ "<dataset>/<task>/<method>/<run>"."""
        return "/".join(self.path.parts[-4:])

    @property
    def dataset(self) -> str:
        """The name under which the run's data set is filed."""
        return self.path.parts[-4]

    @cached_property
    def config(self) -> DictConfig | Unreadable:
        """config.yaml."""
        return attempt(read_config, self.path / "config.yaml")

    @cached_property
    def record(self) -> dict[str, Any] | Unreadable:
        """run.json."""
        return attempt(read_record, self.path / "run.json")

    @cached_property
    def tables(self) -> dict[Path, Part | Unreadable]:
        """Rows, and in parts features, by file."""
        return read_tables(self.path)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Rows by image id, of all files that can be read."""
        return pooled_rows(self.tables)

    @property
    def healthy(self) -> list[str]:
        """Ids of the images whose status is ok."""
        return self.rows.index[self.rows["status"] == "ok"].tolist()

    @property
    def exact(self) -> bool:
        """Whether the run is scored against an exact posterior and so keeps no picture."""
        return "map_gap" in self.rows

    @property
    def tables_only(self) -> bool:
        """Whether neither pictures nor features are here, as where only tables are archived."""
        return not self.features and not any((self.path / name).exists() for name in ("features.npz", "recon"))

    @property
    def networks(self) -> list[str]:
        """The feature networks that its configuration asks for."""
        if self.exact:
            return ["restored"]
        return [] if isinstance(self.config, Unreadable) else list(self.config.metrics.get("features", []))

    @property
    def ids(self) -> list[str]:
        """Ids of the images that the run was asked for; none where run.json cannot be read."""
        return [] if isinstance(self.record, Unreadable) else [str(image_id) for image_id in self.record["ids"]]

    def picture(self, image_id: str) -> Path:
        """Where the restoration of an image lies."""
        return self.path / "recon" / f"{image_id}.png"


def find_runs(results: Path, dataset: str | None) -> Iterator[RunFolder]:
    """The run folders under <results>/runs, of one data set or of all, by name."""
    named, originals = escape(dataset) if dataset else "*", {}
    for path in sorted((results / "runs").glob(f"{named}/*/*/*")):
        if path.is_dir() and path.parent.name != "measurements":
            name = path.parts[-4]
            shared = originals.setdefault(name, Originals(results / "references" / name))
            yield RunFolder(results, path, shared)
