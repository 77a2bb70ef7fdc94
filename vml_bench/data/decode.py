"""Decodes a stored image; one that cannot be used is refused by its header, before it is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection

from PIL import Image, ImageOps

from vml_bench.errors import InputError

MAX_PIXELS = 100_000_000
"""Most pixels an image may have; an H×W×3 array of that size takes 300 MB."""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
"""Formats that are accepted, whatever the file's suffix; for others (EPS) Pillow would start another program."""

ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values that exchange width and height."""
DEPTH_IN_PNG = 24
"""Where in a PNG the byte lies that says how many bits a channel has."""

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
    data: bytes,
    label: str,
    modes: Collection[str] = ("RGB",),
    sizes: Collection[tuple[int, int]] = (),
    upright: bool = False,
    grey: bool = False,
) -> Image.Image:
    """Decode one image; size and mode are checked by the header alone.

    Args:
        data: the encoded image.
        label: how errors name it.
        modes: Pillow's modes that are accepted; any other than what is returned is converted by `Image.convert`.
        sizes: (width, height) that are accepted, as it is returned; empty: any up to `MAX_PIXELS`.
        upright: whether the orientation that a camera noted (EXIF) is followed. The programs whose data sets this
            project reads do not.
        grey: whether it is returned in Pillow's mode "L" (ITU-R 601 luma) instead of "RGB".

    Raises:
        InputError: not an image, truncated, too large, of another size or mode, of 16 bits per channel, which Pillow
            would cut to 8, or of several pages.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused below
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                turned = upright and image.getexif().get(ORIENTATION, 1) in SIDEWAYS
                check_header(image, label, modes, [size[::-1] for size in sizes] if turned else sizes)
                check_depth(image, data, label)
                image.load()
                image = ImageOps.exif_transpose(image) if upright else image
                return image.convert("L" if grey else "RGB")
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


def check_depth(image: Image.Image, data: bytes, label: str) -> None:
    """Refuse what Pillow would drop without a word: half of 16 bits per channel in colour, and further pages.

    Raises:
        InputError: names what it has too much of.
    """
    if image.format == "PNG" and image.mode.startswith("RGB") and data[DEPTH_IN_PNG] == 16:
        raise InputError(f"image {label} has 16 bits per channel", "convert it to 8 bits, or remove it")
    if (pages := getattr(image, "n_frames", 1)) > 1:
        raise InputError(f"image {label} has {pages} pages", "save one of them as an image of its own, or remove it")
