"""Circular convolution with any kernel, and blurs made of it: by a motion, and by a Gaussian of each image's own width.

A circular convolution is diagonal in the Fourier basis; its real form is the Hartley basis
V = Re F − Im F (F the unitary 2-D Fourier transform), symmetric and orthogonal. With the kernel's
transform ĥ = s · exp(iφ), s even and φ odd in the frequency k,

    H = U diag(s) Vᵀ,    U c = V (cos φ(k) · c(k) − sin φ(k) · c(−k)),

and the inner map is a rotation of each pair (c(k), c(−k)), so U is orthogonal too.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.noise import image_generator
from vml_bench.operators.base import SpectralOperator, as_pair, check_image_shape, divide_on_support
from vml_bench.operators.filters import check_taps, filter_matrix, gaussian_taps
from vml_bench.operators.svd import without_rounding

STEPS = 2000
"""Steps of the random walk that makes a motion kernel."""


class CircularBlur(SpectralOperator):
    """y = h ∗ x, circular, on every channel; the measurement has the image's shape.

    Args:
        image_shape: (C, H, W).
        kernel: h, (K, L), both odd; its middle stays in place.
        dtype: of the operator's tensors.
        eight_bit: whether the blurred image is cut to 8 bits before noise is added (see `measure`).

    Raises:
        InputError: a side of the kernel is even, or longer than the image's.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        kernel: Tensor,
        dtype: torch.dtype = torch.float32,
        eight_bit: Annotated[bool, AsBefore(False)] = False,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.eight_bit = eight_bit
        check_kernel(self.image_shape, kernel.shape)
        self._decompose(kernel, dtype)

    def _decompose(self, kernel: Tensor, dtype: torch.dtype) -> None:
        """Set s and φ of a kernel (K, L), or of one for each image, (B, K, L); one that is too large wraps around."""
        _, height, width = self.image_shape
        rows, columns = kernel.shape[-2:]
        row = (torch.arange(rows) - rows // 2)[:, None] % height
        column = (torch.arange(columns) - columns // 2) % width
        wrapped = torch.zeros(*kernel.shape[:-2], height * width, dtype=torch.float64)
        wrapped.index_add_(-1, (row * width + column).flatten(), kernel.double().flatten(-2))
        transfer = torch.fft.fft2(wrapped.unflatten(-1, (height, width)).unsqueeze(-3))
        s = without_rounding(transfer.abs())
        self.singular_values = s.to(dtype).expand(*kernel.shape[:-2], *self.image_shape).contiguous()
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

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        """y = H x + σ_y n; or, with `eight_bit`, y = ⌊H x⌋ + σ_y n.

        ⌊⌋ takes each value to the next lower of the 256 levels of [-1, 1], and one outside to the nearest end. So does
        DiffPIR (main_ddpir_deblur.py), which convolves pictures of 8 bits as such: SciPy cuts off what is behind the
        point, so that y is half a level, 0.004, too dark on average. A value that falls short of a level by less than
        1/1000 of one counts as that level: else rounding of the convolution itself would decide on even ground. H stays
        linear, and methods know nothing of what was cut.
        """
        if not self.eight_bit:
            return super().measure(x, noise_std, noise)
        levels = ((self.forward(x) + 1) * 127.5 + 1e-3).floor().clamp(0, 255)
        return levels / 127.5 - 1 + noise_std * noise


class DrawnBlur(CircularBlur):
    """A circular blur whose kernel is drawn for each image by seed and id, so that `for_images` must come first."""

    _like: Tensor

    def __getattr__(self, name: str) -> Tensor:
        if name in ("singular_values", "cosine", "sine"):
            raise AttributeError("each image has a kernel of its own: call for_images(image_ids, seed) first")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Tensor:
        """One image's kernel, (K, L)."""

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """A copy whose singular values, (B, C, H, W), are those of the named images' kernels."""
        bound = self.to()
        kernels = [self.draw(image_generator(seed, image_id, "mask")) for image_id in image_ids]
        bound._decompose(torch.stack(kernels), self._like.dtype)
        return bound.to(self._like.device)


class RandomGaussianBlur(DrawnBlur):
    """Blur by a Gaussian whose width is drawn for each image.

    Args:
        image_shape: (C, H, W).
        taps: odd side of the kernel; one that is larger than the image wraps around it.
        std: lowest and highest standard deviation, in pixels, between which it is drawn uniformly.
        eight_bit: see `CircularBlur`.
        dtype: of the operator's tensors.

    Raises:
        InputError: `taps` is even; `std` is not positive or not in order.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        taps: int = 61,
        std: float | Sequence[float] = (3.0, 9.0),
        eight_bit: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.taps = check_taps(taps)
        self.std = low, high = as_pair("std", std)
        if not 0 < low <= high:
            raise InputError(f"std={std} is not a range of widths", "give task.operator.std, low to high, above 0")
        self.eight_bit = eight_bit
        self._like = torch.empty(0, dtype=dtype)

    def draw(self, generator: torch.Generator) -> Tensor:
        low, high = self.std
        line = folded_gaussian_taps(self.taps, low + (high - low) * torch.rand((), generator=generator).item())
        return torch.outer(line, line)


class MotionBlur(DrawnBlur):
    """Blur by a random camera motion (see `motion_kernel`), the same for every image of a run or each image's own.

    Args:
        image_shape: (C, H, W).
        taps: odd side of the kernel for images of `reference_side` pixels and more.
        intensity: how far the motion strays from a straight line, 0 to 1.
        seed: chooses the motion; None draws each image's own, by the run's seed and the image's id.
        reference_side: images whose shorter side is smaller than this get the same motion shrunk in
            proportion (at least 3 taps); None never shrinks it.
        dtype: of the operator's tensors.
        eight_bit: see `CircularBlur`.

    Raises:
        InputError: `taps` is even or the kernel larger than the image; `intensity` outside [0, 1].
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        taps: int = 61,
        intensity: float = 0.5,
        seed: int | None = 0,
        reference_side: int | None = 256,
        dtype: torch.dtype = torch.float32,
        eight_bit: Annotated[bool, AsBefore(False)] = False,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        side = min(self.image_shape[1:])
        taps = check_taps(taps)
        if reference_side is not None and side < reference_side:
            taps = min(taps, max(3, 2 * round(taps * side / reference_side / 2 - 0.5) + 1))
        check_kernel(self.image_shape, (taps, taps))
        self.taps = taps
        self.intensity, self.seed, self.eight_bit = check_intensity(intensity), seed, eight_bit
        self._like = torch.empty(0, dtype=dtype)
        if seed is not None:
            super().__init__(image_shape, motion_kernel(taps, intensity, seed), dtype, eight_bit)

    def draw(self, generator: torch.Generator) -> Tensor:
        return motion_kernel(self.taps, self.intensity, int(torch.randint(2**31, (), generator=generator)))

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """The operator itself, or where each image has a motion of its own a copy for those named."""
        return self if self.seed is not None else super().for_images(image_ids, seed)


def folded_gaussian_taps(taps: int, std: float) -> Tensor:
    """A Gaussian as SciPy filters an impulse in a window of `taps` pixels: (taps,) float64, sum 1.

    It ends at 4 std, and what passes the window's ends is folded back into it, edge pixel repeated, as often as needed.
    So DPS, DAPS and DiffPIR make their kernels (Blurkernel: `scipy.ndimage.gaussian_filter`).

    Args:
        taps: odd number of taps.
        std: standard deviation, pixels, above 0.
    """
    reach = int(4 * std + 0.5)
    line = gaussian_taps(2 * reach + 1, std)
    return filter_matrix(check_taps(taps), line, -reach, "symmetric")[:, taps // 2]


def check_kernel(image_shape: tuple[int, int, int], sides: Sequence[int]) -> None:
    """Refuse a kernel with a side that is even, or longer than the image's.

    Raises:
        InputError: it has one.
    """
    _, height, width = image_shape
    rows, columns = map(check_taps, sides)
    if rows > height or columns > width:
        raise InputError(
            f"a kernel of {rows}×{columns} taps is larger than an image of {height}×{width} pixels",
            "lower task.operator.taps or use larger images",
        )


def check_intensity(intensity: float) -> float:
    """Return the intensity of a motion if it is from 0 to 1.

    Raises:
        InputError: it is not.
    """
    if not 0 <= intensity <= 1:
        raise InputError(
            f"a motion of intensity={intensity} is undefined", "give task.operator.intensity a number in [0, 1]"
        )
    return intensity


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
    taps, intensity = check_taps(taps), check_intensity(intensity)
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
