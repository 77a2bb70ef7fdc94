"""Denoising and inpainting: V = I, and each pixel is either seen or missing.

A measurement has the image's shape. It is 0 where the image is unseen, unless noise is asked for there too, which is
left out of everything but y − H x itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.noise import image_generator
from vml_bench.operators.base import SpectralOperator, as_pair, check_image_shape

NoiseOnUnseen = Annotated[bool, AsBefore(False)]
Shared = Annotated[bool, AsBefore(False)]


class Mask(SpectralOperator):
    """A fixed set of seen pixels.

    Args:
        image_shape: (C, H, W).
        seen: true where a pixel is seen, of any shape that broadcasts to (C, H, W).
        dtype: of the operator's tensors.
        noise_on_unseen: whether y holds σ_y n where the image is unseen, instead of 0; so it does in the programs of
            DPS (sample_condition.py) and DAPS (forward_operator/__init__.py). Here DPS alone looks at it.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        seen: Tensor,
        dtype: torch.dtype = torch.float32,
        noise_on_unseen: NoiseOnUnseen = False,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.singular_values = seen.to(dtype).expand(self.image_shape).contiguous()
        self.noise_on_unseen = noise_on_unseen

    def to_spectrum(self, x: Tensor) -> Tensor:
        return x

    def from_spectrum(self, c: Tensor) -> Tensor:
        return c

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        return self.on_support(y)

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        return self.on_support(c)

    def observed(self, y: Tensor) -> Tensor:
        return y if self.noise_on_unseen else self.on_support(y)

    def picture(self, y: Tensor) -> Tensor:
        """The measurement as an image to look at, grey where nothing is seen."""
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
        noise_on_unseen: see `Mask`.

    Raises:
        InputError: another `missing`, or a side that is one pixel long.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        missing: str = "right",
        dtype: torch.dtype = torch.float32,
        noise_on_unseen: NoiseOnUnseen = False,
    ) -> None:
        _, height, width = check_image_shape(image_shape)
        if missing not in ("right", "left", "top", "bottom"):
            raise InputError(f"an image has no half '{missing}'", "use task.operator.missing=right|left|top|bottom")
        side = width if missing in ("right", "left") else height
        if side < 2:
            raise InputError(f"a side of {side} pixel has no halves", "use images of at least 2×2 pixels")
        seen = torch.arange(side) < side - side // 2
        seen = seen if missing in ("right", "bottom") else seen.flip(0)
        super().__init__(image_shape, seen if missing in ("right", "left") else seen[:, None], dtype, noise_on_unseen)


class InpaintBox(Mask):
    """A central square is missing.

    Args:
        image_shape: (C, H, W).
        fraction: the square's side over the image's shorter side, in (0, 1); rounded to whole pixels.
        dtype: of the operator's tensors.
        noise_on_unseen: see `Mask`.

    Raises:
        InputError: `fraction` leaves no pixel to restore or none to see.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        fraction: float = 0.5,
        dtype: torch.dtype = torch.float32,
        noise_on_unseen: NoiseOnUnseen = False,
    ) -> None:
        _, height, width = check_image_shape(image_shape)
        side = box_side(height, width, fraction)
        seen = all_but_box(height, width, side, (height - side) // 2, (width - side) // 2)
        super().__init__(image_shape, seen, dtype, noise_on_unseen)


class DrawnMask(Mask):
    """Pixels that are drawn: a mask for each image, or one for all.

    An image's mask depends only on the seed and its id (`vml_bench.noise.image_generator`, purpose "mask"), a shared
    one on the seed alone. `for_images` must be called before anything else.

    Args:
        image_shape: (C, H, W).
        dtype: of the operator's tensors.
        noise_on_unseen: see `Mask`.
        shared: whether all images have one mask.
    """

    def __init__(
        self, image_shape: Sequence[int], dtype: torch.dtype, noise_on_unseen: bool = False, shared: bool = False
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.noise_on_unseen = noise_on_unseen
        self.shared = shared
        self._like = torch.empty(0, dtype=dtype)

    def __getattr__(self, name: str) -> Tensor:
        if name == "singular_values":
            raise AttributeError("each image has a mask of its own: call for_images(image_ids, seed) first")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Tensor:
        """One mask, (H, W): 1 where a pixel is seen, 0 where it is missing."""

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """A copy whose singular values, (B, C, H, W), are the masks of the named images."""
        streams = [("", "shared mask") if self.shared else (image_id, "mask") for image_id in image_ids]
        masks = torch.stack([self.draw(image_generator(seed, *stream)) for stream in streams])
        bound = self.to()
        bound.singular_values = masks[:, None].expand(-1, *self.image_shape).to(self._like).contiguous()
        return bound


class InpaintRandomBox(DrawnMask):
    """A square at a random place is missing, as in the programs of DPS and DAPS.

    Its first row is drawn evenly from margin … H − margin − side − 1, its first column in the same way: like the
    programs', it never takes the last place that the margin would allow. Lengths are rounded to whole pixels.

    Args:
        image_shape: (C, H, W).
        fraction: the square's side over the image's shorter side, in (0, 1); 128 of 256 in both programs.
        margin: least distance from the border over the image's shorter side; 16 of 256 in DPS
            (util/img_utils.py), 32 of 256 in DAPS (forward_operator/__init__.py).
        dtype: of the operator's tensors.
        noise_on_unseen: see `Mask`.
        shared: whether all images have one mask, as in DAPS.

    Raises:
        InputError: `fraction` leaves no pixel to restore or none to see, or `margin` no place for the square.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        fraction: float = 0.5,
        margin: float = 0.0625,
        dtype: torch.dtype = torch.float32,
        noise_on_unseen: NoiseOnUnseen = False,
        shared: Shared = False,
    ) -> None:
        super().__init__(image_shape, dtype, noise_on_unseen, shared)
        _, height, width = self.image_shape
        self.side = box_side(height, width, fraction)
        self.margin = round(margin * min(height, width))
        if self.margin < 0 or 2 * self.margin + self.side >= min(height, width):
            raise InputError(
                f"margin={margin} leaves no place for a box of {self.side} in {height}×{width} pixels",
                "lower task.operator.margin or task.operator.fraction",
            )

    def draw(self, generator: torch.Generator) -> Tensor:
        _, height, width = self.image_shape
        top, left = (
            int(torch.randint(self.margin, length - self.margin - self.side, (), generator=generator))
            for length in (height, width)
        )
        return all_but_box(height, width, self.side, top, left)


