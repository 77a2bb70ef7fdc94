"""Noise that belongs to an image: the same in any batch, any shard, on any device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def image_generator(seed: int, image_id: str, purpose: str) -> torch.Generator:
    """A CPU generator seeded by (seed, image id, purpose).

    Args:
        seed: the run's seed.
        image_id: the image.
        purpose: what the noise is for ("measurement", "method", "mask" …), so that streams never meet.
    """
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{image_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class ImageNoise:
    """Standard normal noise for a batch, each image's from its own stream.

    Args:
        seed: the run's seed.
        image_ids: ids of the images in the batch, in order.
        purpose: see `image_generator`.
    """

    def __init__(self, seed: int, image_ids: Iterable[str], purpose: str) -> None:
        self._generators = [image_generator(seed, image_id, purpose) for image_id in image_ids]

    def randn_like(self, x: Tensor) -> Tensor:
        """Draw N(0, I) of x's shape (B, …), dtype and device; drawn in float32 on the CPU, image by image."""
        if x.shape[0] != len(self._generators):
            raise ValueError(f"{len(self._generators)} images have noise here, but the batch holds {x.shape[0]}")
        drawn = [torch.randn(x.shape[1:], generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(device=x.device, dtype=x.dtype)
