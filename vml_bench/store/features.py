"""Features of the pictures on disk: read, and completed where a convention's features were not stored yet.

A run keeps its features as it goes. What is computed later, from pictures, lies beside them in a file of its own, so
that completing features never rewrites a run's own file, and a run that goes on never loses what was completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    return [
        *([parts.features_file(folder)] if parts.features_file(folder).is_file() else []),
        *completed_files(folder),
        *parts.part_files(folder),
    ]


def completed_files(folder: Path) -> list[Path]:
    """The files of features that were computed later."""
    return sorted(folder.glob(layout.COMPLETED.format(network="*")))


def read_features(folder: Path) -> Features:
    """Read a folder's features, merged or not, and those computed later; without any, there are no networks.

    Raises:
        One of `vml_bench.store.parts.DAMAGED`: a file is damaged.
    """
    vectors = parts.read_features(folder)
    for file in completed_files(folder):
        for network, completed in parts.read_merged_features(file).items():
            vectors[network] = {**vectors.get(network, {}), **completed}
    return Features(vectors)


class Originals:
    """Features of a data set's originals, read when they are first needed.

    Args:
        folder: the folder of the originals.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem = ""
        """Why there are none, where they could not be read."""

    @cached_property
    def features(self) -> Features:
        """The features; without any network where they are damaged."""
        try:
            return read_features(self.folder)
        except parts.DAMAGED as error:
            self.problem = f"reference features left out: {error}"
            return Features({})


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
    if file.is_file():
        with np.load(file, allow_pickle=False) as stored:
            new = dict(zip(map(str, stored["ids"]), stored[network], strict=True)) | new
    with replacing(file) as partial:
        np.savez(partial, ids=np.array(list(new)), **{network: np.stack(list(new.values()))})
    return read_features(folder)
