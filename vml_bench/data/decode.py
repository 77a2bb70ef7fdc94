"""Decodes a stored image to RGB; one that cannot be used is refused by its header, before it is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection

from PIL import Image

from vml_bench.errors import InputError

MAX_PIXELS = 100_000_000
"""Most pixels an image may have; an H×W×3 array of that size takes 300 MB."""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
"""Formats that are accepted, whatever the file's suffix; for others (EPS) Pillow would start another program."""

KINDS = {
    "1": "black and white",
    "L": "greyscale",
    "LA": "greyscale with transparency",
    "I;16": "16-bit greyscale",
    "P": "of indexed colours",
    "RGBA": "transparent",
    "CMYK": "in CMYK",
}


def decode(
    data: bytes, label: str, modes: Collection[str] = ("RGB",), sizes: Collection[tuple[int, int]] = ()
) -> Image.Image:
    """Decode one image as RGB; size and mode are checked by the header alone. EXIF rotation is not applied.

    Args:
        data: the encoded image.
        label: how errors name it.
        modes: Pillow's modes that are accepted; any but RGB is converted by `Image.convert`.
        sizes: (width, height) that are accepted; empty: any up to `MAX_PIXELS`.

    Raises:
        InputError: not an image, truncated, too large, of another size or another mode.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused below
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                check_header(image, label, modes, sizes)
                image.load()
                return image.convert("RGB")
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise too_large(label, str(error)) from error
    except Exception as error:  # what a broken or hostile file raises is up to its decoder
        said = " ".join(str(error).replace(" <_io.BytesIO object", "").split(" at 0x")[0].split())
        said = said or type(error).__name__
        raise InputError(f"image {label} cannot be read ({said})", "replace the file or remove it") from error


def too_large(label: str, size: str) -> InputError:
    """The refusal of an image of too many pixels."""
    return InputError(f"image {label} is too large to be a photograph ({size})", "replace the file or remove it")


def check_header(image: Image.Image, label: str, modes: Collection[str], sizes: Collection[tuple[int, int]]) -> None:
    """Refuse an opened but not yet decoded image by its size and mode.

    Raises:
        InputError: too large, of another size or another mode.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise too_large(label, f"{width}×{height} pixels")
    if sizes and (width, height) not in sizes:
        wanted = " or ".join(f"{w}×{h}" for w, h in sizes)
        raise InputError(
            f"image {label} is {width}×{height} pixels, not {wanted}", "replace it, or resize the data set"
        )
    if image.mode not in modes:
        raise InputError(
            f"image {label} is {KINDS.get(image.mode, 'of another kind')}: mode {image.mode}, not {' or '.join(modes)}",
            "convert it to RGB or remove it",
        )
