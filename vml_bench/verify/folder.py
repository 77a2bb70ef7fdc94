"""Folders of runs and of originals, each file read on its own: what cannot be read is the reason why."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
from PIL import Image

from vml_bench.configuration import read_config, read_record
from vml_bench.data.decode import decode
from vml_bench.data.ids import is_id
from vml_bench.errors import InputError
from vml_bench.store import layout
from vml_bench.store.parts import Part, features_file, part_files, read_merged_features, read_part, table
from vml_bench.store.runs import UNREADABLE, Run, run_of

Read = TypeVar("Read")
NAMED = (("dataset", "name"), ("task", "name"), ("task", "noise_std"), ("method", "name"))
"""What every configuration says, besides the seed."""


@dataclass(frozen=True)
class Unreadable:
    """In place of what a file holds: why it cannot be read."""

    reason: str


def attempt(read: Callable[[], Read]) -> Read | Unreadable:
    """What `read` returns, or why it cannot."""
    try:
        return read()
    except FileNotFoundError:
        return Unreadable("is missing")
    except KeyError as error:
        return Unreadable(f"cannot be read: it lacks {error}")
    except UNREADABLE as error:
        said = " ".join(str(error).split())[:200]
        return Unreadable(f"cannot be read ({said or type(error).__name__})")


@dataclass(frozen=True)
class Kept:
    """Rows, features and pictures of images: of a run, or of a data set's originals.

    Attributes:
        folder: of rows and features.
        pictures: of pictures.
    """

    folder: Path
    pictures: Path
    texts: ClassVar[tuple[str, ...]] = ("image_id",)
    """Columns that every table has."""

    @cached_property
    def tables(self) -> dict[Path, Part | Unreadable]:
        """Rows, and in parts features, by file: the parts, then what is merged."""
        files = [*part_files(self.folder), table(self.folder)]
        found = {file: attempt(lambda file=file: self._read(file)) for file in files}
        return {file: part for file, part in found.items() if file.exists()}  # parts may be merged meanwhile

    def _read(self, file: Path) -> Part:
        part = read_part(file)
        return Part(part.rows.assign(**{name: part.rows[name].astype(str) for name in self.texts}), part.features)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Rows by image id, each image once, of the first file that holds it; the column "table" names that file."""
        parts = {file: part.rows for file, part in self.tables.items() if isinstance(part, Part) and len(part.rows)}
        if not parts:
            return pd.DataFrame({"status": [], "table": []}, index=pd.Index([], name="image_id", dtype=str))
        rows = pd.concat([rows.assign(table=str(file)) for file, rows in parts.items()])
        return rows.drop_duplicates("image_id").set_index("image_id")

    @cached_property
    def merged_features(self) -> Mapping[str, Mapping[str, np.ndarray]] | Unreadable:
        """The merged features; empty where there are none."""
        return attempt(lambda: read_merged_features(features_file(self.folder)))

    @cached_property
    def features(self) -> dict[str, dict[str, np.ndarray]]:
        """Features by network and image id, of all files that can be read."""
        sources = [part.features for part in self.tables.values() if isinstance(part, Part)]
        sources += [] if isinstance(self.merged_features, Unreadable) else [self.merged_features]
        pooled: dict[str, dict[str, np.ndarray]] = {}
        for network, vectors in (item for source in sources for item in source.items()):
            pooled[network] = {**vectors, **pooled.get(network, {})}
        return pooled

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

    def sound(self, image_id: str) -> np.ndarray | None:
        """The pixels of an image's picture; None where it is not the one on record, or there is none."""
        if not is_id(image_id) or image_id not in self.rows.index:
            return None
        try:
            return read_picture(self.picture(image_id), self.sha256(image_id))
        except InputError:
            return None

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
        place: where it lies.
    """

    place: layout.RunPlace
    texts: ClassVar[tuple[str, ...]] = ("image_id", "status")

    @classmethod
    def of(cls, folder: Path) -> RunKept:
        """That of a run's folder."""
        return cls(folder, folder / layout.PICTURES, layout.RunPlace.of(folder))

    @cached_property
    def config(self) -> dict[str, Any] | Unreadable:
        """The resolved configuration."""
        return attempt(self._config)

    def _config(self) -> dict[str, Any]:
        config = read_config(self.folder / layout.CONFIG)
        named = [config["seed"], *(config[group][key] for group, key in NAMED)]
        if None in named:
            raise ValueError("it lacks a name, a noise level or the seed")
        return config

    @cached_property
    def record(self) -> dict[str, Any] | Unreadable:
        """How the run was made."""
        return attempt(lambda: read_record(self.folder / layout.RECORD))

    @cached_property
    def run(self) -> Run | Unreadable:
        """What the record says that it is."""
        return self.record if isinstance(self.record, Unreadable) else attempt(lambda: run_of(self.folder, self.record))

    @property
    def asked(self) -> tuple[str, ...]:
        """Ids of the images that the run was asked for; none where the record does not say."""
        return () if isinstance(self.run, Unreadable) else self.run.asked

    @property
    def exact(self) -> bool:
        """Whether the run is scored against an exact posterior and so keeps no picture."""
        return not isinstance(self.run, Unreadable) and self.run.exact

    @property
    def healthy(self) -> list[str]:
        """Ids of the images that did not diverge."""
        return self.rows.index[self.rows["status"] == layout.OK].tolist()

    @property
    def tables_only(self) -> bool:
        """Whether neither pictures nor features are here, as where only tables are archived."""
        return not self.features and not features_file(self.folder).exists() and not self.pictures.exists()

    @property
    def networks(self) -> list[str]:
        """The feature networks that its configuration asks for."""
        return ["restored"] if self.exact else self.metrics("features")

    def metrics(self, key: str) -> list[str]:
        """Names that the metrics' configuration lists under a key."""
        metrics = {} if isinstance(self.config, Unreadable) else self.config.get("metrics")
        listed = metrics.get(key) if isinstance(metrics, Mapping) else None
        return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def read_picture(file: Path, sha256: str = "", size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels of a PNG, (H, W, 3) uint8, read with all the doubt that it deserves.

    Args:
        file: the PNG.
        sha256: that its bytes must have; empty: not on record, its own checksums have to do.
        size: width and height that it must have; None: any.

    Raises:
        InputError: what is wrong with it, in words that follow its name.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})", ""
        ) from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise InputError("is not the picture that was saved: its sha256 is another", "")
    try:
        if not sha256:
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
        return np.asarray(decode(data, "", sizes=[size] if size else ()))
    except InputError as error:
        raise InputError(error.problem.removeprefix("image  "), "") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("is no whole PNG", "") from error
