"""How larger images are reduced to the data set's size; each rule is a published one."""

from __future__ import annotations

from typing import Literal

from PIL import Image

from vml_bench.data.decode import MAX_PIXELS, too_large

Reduction = Literal["box", "lanczos", "bicubic"]
"""Pillow's antialiased filters; "box" is guided-diffusion's repeated halving."""


def reduce_to(image: Image.Image, side: int, by: Reduction) -> Image.Image:
    """A square image reduced to side×side; for "box" its own side is side·2ⁿ."""
    if by == "box":
        return halve(image, side)
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling[by.upper()])


def halve(image: Image.Image, side: int) -> Image.Image:
    """Halve by the mean of each 2×2 block, in 8 bits, while the short side is at least twice `side`."""
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    return image


def centre_crop(image: Image.Image, side: int, label: str) -> Image.Image:
    """guided-diffusion's preparation (Dhariwal and Nichol 2021, image_datasets.py, center_crop_arr).

    Halve by box averages while the short side is at least twice `side`; then bicubic, so that the short side is
    `side`; then the central square.

    Raises:
        InputError: it is so long and narrow that the resized image would be too large.
    """
    image = halve(image, side)
    scale = side / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    if width * height > MAX_PIXELS:
        raise too_large(label, f"{image.width}×{image.height} pixels, {width}×{height} once its short side is {side}")
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))
