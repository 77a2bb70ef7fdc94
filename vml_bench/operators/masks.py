"""Denoising and inpainting: V = I, and each pixel is either seen or missing.

A measurement has the image's shape and is 0 where the image is unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError
from vml_bench.noise import image_generator
from vml_bench.operators.base import SpectralOperator, as_pair, check_image_shape


class Mask(SpectralOperator):
    """A fixed set of seen pixels.

    Args:
        image_shape: (C, H, W).
        seen: true where a pixel is seen, of any shape that broadcasts to (C, H, W).
        dtype: of the operator's tensors.
    """

    def __init__(self, image_shape: Sequence[int], seen: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.singular_values = seen.to(dtype).expand(self.image_shape).contiguous()

    def to_spectrum(self, x: Tensor) -> Tensor:
        return x

    def from_spectrum(self, c: Tensor) -> Tensor:
        return c

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        return self.on_support(y)

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        return self.on_support(c)

    def observed(self, y: Tensor) -> Tensor:
        return self.on_support(y)


class Denoise(Mask):
    """H = I: every pixel seen, under noise."""

    def __init__(self, image_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        image_shape = check_image_shape(image_shape)
        super().__init__(image_shape, torch.ones(image_shape), dtype)


class InpaintHalf(Mask):
    """One half of the image is missing; the smaller half if the side is odd.

    Args:
        image_shape: (C, H, W).
        missing: "right", "left", "top" or "bottom"; papers seldom say which.
        dtype: of the operator's tensors.

    Raises:
        InputError: another `missing`, or a side that is one pixel long.
    """

    def __init__(self, image_shape: Sequence[int], missing: str = "right", dtype: torch.dtype = torch.float32) -> None:
        _, height, width = check_image_shape(image_shape)
        if missing not in ("right", "left", "top", "bottom"):
            raise InputError(f"an image has no half '{missing}'", "use task.operator.missing=right|left|top|bottom")
        side = width if missing in ("right", "left") else height
        if side < 2:
            raise InputError(f"a side of {side} pixel has no halves", "use images of at least 2×2 pixels")
        seen = torch.arange(side) < side - side // 2
        seen = seen if missing in ("right", "bottom") else seen.flip(0)
        super().__init__(image_shape, seen if missing in ("right", "left") else seen[:, None], dtype)


class InpaintBox(Mask):
    """A central square is missing.

    Args:
        image_shape: (C, H, W).
        fraction: the square's side over the image's shorter side, in (0, 1); rounded to whole pixels.
        dtype: of the operator's tensors.

    Raises:
        InputError: `fraction` leaves no pixel to restore or none to see.
    """

    def __init__(self, image_shape: Sequence[int], fraction: float = 0.5, dtype: torch.dtype = torch.float32) -> None:
        _, height, width = check_image_shape(image_shape)
        side = round(fraction * min(height, width))
        if not (0 < fraction < 1 and 0 < side < max(height, width)):
            raise InputError(
                f"a box of fraction={fraction} in {height}×{width} pixels leaves nothing to restore or nothing to see",
                "give task.operator.fraction a number between 0 and 1, such as 0.5",
            )
        top, left = (height - side) // 2, (width - side) // 2
        seen = torch.ones(height, width)
        seen[top : top + side, left : left + side] = 0
        super().__init__(image_shape, seen, dtype)


class InpaintRandom(Mask):
    """Random pixels are missing in all channels, different ones in each image.

    An image's mask depends only on the seed and its id (`vml_bench.noise.image_generator`, purpose
    "mask"), so `for_images` must be called before anything else.

    Args:
        image_shape: (C, H, W).
        ratio: fraction missing in [0, 1); round((1 − ratio) · H · W) pixels are kept exactly. Or a pair
            (low, high) from which each image's ratio is drawn uniformly, as DPS does.
        dtype: of the operator's tensors.

    Raises:
        InputError: `ratio` lies outside [0, 1) or leaves no pixel.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        ratio: float | Sequence[float] = 0.7,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.ratio = low, high = as_pair("ratio", ratio)
        if not 0 <= low <= high < 1:
            raise InputError(f"ratio={ratio} is not a fraction of missing pixels", "give task.operator.ratio in [0, 1)")
        if self._kept(high) == 0:
            raise InputError(f"ratio={ratio} leaves no pixel of {self.image_shape}", "lower task.operator.ratio")
        self._like = torch.empty(0, dtype=dtype)

    def __getattr__(self, name: str) -> Tensor:
        if name == "singular_values":
            raise AttributeError("each image has a mask of its own: call for_images(image_ids, seed) first")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def _kept(self, ratio: float) -> int:
        _, height, width = self.image_shape
        return round((1 - ratio) * height * width)

    def _draw(self, generator: torch.Generator) -> Tensor:
        _, height, width = self.image_shape
        low, high = self.ratio
        ratio = low + (high - low) * torch.rand((), generator=generator).item()
        seen = torch.zeros(height * width)
        seen[torch.randperm(height * width, generator=generator)[: self._kept(ratio)]] = 1
        return seen.reshape(1, height, width).expand(self.image_shape)

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """A copy whose singular values, (B, C, H, W), are the masks of the named images."""
        bound = self.to()
        masks = [self._draw(image_generator(seed, image_id, "mask")) for image_id in image_ids]
        bound.singular_values = torch.stack(masks).to(self._like)
        return bound
