"""Operators made of DeepInverse's physics (Tachella et al., arXiv:2505.20160): tomography, MRI, blurs that vary, …

    pip install 'vml-bench[physics]'

`LinearPhysics` and `NonlinearPhysics` take any `deepinv.physics` object that acts on images of the data set's shape, as
a configuration node; the classes below them build one for the images at hand. Of the object its A and A_adjoint are
used, never its noise: σ_y n is added as everywhere here, on the scale of y.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError
from vml_bench.operators.base import check_image_shape
from vml_bench.operators.kinds import DifferentiableOperator, LinearOperator


class NonlinearPhysics(DifferentiableOperator):
    """y = A(x) + σ_y n with A of a `deepinv.physics.Physics`.

    Args:
        image_shape: (C, H, W), x in [-1, 1].
        physics: the object.
        dtype: of the images.
    """

    def __init__(self, image_shape: Sequence[int], physics: Any, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.physics = moved(physics, None, dtype)

    def apply(self, x: Tensor) -> Tensor:
        return self.physics.A(x)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        other = super().to(device, dtype)
        other.physics = moved(copy.deepcopy(self.physics), device, dtype)
        return other


class LinearPhysics(NonlinearPhysics, LinearOperator):
    """y = H x + σ_y n with H of a `deepinv.physics.LinearPhysics`.

    Args:
        image_shape: (C, H, W).
        physics: the object.
        dtype: of the images.

    Raises:
        InputError: the object is none.
    """

    def __init__(self, image_shape: Sequence[int], physics: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(image_shape, physics, dtype)
        if not isinstance(physics, deepinv().physics.LinearPhysics):
            raise InputError(
                f"{type(physics).__name__} is not linear", "build it with vml_bench.operators.physics.NonlinearPhysics"
            )

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self.physics.A_adjoint(y)


class OfChannels(LinearOperator):
    """A linear operator that treats every channel alike, as a sparse matrix. Subclasses set its attributes in `hold`.

    Attributes:
        plane: the shape of a channel's measurement; a measurement has shape (C, *plane).
        matrix, transposed: (m, H · W) and (H · W, m), sparse.
    """

    def hold(self, matrix: Tensor, plane: Sequence[int], dtype: torch.dtype) -> None:
        """Keep a sparse matrix (m, H · W) and its transpose; m is the size of `plane`."""
        self.plane = tuple(plane)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            self.matrix, self.transposed = (of.to(dtype).to_sparse_csr() for of in (matrix, matrix.T))

    def apply(self, x: Tensor) -> Tensor:
        return (self.matrix @ x.reshape(-1, self.matrix.shape[1]).T).T.reshape(*x.shape[:2], *self.plane)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return (self.transposed @ y.reshape(-1, self.matrix.shape[0]).T).T.reshape(-1, *self.image_shape)


class Tomography(OfChannels):
    """Parallel-beam tomography: line integrals of every channel, so many angles from 0° to 180°; ‖H‖ is 1.

    `deepinv.physics.Tomography` with its rotations written down as a matrix, of four numbers for each pixel and angle:
    the same to rounding, many times as fast, and with an exact adjoint. A measurement has shape
    (C, detectors, angles).

    Args:
        image_shape: (C, H, W), square; the corners outside the inscribed circle count, too.
        angles: how many.
        dtype: of the images.

    Raises:
        InputError: the image is not square, or no angles.
    """

    def __init__(self, image_shape: Sequence[int], angles: int = 30, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        _, height, width = self.image_shape
        if height != width:
            raise InputError(f"tomography of {height}×{width} pixels", "use square images")
        if not angles >= 1:
            raise InputError(f"angles={angles}", "set task.operator.angles to 1 or more")
        options = {"angles": angles, "img_width": width, "normalize": True, "parallel_computation": False}
        theirs = deepinv().physics.Tomography(**options)
        grids = theirs.radon.all_grids[:, 0]
        self.hold(rotated_sums(grids, width) / theirs.operator_norm.double(), (grids.shape[1], angles), dtype)


def rotated_sums(grids: Tensor, width: int) -> Tensor:
    """The matrix that turns a square image, by bilinear interpolation, and sums each column: (G · A, W · W), sparse.

    Args:
        grids: for each angle where in the image, padded on all sides to G × G, each pixel of the turned one lies, x
            before y, the centres of the outermost pixels at −1 and 1: (A, G, G, 2).
        width: W of the image.
    """
    angles, side = grids.shape[:2]
    place = (grids.double() + 1) / 2 * (side - 1) - (side // 2 - width // 2)
    left = place.floor()
    detector = torch.arange(side)[:, None] * angles + torch.arange(angles)  # row of the matrix
    rows = detector.T[:, None, :].expand(angles, side, side)
    entries, weights = [], []
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = left + torch.tensor([right, below])
        weight = (1 - (place - corner).abs()).prod(dim=-1)
        inside = ((corner >= 0) & (corner < width)).all(dim=-1)
        column = (corner[..., 1] * width + corner[..., 0]).long()
        entries.append(torch.stack([rows[inside], column[inside]]))
        weights.append(weight[inside])
    return sparse(torch.cat(entries, dim=1), torch.cat(weights), (side * angles, width * width))


def sparse(entries: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix by rows and columns (2, n) of its values (n,); those of one place are added up."""
    return torch.sparse_coo_tensor(entries, values, shape, check_invariants=False).coalesce()


