"""ImageNet's validation images at 256×256, prepared as guided-diffusion does."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vml_bench.data.decode import decode
from vml_bench.data.resize import centre_crop
from vml_bench.data.selection import read_ids, take_first
from vml_bench.data.stored import StoredImages, find_images

SIDE = 256
MODES = ("RGB", "L", "CMYK")
"""ImageNet holds greyscale and CMYK JPEGs; they become RGB by Pillow's convert, as in guided-diffusion."""


class ImageNet(StoredImages):
    """ILSVRC 2012 validation images, halved by box, bicubic to 256 on the short side, centre-cropped.

    Source: Dhariwal and Nichol 2021, guided-diffusion, image_datasets.py. An id is a file's name without suffix
    (ILSVRC2012_val_00000293), whatever folder it lies in.

    Args:
        root: folder of the images, flat or by class (n01440764/ILSVRC2012_val_00000293.JPEG).
        first: the first n by name; None: all.
        list: text file of ids to use instead of the first n, see `read_ids`.
        name: name under which results are filed.

    Raises:
        InputError: no such folder, fewer images than `first`, two with one id, an option that cannot be used.
    """

    def __init__(
        self,
        root: str | Path,
        first: int | None = 100,
        list: str | Path | None = None,
        name: str = "imagenet256",
    ) -> None:
        found = find_images(name, root)
        super().__init__(
            name, (3, SIDE, SIDE), found, read_ids(list) if list else take_first(name, tuple(found), first)
        )

    def prepare(self, data: bytes, label: str) -> Image.Image:
        return centre_crop(decode(data, label, modes=MODES), SIDE, label)
