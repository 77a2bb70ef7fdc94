"""Photographs that come with installed scientific packages, cut into disjoint training, tuning and test crops.

scikit-image, scikit-learn and matplotlib install colour photographs. They are read where
those packages put them and never copied into this project. Each photograph is reduced by an
integer factor (box mean) so that a 64×64 crop shows an object rather than a texture, and is divided by
vertical lines into bands; a band belongs to one split, so no pixel of a test crop was ever seen in
training. Columns that no table row names belong to training.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vml_bench.contract import ImageSet
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.settings import checked

CROP = 64
FLATTEST = 0.012
"""A crop whose mean absolute difference between neighbouring pixels ([0, 1] grey) is below this is flat."""


@dataclass(frozen=True)
class Photo:
    """One photograph and its bands.

    Attributes:
        name: short name, the first part of its crops' ids.
        package: the installed package that carries it.
        path: file inside that package.
        factor: integer by which it is reduced before crops are cut.
        test: columns ``(start, stop)`` of the test band, in reduced pixels.
        tune: columns of the tuning band, or None.
    """

    name: str
    package: str
    path: str
    factor: int
    test: tuple[int, int]
    tune: tuple[int, int] | None = None

    def bands(self, split: str, width: int) -> list[tuple[int, int]]:
        """Columns of `split` ("train", "tune" or "test") in a reduced photograph `width` pixels wide."""
        if split == "test":
            return [self.test]
        if split == "tune":
            return [self.tune] if self.tune else []
        held_out = sorted(band for band in (self.test, self.tune) if band)
        edges = [0, *(edge for band in held_out for edge in band), width]
        return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


PHOTOS = (
    Photo("astronaut", "skimage", "data/astronaut.png", 2, test=(64, 192)),
    Photo("chelsea", "skimage", "data/chelsea.png", 1, test=(128, 256), tune=(256, 320)),
    Photo("coffee", "skimage", "data/coffee.png", 2, test=(92, 220)),
    Photo("motorcycle", "skimage", "data/motorcycle_left.png", 2, test=(64, 192), tune=(306, 370)),
    Photo("rocket", "skimage", "data/rocket.jpg", 2, test=(96, 224)),
    Photo("hubble", "skimage", "data/hubble_deep_field.jpg", 2, test=(0, 128), tune=(436, 500)),
    Photo("retina", "skimage", "data/retina.jpg", 4, test=(0, 128), tune=(288, 352)),
    Photo("ihc", "skimage", "data/ihc.png", 2, test=(64, 128), tune=(192, 256)),
    Photo("china", "sklearn", "datasets/images/china.jpg", 2, test=(64, 192), tune=(256, 320)),
    Photo("flower", "sklearn", "datasets/images/flower.jpg", 2, test=(85, 213), tune=(256, 320)),
    Photo("hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", 2, test=(64, 192)),
)


@cache
def read_photo(photo: Photo, reduced: bool = True) -> np.ndarray:
    """Read one photograph as (H, W, 3) uint8, reduced by its factor or at its own size."""
    spec = importlib.util.find_spec(photo.package)
    file = Path(spec.submodule_search_locations[0], photo.path) if spec else None
    if file is None or not file.is_file():
        raise InputError(
            f"photograph '{photo.name}' is not installed: {photo.package} lacks {photo.path}",
            "pip install --force-reinstall scikit-image scikit-learn matplotlib",
        )
    with Image.open(file) as image:
        rgb = image.convert("RGB")
        return np.asarray(rgb.reduce(photo.factor) if reduced and photo.factor > 1 else rgb)


def activity(crop: np.ndarray) -> float:
    """Mean absolute difference between neighbouring pixels of the grey crop, in [0, 1] units.

    Args:
        crop: (H, W, 3) uint8.
    """
    grey = crop.mean(axis=2) / 255
    return float((np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2)


@cache
def crop_table(split: str) -> tuple[tuple[str, Photo, int, int], ...]:
    """List the crops of a split as ``(image_id, photo, row, column)``, most detailed first.

    The split's bands are tiled by 64×64 crops without overlap; flat ones (see `FLATTEST`) are
    dropped; the rest is ordered by activity within a photograph and dealt out one photograph at a
    time, so that the first n crops always span as many photographs as they can.
    """
    hands = []
    for photo in PHOTOS:
        pixels = read_photo(photo)
        found = []
        for start, stop in photo.bands(split, pixels.shape[1]):
            for row in range(0, pixels.shape[0] - CROP + 1, CROP):
                for column in range(start, stop - CROP + 1, CROP):
                    score = activity(pixels[row : row + CROP, column : column + CROP])
                    if score >= FLATTEST:
                        found.append((score, row, column))
        found.sort(key=lambda crop: (-crop[0], crop[1], crop[2]))
        hands.append([(f"{photo.name}-{row:03d}-{column:03d}", photo, row, column) for _, row, column in found])
    deepest = max(map(len, hands))
    return tuple(hand[depth] for depth in range(deepest) for hand in hands if depth < len(hand))


class PhotoCrops(ImageSet):
    """The crops of one split of `photos64`.

    Args:
        split: "test" (reported results) or "tune" (choosing hyperparameters).
        name: name under which results are filed.
    """

    @checked
    def __init__(self, split: Literal["test", "tune"] = "test", name: str = "photos64") -> None:
        self.name = name
        self.split = split
        self._crops = {image_id: where for image_id, *where in crop_table(split)}
        self.ids = tuple(self._crops)
        self.image_shape = (3, CROP, CROP)

    def load(self, image_id: str) -> Tensor:
        photo, row, column = self._crops[image_id]
        return from_uint8(read_photo(photo)[row : row + CROP, column : column + CROP])


class TrainingCrops:
    """Random 64×64 training crops, drawn from the training bands at the photographs' full size.

    Half of the windows have exactly the scale of the test crops, the others any scale between the
    photograph's own and twice that of the test crops as far as the band is wide enough; each is
    reduced to 64×64 by area averaging, then flipped and rotated at random.

    Args:
        generator: source of all randomness.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.regions: list[tuple[Tensor, int]] = []
        self.photo_regions: list[list[int]] = []
        for photo in PHOTOS:
            native = from_uint8(read_photo(photo, reduced=False))
            bands = photo.bands("train", read_photo(photo).shape[1])
            self.photo_regions.append([])
            for start, stop in bands:
                region = native[:, :, start * photo.factor : stop * photo.factor]
                if min(region.shape[1:]) >= CROP:
                    self.photo_regions[-1].append(len(self.regions))
                    self.regions.append((region, photo.factor))

    def _integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def _crop(self) -> Tensor:
        candidates = self.photo_regions[self._integer(0, len(self.photo_regions) - 1)]
        areas = torch.tensor([float(self.regions[i][0][0].numel()) for i in candidates])
        region, factor = self.regions[candidates[int(torch.multinomial(areas, 1, generator=self.generator))]]
        largest = min(region.shape[1:])
        side = CROP * factor
        if side > largest or self._integer(0, 1):
            side = self._integer(CROP, min(2 * side, largest))
        row = self._integer(0, region.shape[1] - side)
        column = self._integer(0, region.shape[2] - side)
        window = region[:, row : row + side, column : column + side]
        crop = torch.nn.functional.interpolate(window[None], size=(CROP, CROP), mode="area")[0]
        if self._integer(0, 1):
            crop = crop.flip(-1)
        return torch.rot90(crop, self._integer(0, 3), dims=(-2, -1))

    def batch(self, size: int) -> Tensor:
        """Draw `size` crops: (size, 3, 64, 64) in [-1, 1]."""
        return torch.stack([self._crop() for _ in range(size)])
