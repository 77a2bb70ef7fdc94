"""Reading one PNG with all the doubt that it deserves, its name included."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from vml_bench.data.decode import decode
from vml_bench.errors import InputError

Size = tuple[int, int]
"""Width and height."""


def read_picture(file: Path, size: Size | None = None, digest: str = "") -> np.ndarray:
    """The pixels of a PNG, (H, W, 3) uint8.

    Args:
        file: the PNG.
        size: that it must have; None: any.
        digest: sha256 that its bytes must have; empty: not on record, its own checksums have to do.

    Raises:
        InputError: what is wrong with it, in words that follow its name.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})", ""
        ) from error
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise InputError("is not the picture that was saved: its sha256 is another", "")
    try:
        if not digest:
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
        return np.asarray(decode(data, "", sizes=[size] if size else ()))
    except InputError as error:
        raise InputError(error.problem.removeprefix("image  "), "") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("is no whole PNG", "") from error


def is_file_name(image_id: str) -> bool:
    """Whether an image id names a file in a folder, and none outside it."""
    return bool(image_id) and image_id == Path(image_id).name and image_id.isprintable() and "\\" not in image_id
