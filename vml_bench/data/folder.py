"""A folder of images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vml_bench.data.decode import decode
from vml_bench.data.stored import StoredImages, find_images
from vml_bench.errors import InputError


class ImageFolder(StoredImages):
    """RGB images of one size in a folder, in the natural order of their names; an id is a name without suffix.

    Args:
        root: the folder; looked at one level deep.
        image_shape: (C, H, W) that every image must have; C is 3.
        name: name under which results are filed.

    Raises:
        InputError: no such folder, no image in it, or two images with one id.
    """

    def __init__(self, root: str | Path, image_shape: Sequence[int], name: str) -> None:
        found = find_images(name, root, subfolders=False)
        if not found:
            raise InputError(f"data set '{name}': {root} holds no images", "set dataset.root to the folder of images")
        super().__init__(name, image_shape, found)

    def prepare(self, data: bytes, label: str) -> Image.Image:
        _, height, width = self.image_shape
        return decode(data, label, sizes=[(width, height)])
