"""8-bit images on one side, tensors in [-1, 1] on the other."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.files import replacing


def from_uint8(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) or (H, W) uint8 -> (3, H, W) or (1, H, W) float32 in [-1, 1], by x / 127.5 − 1."""
    return torch.from_numpy(np.atleast_3d(np.array(pixels))).permute(2, 0, 1).float() / 127.5 - 1


def to_uint8(image: Tensor) -> np.ndarray:
    """(3, H, W), or grey (1, H, W), in [-1, 1] -> (H, W, 3) uint8: clipped, then rounded to the nearest level."""
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(1, 2, 0).expand(-1, -1, 3).cpu().numpy()


def save_png(image: Tensor, path: str | Path) -> str:
    """Write (3, H, W), or grey (1, H, W), in [-1, 1] as an 8-bit PNG, whole or not at all; returns its sha256."""
    encoded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(to_uint8(image))).save(encoded, format="png")
    with replacing(path) as partial:
        partial.write_bytes(encoded.getbuffer())
    return hashlib.sha256(encoded.getbuffer()).hexdigest()


def as_saved(images: Tensor) -> Tensor:
    """What a batch (B, 3, H, W) becomes when it is saved and read again: clipped to [-1, 1], 256 levels."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def read_picture(file: Path) -> Tensor:
    """An 8-bit picture as (3, H, W) in [-1, 1].

    Raises:
        InputError: it is missing or cannot be read.
    """
    try:
        with Image.open(file, formats=("PNG",)) as image:
            return from_uint8(np.asarray(image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"the picture {file} cannot be read ({error})", "run its cell again") from error
