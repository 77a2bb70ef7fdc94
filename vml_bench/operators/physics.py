"""Operators made of DeepInverse's physics (Tachella et al., arXiv:2505.20160): tomography, MRI, blurs that vary, …

    pip install 'vml-bench[physics]'

`LinearPhysics` and `NonlinearPhysics` take any `deepinv.physics` object that acts on images of the data set's shape, as
a configuration node; the classes below them build one for the images at hand. Of the object its A and A_adjoint are
used, never its noise: σ_y n is added as everywhere here, on the scale of y.
"""

from __future__ import annotations

import copy
import math
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


class Tomography(LinearPhysics):
    """Parallel-beam tomography: line integrals of every channel, so many angles from 0° to 180°; ‖H‖ is 1.

    Args:
        image_shape: (C, H, W), square; the corners outside the inscribed circle count, too.
        angles: how many.
        dtype: of the images.

    Raises:
        InputError: the image is not square, or no angles.
    """

    def __init__(self, image_shape: Sequence[int], angles: int = 30, dtype: torch.dtype = torch.float32) -> None:
        _, height, width = check_image_shape(image_shape)
        if height != width:
            raise InputError(f"tomography of {height}×{width} pixels", "use square images")
        if not angles >= 1:
            raise InputError(f"angles={angles}", "set task.operator.angles to 1 or more")
        super().__init__(image_shape, deepinv().physics.Tomography(angles=angles, img_width=width, normalize=True))

    def apply(self, x: Tensor) -> Tensor:
        return super().apply(x.float()).to(x.dtype)  # its interpolation knows single precision only

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return super().apply_adjoint(y.float()).to(y.dtype)


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


class VaryingBlur(LinearPhysics):
    """A blur that varies over the image: a sum of diffraction blurs, each of the image times weights of its own.

    Args:
        image_shape: (C, H, W).
        taps: side of the kernels.
        seed: of kernels and weights.
        dtype: of the images.
    """

    def __init__(
        self, image_shape: Sequence[int], taps: int = 15, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> None:
        channels, height, width = check_image_shape(image_shape)
        library = deepinv().physics
        rng = torch.Generator().manual_seed(seed)
        kernels = library.generator.DiffractionBlurGenerator((taps, taps), rng=rng)
        both = library.generator.ProductConvolutionBlurGenerator(psf_generator=kernels, img_size=(height, width))
        drawn = both.step(1, seed=seed)
        drawn = {name: value.expand(1, channels, *value.shape[2:]).contiguous() for name, value in drawn.items()}
        super().__init__(image_shape, library.SpaceVaryingBlur(**drawn, padding="circular"), dtype)


class CompressedSensing(LinearPhysics):
    """A share of the values of a random orthogonal transform: random signs, then the sine transform, cut to its middle.

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
        super().__init__(image_shape, deepinv().physics.StructuredRandom(shape, kept, rng=rng), dtype)


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
