"""A folder of images of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vml_bench.data.base import ImageSet
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}


class ImageFolder(ImageSet):
    """RGB images of one size in a folder, in the order of their names; an image's id is its name without suffix.

    Args:
        root: the folder; looked at one level deep.
        image_shape: (C, H, W) that every image must have; C is 3.
        name: name under which results are filed.

    Raises:
        InputError: no such folder, no image in it, or two images with one id.
    """

    def __init__(self, root: str | Path, image_shape: tuple[int, int, int], name: str) -> None:
        self.name = name
        self.image_shape = tuple(image_shape)
        root = Path(root)
        if not root.is_dir():
            raise InputError(f"data set '{name}': {root} is not a folder", "set dataset.root to the folder of images")
        files = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(f"data set '{name}': {root} holds no images", "set dataset.root to the folder of images")
        self._files: dict[str, Path] = {}
        for file in files:
            if file.stem in self._files:
                raise InputError(
                    f"data set '{name}': {file.name} and {self._files[file.stem].name} would share an id",
                    "rename or remove one of them",
                )
            self._files[file.stem] = file
        self.ids = tuple(self._files)

    def load(self, image_id: str) -> Tensor:
        file = self._files[image_id]
        try:
            with Image.open(file) as image:
                image.load()
                mode, pixels = image.mode, np.asarray(image)
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise InputError(f"image {file} cannot be read ({error})", "replace the file or remove it") from error
        if mode != "RGB":
            raise InputError(f"image {file} has mode {mode}, not RGB", "convert it to RGB or remove it")
        height, width = self.image_shape[1:]
        if pixels.shape[:2] != (height, width):
            raise InputError(
                f"image {file} is {pixels.shape[1]}×{pixels.shape[0]} pixels, not {width}×{height}",
                "resize it or set dataset.image_shape",
            )
        return from_uint8(pixels)