class AcceleratedMRI(LinearOperator):
    """Single-coil MRI of every channel: some columns of its orthonormal Fourier transform, the lowest all of them.

    A measurement has shape (C, 2, H, W), real and imaginary parts, 0 in columns that are not measured. Columns are
    drawn from the seed evenly among the others. The image is real, and its channels are measured each by itself, which
    no scanner does: a test problem. `deepinv.physics.MRI` with the same mask, checked against it.

    Args:
        image_shape: (C, H, W).
        acceleration: columns over those measured.
        centre: share of the columns about the lowest frequency that is always measured.
        seed: of the columns.
        dtype: of the images.

    Raises:
        InputError: an acceleration that leaves fewer columns than the centre has, or below 1.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        acceleration: float = 4.0,
        centre: float = 0.08,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        width = self.image_shape[2]
        low = max(1, round(centre * width))
        kept = round(width / acceleration) if acceleration >= 1 else 0
        if kept < low:
            raise InputError(
                f"acceleration={acceleration} leaves {kept} of {width} columns, the centre has {low}",
                "lower task.operator.acceleration or task.operator.centre",
            )
        first = (width - low) // 2
        others = torch.tensor([i for i in range(width) if not first <= i < first + low])
        order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))
        columns = torch.zeros(width, dtype=dtype)
        columns[first : first + low] = 1
        columns[others[order[: kept - low]]] = 1
        self.columns = columns

    def apply(self, x: Tensor) -> Tensor:
        shifted = torch.fft.fft2(torch.fft.ifftshift(x, dim=(-2, -1)), norm="ortho")
        k_space = self.columns * torch.fft.fftshift(shifted, dim=(-2, -1))
        return torch.stack([k_space.real, k_space.imag], dim=2)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        k_space = torch.fft.ifftshift(self.columns * torch.complex(y[:, :, 0], y[:, :, 1]), dim=(-2, -1))
        return torch.fft.fftshift(torch.fft.ifft2(k_space, norm="ortho"), dim=(-2, -1)).real

    def observed(self, y: Tensor) -> Tensor:
        """y with 0 in the columns that are not measured."""
        return self.columns * y

    def expected_residual(self, y: Tensor, noise_std: float) -> Tensor:
        measured = y[0].numel() * float(self.columns.mean())
        return torch.tensor(noise_std * math.sqrt(measured), dtype=y.dtype, device=y.device)


class VaryingBlur(OfChannels):
    """A blur that varies over the image: a sum of diffraction blurs, each of the image times weights of its own.

    `deepinv.physics.SpaceVaryingBlur` with circular edges, written down as a matrix of taps² numbers for each pixel:
    the same to rounding, and faster.

    Args:
        image_shape: (C, H, W).
        taps: side of the kernels.
        seed: of kernels and weights.
        dtype: of the images.
    """

    def __init__(
        self, image_shape: Sequence[int], taps: int = 15, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        size = self.image_shape[1:]
        generators = deepinv().physics.generator
        rng = torch.Generator().manual_seed(seed)
        kernels = generators.DiffractionBlurGenerator((taps, taps), rng=rng)
        both = generators.ProductConvolutionBlurGenerator(psf_generator=kernels, img_size=size)
        drawn = both.step(1, seed=seed)
        self.hold(varying_convolution(drawn["filters"][0, 0], drawn["multipliers"][0, 0]), size, dtype)


def varying_convolution(kernels: Tensor, weights: Tensor) -> Tensor:
    """The matrix of x ↦ Σ_k h_k ∗ (w_k x) with circular edges: (H · W, H · W), sparse.

    Args:
        kernels: h_k, (K, taps, taps).
        weights: w_k, (K, H, W).
    """
    height, width = weights.shape[1:]
    values = torch.einsum("kab,kij->abij", kernels.double(), weights.double())
    down, right = (torch.arange(taps) - taps // 2 for taps in kernels.shape[1:])
    i, j = torch.arange(height), torch.arange(width)
    rows = ((i + down[:, None]) % height)[:, None, :, None] * width + ((j + right[:, None]) % width)[None, :, None, :]
    columns = (i[:, None] * width + j).expand_as(rows)
    entries = torch.stack([rows.flatten(), columns.flatten()])
    return sparse(entries, values.flatten(), (height * width, height * width))


class CompressedSensing(LinearPhysics):
    """A share of the values of a random orthogonal transform: random signs, then the sine transform of rows and of
    columns, cut to its middle.

    Args:
        image_shape: (C, H, W).
        share: of the image's values, in (0, 1]; rounded to whole rows and columns.
        seed: of the signs.
        dtype: of the images.

    Raises:
        InputError: `share` lies outside (0, 1].
    """

    def __init__(
        self, image_shape: Sequence[int], share: float = 0.25, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> None:
        shape = check_image_shape(image_shape)
        if not 0 < share <= 1:
            raise InputError(f"share={share} is no share of an image", "give task.operator.share in (0, 1]")
        kept = (shape[0], *(max(1, round(math.sqrt(share) * side)) for side in shape[1:]))
        rng = torch.Generator().manual_seed(seed)
        both = {"transform_func": sine_transform, "transform_func_inv": sine_transform}  # theirs is of the rows alone
        super().__init__(image_shape, deepinv().physics.StructuredRandom(shape, kept, rng=rng, **both), dtype)


def sine_transform(x: Tensor) -> Tensor:
    """The orthogonal sine transform (type I) of rows and columns, its own inverse: (…, H, W) -> (…, H, W)."""
    of_rows = deepinv().physics.functional.dst1
    return of_rows(of_rows(x).mT).mT


def moved(physics: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    """The object on a device, its real numbers of a dtype; complex ones stay complex."""
    return physics._apply(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))


def deepinv() -> ModuleType:
    """The library, or how to get it; raises InputError."""
    try:
        import deepinv as library
    except ImportError as error:
        raise InputError("this task is made of DeepInverse's physics", "pip install 'vml-bench[physics]'") from error
    return library
