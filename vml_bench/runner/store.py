"""What a run leaves on disk, written so that it can be stopped at any moment and continued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from vml_bench.data.images import save_png
from vml_bench.errors import InputError
from vml_bench.files import replacing


def write_json(path: Path, content: dict) -> None:
    """Write a dictionary as indented JSON, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


class FeatureFile:
    """Metric features by image id in one npz: "ids" (n,) and, for each extractor, an array (n, d).

    Args:
        path: the npz; may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, dict[str, np.ndarray]] = {}
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                names = [name for name in stored.files if name != "ids"]
                arrays = {name: stored[name] for name in names}
                for i, image_id in enumerate(stored["ids"]):
                    self._rows[str(image_id)] = {name: arrays[name][i] for name in names}

    def has(self, image_id: str, networks: Sequence[str]) -> bool:
        """Whether the features of an image by all of `networks` are here."""
        return self._rows.get(image_id, {}).keys() >= set(networks)

    def rows(self, network: str, image_ids: Sequence[str]) -> np.ndarray:
        """The features of images by one network, in that order: (len(image_ids), d)."""
        return np.stack([self._rows[image_id][network] for image_id in image_ids])

    def add(self, image_ids: Sequence[str], features: dict[str, np.ndarray]) -> None:
        """Hold the features (B, d) of a batch; `write` puts them on disk."""
        for i, image_id in enumerate(image_ids):
            self._rows[image_id] = {name: values[i] for name, values in features.items()}

    def write(self, order: Sequence[str]) -> None:
        """Write all rows, in the order of `order`, ids it does not name last."""
        known = [image_id for image_id in order if image_id in self._rows]
        known += sorted(self._rows.keys() - set(known))
        if not known:
            return
        arrays = {name: np.stack([self._rows[image_id][name] for image_id in known]) for name in self._rows[known[0]]}
        with replacing(self.path) as partial:
            np.savez(partial, ids=np.array(known), **arrays)


class RunStore:
    """The folder of one run: reconstructions, features and rows.

    An image's row is its commit mark: it is written after its PNG and its features, so an image without
    a row was not finished and is done again.

    Args:
        folder: results/runs/<dataset>/<task>/<method>/<run>.
        order: all image ids of the data set; rows are kept in this order.

    Raises:
        InputError: the rows on disk cannot be read.
    """

    def __init__(self, folder: Path, order: Sequence[str]) -> None:
        self.folder = folder
        self._order = {image_id: position for position, image_id in enumerate(order)}
        self._table = folder / "images.parquet"
        self._scenes = folder / "oracle.parquet"
        self.features = FeatureFile(folder / "features.npz")
        self._rows: dict[str, dict] = {row["image_id"]: row for row in self._read(self._table)}

    def _read(self, table: Path) -> list[dict]:
        if not table.is_file():
            return []
        try:
            return pd.read_parquet(table).to_dict("records")
        except (OSError, ValueError) as error:
            raise InputError(f"{table} cannot be read ({error})", f"remove {self.folder} to run it again") from error

    def healthy(self) -> list[str]:
        """Ids of the finished images that did not diverge, in the data set's order."""
        return [row["image_id"] for row in self._ordered() if row["status"] == "ok"]

    def scenes(self) -> dict[str, dict]:
        """The rows of oracle.parquet by scene; empty where there is none."""
        return {row["scene"]: row for row in self._read(self._scenes)}

    def commit_scenes(self, rows: Sequence[dict]) -> None:
        """Write oracle.parquet, a row a scene; removed where no scene has a row."""
        if not rows:
            self._scenes.unlink(missing_ok=True)
            return
        with replacing(self._scenes) as partial:
            pd.DataFrame(rows).to_parquet(partial, index=False)

    def write_answers(self, arrays: dict[str, np.ndarray]) -> None:
        """Write posterior.npz, the exact answers that figures show."""
        with replacing(self.folder / "posterior.npz") as partial:
            np.savez(partial, **arrays)

    def _ordered(self) -> list[dict]:
        return sorted(
            self._rows.values(), key=lambda row: (self._order.get(row["image_id"], len(self._order)), row["image_id"])
        )

    def pending(self, image_ids: Sequence[str]) -> list[str]:
        """Those of `image_ids` that have no row yet, in order."""
        return [image_id for image_id in image_ids if image_id not in self._rows]

    def reconstruction(self, image_id: str) -> Path:
        """Where the reconstruction of an image lies, or will."""
        return self.folder / "recon" / f"{image_id}.png"

    def save_image(self, image_id: str, image: Tensor) -> None:
        """Write one reconstruction (3, H, W), clipped to [-1, 1], as 8-bit PNG."""
        save_png(image, self.reconstruction(image_id))

    def commit(self, rows: Sequence[dict]) -> None:
        """Add finished images' rows (after their pictures and features) and write the table."""
        self._rows.update({row["image_id"]: row for row in rows})
        self.features.write(list(self._order))
        with replacing(self._table) as partial:
            pd.DataFrame(self._ordered()).to_parquet(partial, index=False)
