"""Linear operators as an orthogonal transform and a diagonal: H = U diag(s) Vᵀ."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from vml_bench.contract import Kind
from vml_bench.errors import InputError
from vml_bench.operators.kinds import LinearOperator


class SpectralOperator(LinearOperator):
    """A linear operator given by its singular value decomposition H = U diag(s) Vᵀ.

    V is an orthogonal image-to-image transform, so the spectrum of an image has the image's own
    shape. Subclasses say what s, Vᵀ, V, Uᵀ and U are; all else is derived here once and never overridden.

    Attributes:
        kind: "spectral".
        image_shape: (C, H, W) of the images it takes.
        singular_values: s ≥ 0, (C, H, W), or (B, C, H, W) where each image has its own; exactly 0 on
            the null space, which includes all below `svd.RANK_TOLERANCE` of the largest. An operator that
            gives each image its own has none until `for_images` is called.
    """

    kind: ClassVar[Kind] = "spectral"
    singular_values: Tensor

    @abstractmethod
    def to_spectrum(self, x: Tensor) -> Tensor:
        """Vᵀ x: (B, C, H, W) -> (B, C, H, W)."""

    @abstractmethod
    def from_spectrum(self, c: Tensor) -> Tensor:
        """V c: (B, C, H, W) -> (B, C, H, W)."""

    @abstractmethod
    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        """Uᵀ y laid on the support of s, zero elsewhere: (B, *measurement) -> (B, C, H, W)."""

    @abstractmethod
    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        """U c: (B, C, H, W) -> (B, *measurement); entries outside the support of s are ignored."""

    def on_support(self, c: Tensor) -> Tensor:
        """c where s > 0, exactly 0 elsewhere: (B, C, H, W) -> (B, C, H, W)."""
        return torch.where(self.singular_values > 0, c, 0)

    def apply(self, x: Tensor) -> Tensor:
        return self.spectrum_to_measurement(self.singular_values * self.to_spectrum(x))

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self.from_spectrum(self.singular_values * self.measurement_to_spectrum(y))

    def count(self, asked: Tensor | float = 1.0) -> None:
        """Nothing is iterated, and so nothing counted."""

    def pinv(self, y: Tensor) -> Tensor:
        """H⁺ y, the least-squares image of least norm: (B, *measurement) -> (B, C, H, W)."""
        return self.from_spectrum(divide_on_support(self.measurement_to_spectrum(y), self.singular_values))

    def prox(self, x: Tensor, y: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_z ‖z − x‖² / (2 step) + ‖y − H z‖² / (2 σ_y²); at σ_y = 0 the projection of x onto H z = y.

        Args:
            x: (B, C, H, W).
            y: (B, *measurement).
            noise_std: σ_y ≥ 0.
            step: step > 0, a variance.
        """
        s = self.singular_values
        x_bar, y_bar = self.to_spectrum(x), self.measurement_to_spectrum(y)
        denominator = s.square() + noise_std**2 / step
        correction = divide_on_support(s * (y_bar - s * x_bar), denominator, (s > 0) & (denominator > 0))
        return self.from_spectrum(x_bar + correction)

    def correct(self, misfit: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_δ ‖δ‖² / (2 step) + ‖r − H δ‖² / (2 σ_y²): (B, *measurement) -> (B, C, H, W)."""
        s = self.singular_values
        denominator = s.square() + noise_std**2 / step
        numerator = s * self.measurement_to_spectrum(misfit)
        return self.from_spectrum(divide_on_support(numerator, denominator, (s > 0) & (denominator > 0)))

    def squared_norm(self, like: Tensor) -> Tensor:
        """s_max², of each image where each has its own."""
        return self.singular_values.amax(dim=(-3, -2, -1), keepdim=True).square()

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """‖y − H x‖ of each image, over the range of H: (B,)."""
        return (self.measurement_to_spectrum(y) - self.singular_values * self.to_spectrum(x)).flatten(1).norm(dim=1)

    def expected_residual(self, y: Tensor, noise_std: float) -> Tensor:
        """σ_y √rank: one number or (B,)."""
        return noise_std * (self.singular_values > 0).flatten(-3).sum(dim=-1).sqrt()


def divide_on_support(numerator: Tensor, denominator: Tensor, support: Tensor | None = None) -> Tensor:
    """numerator / denominator where `support` (default: denominator > 0) holds, exactly 0 elsewhere."""
    support = denominator > 0 if support is None else support
    return torch.where(support, numerator / torch.where(support, denominator, 1), 0)


def check_image_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return `image_shape` as a tuple of three ints.

    Raises:
        InputError: it is not (C, H, W) of positive whole numbers.
    """
    shape = tuple(image_shape)
    if len(shape) != 3 or any(n != int(n) or n < 1 for n in shape):
        raise InputError(f"image shape {shape} is not (channels, height, width)", "give three positive whole numbers")
    return tuple(int(n) for n in shape)


def as_pair(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """Return one number twice, or two numbers as they are.

    Raises:
        InputError: `value`, of the option `name`, is neither.
    """
    pair = (value, value) if isinstance(value, Real) else tuple(value)
    if len(pair) != 2:
        raise InputError(f"{name}={list(pair)} is neither one number nor two", f"give task.operator.{name} one or two")
    return float(pair[0]), float(pair[1])
