"""A run's folder, or that of a data set's originals: pictures, rows and features, image by image.

A batch's part is its commit mark: it is written after its pictures, so an image without a row was not finished and is
done again. What does not hold when a store is opened, be it a truncated picture or a damaged table, is done again too.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from torch import Tensor

from vml_bench.data.images import save_png
from vml_bench.files import replacing, sha256
from vml_bench.store import layout
from vml_bench.store.locks import ImageLocks
from vml_bench.store.parts import (
    DAMAGED,
    Vectors,
    features_file,
    part_files,
    read_features,
    read_merged_features,
    read_part,
    read_rows,
    table,
    write_merged,
    write_part,
)

MERGE_AT = 512
"""Parts that are merged before a start has ended: 8,192 images at 16 a batch."""


class Store:
    """Images finished so far, by any process.

    Args:
        folder: a run's, or that of a data set's originals.
        order: all image ids of the data set; merged rows are kept in this order.
        networks: whose features every image that did not diverge must have.
        pictures: folder of the pictures within `folder`.
    """

    def __init__(
        self, folder: Path, order: Sequence[str], networks: Sequence[str] = (), pictures: str = layout.PICTURES
    ) -> None:
        self.folder = folder
        self._required = networks
        self._pictures = folder / pictures
        self._position = {image_id: position for position, image_id in enumerate(order)}
        self._order = order
        self._networks: dict[str, set[str]] = {}
        self._seen: dict[str, tuple[int, ...]] = {}
        self._sha256: dict[str, str] = {}
        self._locks: ImageLocks | None = None

    def open(self) -> Store:
        """See what is on disk and bring it in order.

        Parts are merged, damaged files set aside, and rows that do not hold forgotten.
        """
        with self.alone():
            self._set_aside_damaged()
            parts = part_files(self.folder)
            rows, features = read_rows(self.folder), read_features(self.folder)
            good = rows[[self._holds(row, features) for row in rows.to_dict("records")]] if len(rows) else rows
            if dropped := len(rows) - len(good):
                print(f"{self.folder}: {dropped} images do not hold what their rows say; done again", file=sys.stderr)
            if dropped or parts:
                self._write(good, features, parts)
        self.refresh()
        return self

    def close(self) -> None:
        """Give up this process's image locks."""
        if self._locks is not None:
            self._locks.close()
            self._locks = None

    def __enter__(self) -> Store:
        return self.open()

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from merging, and from all else that is done under this lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / layout.LOCK):
            yield

    def refresh(self) -> None:
        """Learn which images are finished by now."""
        for file in [*part_files(self.folder), table(self.folder)]:
            with suppress(FileNotFoundError):  # merged since it was listed, or not there yet
                if self._seen.get(file.name) != (signature := _signature(file)):
                    part, merged = read_part(file), file == table(self.folder)
                    features = read_merged_features(features_file(self.folder)) if merged else part.features
                    self._learn(part.rows["image_id"], features)
                    self._seen[file.name] = signature

    def _learn(self, image_ids: Sequence[str], features: Vectors) -> None:
        for image_id in image_ids:
            known = self._networks.setdefault(image_id, set())
            known.update(network for network, vectors in features.items() if image_id in vectors)

    def finished(self, image_ids: Sequence[str], networks: Sequence[str] = ()) -> list[str]:
        """Those of `image_ids` that are finished, with features of all of `networks`, in order."""
        wanted = set(networks)
        return [i for i in image_ids if i in self._networks and wanted <= self._networks[i]]

    def pending(self, image_ids: Sequence[str], networks: Sequence[str] = ()) -> list[str]:
        """Those of `image_ids` that `finished` leaves out, in order."""
        done = set(self.finished(image_ids, networks))
        return [image_id for image_id in image_ids if image_id not in done]

    def claim(self, image_ids: Sequence[str], size: int) -> list[str]:
        """Claim up to `size` images that are pending and that no other process works on; none if there are none."""
        if self._locks is None:
            self._locks = ImageLocks(self.folder / layout.LOCKS, self._order)
        while taken := self._locks.take(self.pending(image_ids), size):
            self.refresh()  # another process may have finished them between our last look and our claim
            if done := self.finished(taken):
                self._locks.release(done)
            if len(done) < len(taken):
                return self.pending(taken)
        return []

    def save_image(self, image_id: str, image: Tensor) -> None:
        """Write one picture (3, H, W), clipped to [-1, 1], as 8-bit PNG; its hash goes into its row."""
        self._sha256[image_id] = save_png(image, self.picture(image_id))

    def picture(self, image_id: str) -> Path:
        """Where the picture of an image lies, or will."""
        return layout.picture(self._pictures, image_id)

    def commit(self, rows: Sequence[Mapping], features: Vectors) -> None:
        """Add finished images, after their pictures, as a part; and give up the locks on them."""
        ids = [row["image_id"] for row in rows]
        with_hash = [{**row, "sha256": self._sha256.pop(row["image_id"], row.get("sha256", ""))} for row in rows]
        digest = hashlib.sha256("\n".join([*ids, *sorted(features)]).encode()).hexdigest()[:8]
        name = f"{self._position.get(ids[0], 0):06d}-{digest}.parquet"
        write_part(self.folder / layout.PARTS / name, with_hash, features)
        self._learn(ids, features)
        if self._locks is not None:
            self._locks.release(ids)
        if len(part_files(self.folder)) >= MERGE_AT:
            self.merge()

    def merge(self) -> None:
        """Bring all parts into the merged table and features."""
        with self.alone():
            if parts := part_files(self.folder):
                self._write(read_rows(self.folder), read_features(self.folder), parts)

    def rows(self) -> list[dict]:
        """All rows, in the data set's order."""
        return self._sorted(read_rows(self.folder)).to_dict("records")

    def scenes(self) -> list[dict]:
        """One row per scene; empty where there are none, or where their table is damaged."""
        try:
            return pd.read_parquet(self.folder / layout.SCENES).to_dict("records")
        except DAMAGED:
            return []

    def write_scenes(self, rows: Sequence[Mapping]) -> None:
        """Write the table of scenes; removed where no scene has a row."""
        file = self.folder / layout.SCENES
        if not rows:
            file.unlink(missing_ok=True)
            return
        with replacing(file, durable=True) as partial:
            pd.DataFrame(rows).to_parquet(partial, index=False)

    def features(self, network: str) -> Mapping[str, np.ndarray]:
        """The features (d,) of all images by one network; none where there are none."""
        return read_features(self.folder).get(network, {})

    def _sorted(self, rows: pd.DataFrame) -> pd.DataFrame:
        last = len(self._position)
        keys = [(self._position.get(image_id, last), image_id) for image_id in rows["image_id"]]
        return rows.iloc[sorted(range(len(rows)), key=keys.__getitem__)]

    def _write(self, rows: pd.DataFrame, features: Vectors, parts: Sequence[Path]) -> None:
        """Write the merged files, then remove the parts that were there before they were read; `alone` only.

        Other processes add parts meanwhile: those stay.
        """
        if len(rows):
            write_merged(self.folder, self._sorted(rows), features)
            gone = parts
        else:
            gone = [table(self.folder), features_file(self.folder), *parts]
        for file in gone:
            file.unlink(missing_ok=True)

    def _holds(self, row: Mapping, features: Vectors) -> bool:
        """Whether the picture and the features of a finished image are what they were."""
        image_id, recorded = row["image_id"], row.get("sha256")
        needed = self._required if row.get("status", layout.OK) == layout.OK else ()
        if any(image_id not in features.get(network, ()) for network in needed):
            return False
        if not isinstance(recorded, str) or not recorded:
            return True
        picture = self.picture(image_id)
        return picture.is_file() and sha256(picture) == recorded

    def _set_aside_damaged(self) -> None:
        for file in [*part_files(self.folder), table(self.folder), features_file(self.folder)]:
            try:
                (read_merged_features if file.name == layout.FEATURES else read_part)(file)
            except FileNotFoundError:
                continue
            except PermissionError:
                raise
            except DAMAGED as error:
                aside = file.with_name(f"{file.name}.damaged")
                os.replace(file, aside)
                what = f"is damaged ({error}); set aside as {aside.name}, its images are done again"
                print(f"{file} {what}", file=sys.stderr)


def _signature(file: Path) -> tuple[int, ...]:
    """What changes when a file is written anew, whatever the clock says."""
    status = os.stat(file)
    return status.st_ino, status.st_size, status.st_mtime_ns
