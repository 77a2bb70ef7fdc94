"""Circular convolution with any kernel, and the motion blur made of it.

A circular convolution is diagonal in the Fourier basis; its real form is the Hartley basis
V = Re F − Im F (F the unitary 2-D Fourier transform), symmetric and orthogonal. With the kernel's
transform ĥ = s · exp(iφ), s even and φ odd in the frequency k,

    H = U diag(s) Vᵀ,    U c = V (cos φ(k) · c(k) − sin φ(k) · c(−k)),

and the inner map is a rotation of each pair (c(k), c(−k)), so U is orthogonal too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.operators.base import SpectralOperator, check_image_shape, divide_on_support
from vml_bench.operators.filters import check_taps
from vml_bench.operators.svd import without_rounding

STEPS = 2000
"""Steps of the random walk that makes a motion kernel."""


class CircularBlur(SpectralOperator):
    """y = h ∗ x, circular, on every channel; the measurement has the image's shape.

    Args:
        image_shape: (C, H, W).
        kernel: h, (K, L), both odd; its middle stays in place.
        dtype: of the operator's tensors.

    Raises:
        InputError: a side of the kernel is even, or longer than the image's.
    """

    def __init__(self, image_shape: Sequence[int], kernel: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        _, height, width = self.image_shape
        rows, columns = map(check_taps, kernel.shape)
        if rows > height or columns > width:
            raise InputError(
                f"a kernel of {rows}×{columns} taps is larger than an image of {height}×{width} pixels",
                "lower task.operator.taps or use larger images",
            )
        padded = torch.zeros(height, width, dtype=torch.float64)
        padded[:rows, :columns] = kernel.double()
        transfer = torch.fft.fft2(padded.roll((-(rows // 2), -(columns // 2)), dims=(0, 1)))
        s = without_rounding(transfer.abs())
        self.singular_values = s.to(dtype).expand(self.image_shape).contiguous()
        self.cosine = torch.where(s > 0, divide_on_support(transfer.real, s), 1).to(dtype)
        self.sine = divide_on_support(transfer.imag, s).to(dtype)

    def to_spectrum(self, x: Tensor) -> Tensor:
        return hartley(x)

    def from_spectrum(self, c: Tensor) -> Tensor:
        return hartley(c)

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        c = hartley(y)
        return self.on_support(self.cosine * c + self.sine * opposite(c))

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        c = self.on_support(c)
        return hartley(self.cosine * c - self.sine * opposite(c))


class MotionBlur(CircularBlur):
    """Blur by a random camera motion (see `motion_kernel`), the same for every image of a run.

    Args:
        image_shape: (C, H, W).
        taps: odd side of the kernel for images of `reference_side` pixels and more.
        intensity: how far the motion strays from a straight line, 0 to 1.
        seed: chooses the motion.
        reference_side: images whose shorter side is smaller than this get the same motion shrunk in
            proportion (at least 3 taps); None never shrinks it.
        dtype: of the operator's tensors.

    Raises:
        InputError: `taps` is even or the kernel larger than the image; `intensity` outside [0, 1].
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        taps: int = 61,
        intensity: float = 0.5,
        seed: int = 0,
        reference_side: int | None = 256,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _, height, width = check_image_shape(image_shape)
        side = min(height, width)
        taps = check_taps(taps)
        if reference_side is not None and side < reference_side:
            taps = min(taps, max(3, 2 * round(taps * side / reference_side / 2 - 0.5) + 1))
        super().__init__(image_shape, motion_kernel(taps, intensity, seed), dtype)


def motion_kernel(taps: int, intensity: float, seed: int) -> Tensor:
    """Draw the path of a shaking camera and expose it onto a grid: (taps, taps) float64, ≥ 0, sum 1.

    A point moves at constant speed for `STEPS` steps along a path of taps − 1 pixels, which therefore
    always fits. Its heading starts uniform and wanders as a Brownian motion of standard deviation
    2π · intensity over the whole exposure; at each step, with probability 2 · intensity / STEPS, the
    camera jerks and the heading is drawn afresh. At intensity 0 the path is straight. The path, its
    bounding box centred, is spread onto the grid bilinearly.

    The idea is Boracchi and Foi's ("Modeling the performance of image restoration from motion blur",
    2012); the walk is this project's own. The kernels therefore resemble those of DPS and DAPS (61 taps,
    intensity 0.5) but are not the same: those protocols draw theirs unseeded.

    Args:
        taps: odd side of the kernel; the same seed gives the same path at any size.
        intensity: 0 to 1.
        seed: of the walk.

    Raises:
        InputError: `taps` is even or `intensity` outside [0, 1].
    """
    taps = check_taps(taps)
    if not 0 <= intensity <= 1:
        raise InputError(
            f"a motion of intensity={intensity} is undefined", "give task.operator.intensity a number in [0, 1]"
        )
    generator = torch.Generator().manual_seed(seed)
    turns = torch.randn(STEPS, generator=generator, dtype=torch.float64) * 2 * math.pi * intensity / math.sqrt(STEPS)
    fresh = torch.rand(STEPS, generator=generator, dtype=torch.float64) * 2 * math.pi
    jerks = torch.rand(STEPS, generator=generator, dtype=torch.float64) < 2 * intensity / STEPS
    turns = torch.where(jerks, fresh, turns)
    turns[0] = fresh[0]
    heading = turns.cumsum(dim=0)
    path = torch.stack([heading.sin(), heading.cos()]).cumsum(dim=1) * (taps - 1) / STEPS
    lowest, highest = path.amin(dim=1, keepdim=True), path.amax(dim=1, keepdim=True)
    row, column = (path - (lowest + highest) / 2 + taps // 2).clamp(0, taps - 1)
    kernel = torch.zeros(taps, taps, dtype=torch.float64)
    for i in (row.floor(), row.floor() + 1):
        for j in (column.floor(), column.floor() + 1):
            weight = (1 - (row - i).abs()) * (1 - (column - j).abs())
            place = i.long().clamp(max=taps - 1), j.long().clamp(max=taps - 1)
            kernel.index_put_(place, weight, accumulate=True)
    return kernel / kernel.sum()


def hartley(x: Tensor) -> Tensor:
    """The orthonormal 2-D Hartley transform of the last two axes, its own inverse."""
    transform = torch.fft.fft2(x, norm="ortho")
    return transform.real - transform.imag


def opposite(c: Tensor) -> Tensor:
    """c(−k) for every frequency k of the last two axes."""
    return c.flip((-2, -1)).roll((1, 1), dims=(-2, -1))