class InpaintRandom(DrawnMask):
    """Random pixels are missing in all channels, different ones in each image unless `shared`.

    Args:
        image_shape: (C, H, W).
        ratio: fraction missing in [0, 1); round((1 − ratio) · H · W) pixels are kept exactly. Or a pair
            (low, high) from which each image's ratio is drawn uniformly, as DPS does.
        dtype: of the operator's tensors.
        noise_on_unseen: see `Mask`.
        shared: whether all images have one mask, as in the programs of DDRM (runners/diffusion.py) and DAPS.

    Raises:
        InputError: `ratio` lies outside [0, 1) or leaves no pixel.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        ratio: float | Sequence[float] = 0.7,
        dtype: torch.dtype = torch.float32,
        noise_on_unseen: NoiseOnUnseen = False,
        shared: Shared = False,
    ) -> None:
        super().__init__(image_shape, dtype, noise_on_unseen, shared)
        self.ratio = low, high = as_pair("ratio", ratio)
        if not 0 <= low <= high < 1:
            raise InputError(f"ratio={ratio} is not a fraction of missing pixels", "give task.operator.ratio in [0, 1)")
        if self._kept(high) == 0:
            raise InputError(f"ratio={ratio} leaves no pixel of {self.image_shape}", "lower task.operator.ratio")

    def _kept(self, ratio: float) -> int:
        _, height, width = self.image_shape
        return round((1 - ratio) * height * width)

    def draw(self, generator: torch.Generator) -> Tensor:
        _, height, width = self.image_shape
        low, high = self.ratio
        ratio = low + (high - low) * torch.rand((), generator=generator).item()
        seen = torch.zeros(height * width)
        seen[torch.randperm(height * width, generator=generator)[: self._kept(ratio)]] = 1
        return seen.reshape(height, width)


def box_side(height: int, width: int, fraction: float) -> int:
    """Side of a square, in pixels, from its fraction of the image's shorter side.

    Raises:
        InputError: it leaves no pixel to restore or none to see.
    """
    side = round(fraction * min(height, width))
    if not (0 < fraction < 1 and 0 < side < max(height, width)):
        raise InputError(
            f"a box of fraction={fraction} in {height}×{width} pixels leaves nothing to restore or nothing to see",
            "give task.operator.fraction a number between 0 and 1, such as 0.5",
        )
    return side


def all_but_box(height: int, width: int, side: int, top: int, left: int) -> Tensor:
    """A mask (H, W) that hides a square with its first row and column at `top` and `left`."""
    seen = torch.ones(height, width)
    seen[top : top + side, left : left + side] = 0
    return seen
