"""One-dimensional filters, and the matrices that apply them along one side of an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vml_bench.errors import InputError

PADDINGS = {
    "zero": "nothing beyond the edge (DDRM's blurs)",
    "reflect": "mirrored, edge pixel not repeated, as often as needed (DPS, DAPS: ReflectionPad2d)",
    "symmetric": "mirrored, edge pixel repeated, as often as needed (DPS's and DAPS's Resizer, DDRM's bicubic)",
    "circular": "periodic",
    "renormalize": "taps beyond the edge dropped, the rest rescaled to the same sum (Pillow, torch's antialias)",
}
"""How an image continues beyond its edge, and whose convention that is."""


def check_taps(taps: int) -> int:
    """Return `taps` if it is an odd count of at least 1.

    Raises:
        InputError: it is not.
    """
    if taps != int(taps) or taps < 1 or taps % 2 == 0:
        raise InputError(f"a blur of taps={taps} has no middle tap", "give task.operator.taps an odd number, 1 or more")
    return int(taps)


def uniform_taps(taps: int) -> Tensor:
    """A box filter, (taps,) float64, sum 1."""
    return torch.full((check_taps(taps),), 1 / taps, dtype=torch.float64)


def gaussian_taps(taps: int, std: float, truncate: float | None = None) -> Tensor:
    """A sampled Gaussian, (taps,) float64, sum 1.

    Args:
        taps: odd number of taps.
        std: standard deviation, pixels.
        truncate: taps further than round(truncate · std) from the middle are 0; None keeps all.

    Raises:
        InputError: `taps` is even, or `std` or `truncate` is not positive.
    """
    offsets = torch.arange(check_taps(taps), dtype=torch.float64) - taps // 2
    if not std > 0:
        raise InputError(f"a Gaussian of std={std} is undefined", "give task.operator.std a positive number of pixels")
    weights = torch.exp(-0.5 * (offsets / std).square())
    if truncate is not None:
        if not truncate > 0:
            raise InputError(
                f"truncate={truncate} leaves no tap", "give task.operator.truncate a positive number or null"
            )
        weights[offsets.abs() > int(truncate * std + 0.5)] = 0
    return weights / weights.sum()


def bicubic_taps(factor: int) -> tuple[Tensor, int]:
    """The antialiased bicubic filter (Keys 1981, a = −0.5, stretched by `factor`) and its first tap's offset.

    Returns:
        Taps, float64, sum 1; and the position of the first relative to the first pixel of the block.
    """
    centre = (factor - 1) / 2
    first, last = math.ceil(centre - 2 * factor), math.floor(centre + 2 * factor)
    x = ((torch.arange(first, last + 1, dtype=torch.float64) - centre) / factor).abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = torch.where(x <= 1, near, torch.where(x < 2, far, 0))
    return weights / weights.sum(), first


def filter_matrix(size: int, taps: Tensor, first: int, padding: str, stride: int = 1) -> Tensor:
    """The matrix of y_i = Σ_k taps_k x_{i · stride + first + k}.

    Args:
        size: pixels along the side.
        taps: (K,).
        first: offset of the first tap.
        padding: one of `PADDINGS`.
        stride: pixels from one output to the next; divides `size`.

    Returns:
        (size / stride, size) float64.

    Raises:
        InputError: unknown padding.
    """
    if padding not in PADDINGS:
        raise InputError(f"padding '{padding}' is unknown", f"use task.operator.padding={'|'.join(PADDINGS)}")
    rows = torch.arange(size // stride)[:, None].expand(-1, len(taps))
    columns = rows * stride + first + torch.arange(len(taps))
    weights = taps.double().expand(columns.shape)
    if padding in ("zero", "renormalize"):
        inside = (columns >= 0) & (columns < size)
        weights = weights * inside
        if padding == "renormalize":
            weights = weights * (taps.sum() / weights.sum(dim=1, keepdim=True))
        columns = columns.clamp(0, size - 1)
    elif padding == "circular":
        columns = columns % size
    elif padding == "symmetric":
        columns = columns % (2 * size)
        columns = torch.minimum(columns, 2 * size - 1 - columns)
    else:
        period = max(2 * size - 2, 1)
        columns = columns % period
        columns = torch.minimum(columns, period - columns).clamp(max=size - 1)
    return torch.zeros(size // stride, size, dtype=torch.float64).index_put_((rows, columns), weights, accumulate=True)
