"""Features of the pictures on disk: read, and completed where a convention's features were not stored yet.

A run keeps its features as it goes. What is computed later, from pictures, lies beside them in a file of its own, so
that completing features never rewrites a run's own file, and a run that goes on never loses what was completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from vml_bench.data.images import read_picture
from vml_bench.files import replacing
from vml_bench.store import layout, parts

Extract = Callable[[Tensor], np.ndarray]
"""Features of one picture: (1, 3, H, W) in [-1, 1] -> (1, d)."""


@dataclass(frozen=True)
class Features:
    """Features by network and image id.

    Attributes:
        vectors: for each network and image id (d,).
    """

    vectors: dict[str, dict[str, np.ndarray]]

    def missing(self, network: str, ids: Iterable[str]) -> list[str]:
        """Those of `ids` whose features by a network are not here, in order."""
        known = self.vectors.get(network, {})
        return [image_id for image_id in ids if image_id not in known]

    def rows(self, network: str, ids: Sequence[str]) -> np.ndarray:
        """The features of `ids`, in that order: (len(ids), d)."""
        return np.stack([self.vectors[network][image_id] for image_id in ids])


def feature_files(folder: Path) -> list[Path]:
    """The files that a folder's features lie in."""
    merged = parts.features_file(folder)
    return [*([merged] if merged.is_file() else []), *completed_files(folder), *parts.part_files(folder)]


def completed_files(folder: Path) -> list[Path]:
    """The files of features that were computed later."""
    return sorted(folder.glob(layout.COMPLETED.format(network="*")))


def read_features(folder: Path) -> Features:
    """Read a folder's features, merged or not, and those computed later; raises one of `parts.DAMAGED`."""
    completed = map(parts.read_merged_features, completed_files(folder))
    return Features(parts.pooled([parts.read_features(folder), *completed]))


def read_originals(folder: Path) -> tuple[Features, str]:
    """The features of a data set's originals; where they are damaged, none, and a line that says why."""
    try:
        return read_features(folder), ""
    except parts.DAMAGED as error:
        return Features({}), f"reference features left out: {error}"


def complete_features(
    folder: Path, network: str, pictures: dict[str, Path], extract: Extract, label: str = ""
) -> Features:
    """Compute what is missing of a network's features in a folder, keep it there, and return all features.

    Args:
        folder: a run's folder, or that of its originals.
        network: name of the feature network.
        pictures: file of each image that must have features.
        extract: the network.
        label: shown beside the progress bar.

    Raises:
        InputError: a picture cannot be read.
    """
    features = read_features(folder)
    todo = features.missing(network, pictures)
    if not todo:
        return features
    bar = tqdm(todo, desc=label or network, unit="img", leave=False)
    new = {image_id: extract(read_picture(pictures[image_id])[None])[0] for image_id in bar}
    file = folder / layout.COMPLETED.format(network=network)
    new = parts.read_merged_features(file).get(network, {}) | new
    with replacing(file) as partial:
        np.savez(partial, ids=np.array(list(new)), **{network: np.stack(list(new.values()))})
    return read_features(folder)
