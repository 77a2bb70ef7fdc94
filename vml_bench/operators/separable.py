"""Operators that act on rows and columns separately: block averages, bicubic downsampling, separable blurs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.operators.base import SpectralOperator, as_pair, check_image_shape
from vml_bench.operators.filters import bicubic_taps, filter_matrix, gaussian_taps, uniform_taps
from vml_bench.operators.svd import PaddedSVD, block_average_svd, padded_svd, without_rounding


class SeparableOperator(SpectralOperator):
    """H x = A x Bᵀ on every channel, so that V, U and s are products of those of A and B.

    Args:
        image_shape: (C, H, W).
        vertical: A's decomposition; A is (M, H) and mixes the pixels of a column.
        horizontal: B's decomposition; B is (N, W) and mixes the pixels of a row.
        zero_below: singular values of A and of B below this are set to 0 before the product; see also
            `svd.RANK_TOLERANCE`.
        scrambled: see `scramble`; the operator is then no longer A x Bᵀ.
        dtype: of the operator's tensors.

    A measurement has shape (B, C, M, N).
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        vertical: PaddedSVD,
        horizontal: PaddedSVD,
        zero_below: Annotated[float, AsBefore(0.0)] = 0.0,
        dtype: torch.dtype = torch.float32,
        scrambled: Annotated[bool, AsBefore(False)] = False,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        s_vertical, s_horizontal = (
            torch.where(factor.singular_values < zero_below, 0, factor.singular_values)
            for factor in (vertical, horizontal)
        )
        s = torch.outer(s_vertical, s_horizontal).expand(self.image_shape)
        s = without_rounding(scramble(s) if scrambled else s)
        self.singular_values = s.to(dtype).contiguous()
        self.u_vertical, self.v_vertical = vertical.left.to(dtype), vertical.right.to(dtype)
        self.u_horizontal, self.v_horizontal = horizontal.left.to(dtype), horizontal.right.to(dtype)

    def to_spectrum(self, x: Tensor) -> Tensor:
        return self.v_vertical.mT @ x @ self.v_horizontal

    def from_spectrum(self, c: Tensor) -> Tensor:
        return self.v_vertical @ c @ self.v_horizontal.mT

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        return self.on_support(self.u_vertical.mT @ y @ self.u_horizontal)

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        return self.u_vertical @ self.on_support(c) @ self.u_horizontal.mT


class BlockAverage(SeparableOperator):
    """Downsampling by the mean of each factor × factor block (DDRM's super-resolution).

    Args:
        image_shape: (C, H, W).
        factor: side of a block, pixels.
        dtype: of the operator's tensors.

    Raises:
        InputError: `factor` does not divide the image's sides.
    """

    def __init__(self, image_shape: Sequence[int], factor: int = 4, dtype: torch.dtype = torch.float32) -> None:
        height, width = check_factor(image_shape, factor)
        super().__init__(image_shape, block_average_svd(height, factor), block_average_svd(width, factor), dtype=dtype)


