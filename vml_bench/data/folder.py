"""A folder of images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vml_bench.data.decode import decode
from vml_bench.data.selection import check_first, read_ids, take_first
from vml_bench.data.stored import StoredImages, find_images
from vml_bench.errors import InputError


class ImageFolder(StoredImages):
    """RGB images of one size in a folder, in the natural order of their names; an id is a name without suffix.

    Args:
        root: the folder; its subfolders are not searched.
        image_shape: (C, H, W) that every image must have, C = 3; None: that of the first image.
        name: name under which results are filed.
        first: the first n images; None: all.
        list: text file of ids to use instead of the first n, see `read_ids`.

    Raises:
        InputError: no such folder, no image in it, two images with one id, or an option that cannot be used.
    """

    def __init__(
        self,
        root: str | Path,
        image_shape: Sequence[int] | None,
        name: str,
        first: int | None = None,
        list: str | Path | None = None,
    ) -> None:
        check_first(first)
        found = find_images(name, root, subfolders=False)
        if not found:
            raise InputError(f"data set '{name}': {root} holds no images", "set dataset.root to the folder of images")
        ids = read_ids(list) if list else take_first(name, tuple(found), first)
        super().__init__(name, image_shape or (3, 0, 0), found, ids)
        if image_shape is None:
            width, height = self.prepare(self._read(self.ids[0]), str(found[self.ids[0]])).size
            self.image_shape = (3, height, width)

    def prepare(self, data: bytes, label: str) -> Image.Image:
        _, height, width = self.image_shape
        return decode(data, label, sizes=[(width, height)] if height else ())
