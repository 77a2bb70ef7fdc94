"""Linear operators as an orthogonal transform and a diagonal: H = U diag(s) Vᵀ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError


class SpectralOperator(ABC):
    """A linear operator given by its singular value decomposition H = U diag(s) Vᵀ.

    V is an orthogonal image-to-image transform, so the spectrum of an image has the image's own
    shape. Subclasses say what s, Vᵀ, V, Uᵀ and U are; forward, adjoint, pinv, prox and residual are
    derived here once and never overridden.

    Attributes:
        image_shape: (C, H, W) of the images it takes.
        singular_values: s ≥ 0, (C, H, W), or (B, C, H, W) where each image has its own; exactly 0 on
            the null space, which includes all below `svd.RANK_TOLERANCE` of the largest. An operator that
            gives each image its own has none until `for_images` is called.
    """

    image_shape: tuple[int, int, int]
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

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """The operator for a batch of named images; it differs from self only if images have masks of their own."""
        return self

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """A copy of the operator with every tensor moved to a device or dtype."""
        copy = object.__new__(type(self))
        for name, value in vars(self).items():
            setattr(copy, name, value.to(device=device, dtype=dtype) if isinstance(value, Tensor) else value)
        return copy

    def on_support(self, c: Tensor) -> Tensor:
        """c where s > 0, exactly 0 elsewhere: (B, C, H, W) -> (B, C, H, W)."""
        return torch.where(self.singular_values > 0, c, 0)

    def forward(self, x: Tensor) -> Tensor:
        """H x: (B, C, H, W) -> (B, *measurement)."""
        return self.spectrum_to_measurement(self.singular_values * self.to_spectrum(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Hᵀ y: (B, *measurement) -> (B, C, H, W)."""
        return self.from_spectrum(self.singular_values * self.measurement_to_spectrum(y))

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

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """‖y − H x‖ of each image, over the range of H: (B,)."""
        return (self.measurement_to_spectrum(y) - self.singular_values * self.to_spectrum(x)).flatten(1).norm(dim=1)

    def observed(self, y: Tensor) -> Tensor:
        """y with 0 wherever nothing is measured (masks that add no noise there)."""
        return y

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        """y = H x + σ_y n.

        Noise outside the range of H is part of y, as in a real measurement; `residual` and
        `measurement_to_spectrum` leave it out.

        Args:
            x: (B, C, H, W) in [-1, 1].
            noise_std: σ_y ≥ 0, images in [-1, 1].
            noise: n ~ N(0, I), (B, *measurement).
        """
        return self.forward(x) + noise_std * self.observed(noise)

    def picture(self, y: Tensor) -> Tensor:
        """The measurement as an image to look at: (B, *measurement) -> (B, C, H, W).

        A measurement laid out as an image is enlarged by repeating pixels and, if grey, repeated over the
        channels; any other is shown as its pseudo-inverse.
        """
        channels, height, width = self.image_shape
        if y.dim() != 4:
            return self.pinv(y)
        return torch.nn.functional.interpolate(y.expand(-1, channels, -1, -1), size=(height, width), mode="nearest")


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