class Bicubic(SeparableOperator):
    """Antialiased bicubic downsampling (Keys 1981, a = −0.5, the filter stretched by the factor).

    Args:
        image_shape: (C, H, W).
        factor: image pixels per measurement pixel, along a side.
        padding: "symmetric" as in DPS's and DAPS's Resizer and DDRM's SRConv, "renormalize" as in
            Pillow and `torch.nn.functional.interpolate(antialias=True)`, or another of `filters.PADDINGS`.
        dtype: of the operator's tensors.

    Raises:
        InputError: `factor` does not divide the image's sides, or an unknown padding.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        factor: int = 4,
        padding: str = "symmetric",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        height, width = check_factor(image_shape, factor)
        taps, first = bicubic_taps(factor)
        vertical, horizontal = (padded_svd(filter_matrix(n, taps, first, padding, factor)) for n in (height, width))
        super().__init__(image_shape, vertical, horizontal, dtype=dtype)


class SeparableBlur(SeparableOperator):
    """A blur by the outer product of two 1-D filters; the measurement has the image's shape.

    Args:
        image_shape: (C, H, W).
        vertical: taps along a column, (K,), K odd.
        horizontal: taps along a row, (L,), L odd.
        padding: one of `filters.PADDINGS`.
        drop_last_tap: leave out the last tap of each filter, as DDRM's loop over
            ``range(i - k // 2, i + k // 2)`` does; the filter then no longer sums to 1.
        zero_below: 1-D singular values below this are set to 0; DDRM: 3e-2.
        dtype: of the operator's tensors.
        scrambled: hand the singular values to other singular vectors, as DDRM's program does (`scramble`): then it
            smooths, but is no convolution.

    Attributes:
        blur_singular_values: the blur's own singular values in their own places, (C, H, W), neither cut nor scrambled.

    Raises:
        InputError: an unknown padding or a negative threshold.
    """

    blur_singular_values: Tensor

    def __init__(
        self,
        image_shape: Sequence[int],
        vertical: Tensor,
        horizontal: Tensor,
        padding: str = "reflect",
        drop_last_tap: bool = False,
        zero_below: Annotated[float, AsBefore(0.0)] = 0.0,
        dtype: torch.dtype = torch.float32,
        scrambled: Annotated[bool, AsBefore(False)] = False,
    ) -> None:
        _, height, width = check_image_shape(image_shape)
        if not 0 <= zero_below < 1:
            raise InputError(
                f"zero_below={zero_below} is not a threshold", "give task.operator.zero_below a number in [0, 1)"
            )
        factors = []
        for size, taps in ((height, vertical), (width, horizontal)):
            kept = taps[:-1] if drop_last_tap else taps
            factors.append(padded_svd(filter_matrix(size, kept, -(len(taps) // 2), padding)))
        super().__init__(image_shape, *factors, zero_below=zero_below, dtype=dtype, scrambled=scrambled)
        own = torch.outer(*(factor.singular_values for factor in factors))
        self.blur_singular_values = own.to(dtype).expand(self.image_shape)

    def measurement_to_whole_spectrum(self, y: Tensor) -> Tensor:
        """Uᵀ y, also where s = 0: what lies there is noise alone. (B, C, H, W) -> (B, C, H, W)."""
        return self.u_vertical.mT @ y @ self.u_horizontal


class UniformBlur(SeparableBlur):
    """A box blur of taps × taps pixels; conventions as in `SeparableBlur`."""

    def __init__(
        self,
        image_shape: Sequence[int],
        taps: int = 9,
        padding: str = "reflect",
        drop_last_tap: bool = False,
        zero_below: Annotated[float, AsBefore(0.0)] = 0.0,
        dtype: torch.dtype = torch.float32,
        scrambled: Annotated[bool, AsBefore(False)] = False,
    ) -> None:
        box = uniform_taps(taps)
        super().__init__(image_shape, box, box, padding, drop_last_tap, zero_below, dtype, scrambled)


class GaussianBlur(SeparableBlur):
    """A Gaussian blur, round or stretched along the axes; conventions as in `SeparableBlur`.

    Args:
        image_shape: (C, H, W).
        taps: odd number of taps along each axis.
        std: standard deviation in pixels, or (vertical, horizontal).
        truncate: taps beyond round(truncate · std) are 0, as in `scipy.ndimage.gaussian_filter`, which made
            DPS's kernel (truncate = 4: of its 61 taps at std 3 the middle 25 are not 0); None keeps all.
        padding, drop_last_tap, zero_below, dtype, scrambled: see `SeparableBlur`.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        taps: int = 61,
        std: float | Sequence[float] = 3.0,
        truncate: float | None = None,
        padding: str = "reflect",
        drop_last_tap: bool = False,
        zero_below: Annotated[float, AsBefore(0.0)] = 0.0,
        dtype: torch.dtype = torch.float32,
        scrambled: Annotated[bool, AsBefore(False)] = False,
    ) -> None:
        vertical, horizontal = (gaussian_taps(taps, s, truncate) for s in as_pair("std", std))
        super().__init__(image_shape, vertical, horizontal, padding, drop_last_tap, zero_below, dtype, scrambled)


def scramble(s: Tensor) -> Tensor:
    """The singular values of one channel, (C, H, W) and equal for all C, in the order in which DDRM's blurs have them.

    DDRM's `Deblurring` and `Deblurring2D` (github.com/bahjat-kawar/ddrm, functions/svd_replacement.py; DDNM's and
    RED-diff's programs have the same classes) sort the N = H·W singular values of a channel, largest first, and lay
    them out C times in a row, while their singular vectors alternate between the channels. So vector i of channel c,
    counted in the order of sorting, gets the singular value (C i + c) mod N of the sorted ones. Equal values, of which
    a blur with the same taps along both axes has many, come in the order in which torch's sort leaves them on the CPU,
    as in the program. Where singular values of one axis are equal, or nearly so, their vectors and with them this
    operator depend on the linear-algebra library.
    """
    values, place = s[0].flatten().sort(descending=True)
    scrambled = torch.empty_like(s).flatten(1)
    for channel, row in enumerate(scrambled):
        row[place] = values[(len(s) * torch.arange(len(values)) + channel) % len(values)]
    return scrambled.view_as(s)


def check_factor(image_shape: Sequence[int], factor: int) -> tuple[int, int]:
    """Return (H, W) of `image_shape`.

    Raises:
        InputError: `factor` is not a whole number of at least 1 that divides both.
    """
    _, height, width = check_image_shape(image_shape)
    if factor != int(factor) or factor < 1 or height % factor or width % factor:
        raise InputError(
            f"images of {height}×{width} pixels cannot be reduced by factor={factor}",
            "choose task.operator.factor to divide both sides, or another image size",
        )
    return height, width
