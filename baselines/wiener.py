"""Wiener: the linear estimate for a white Gaussian prior, also known as Tikhonov regularisation. No network.

Wiener, "Extrapolation, interpolation, and smoothing of stationary time series" (1949). With x ~ N(0, τ² I) and
y = H x + σ_y n the posterior is Gaussian, and its mean (also its mode) in the spectrum of H is

    x̄ = s ȳ / (s² + σ_y²/τ²)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator


@dataclass(frozen=True)
class Wiener:
    """The exact posterior mean and MAP for the prior N(0, τ² I); at σ_y = 0 the pseudo-inverse. Asks no network.

    Attributes:
        signal_std: τ, standard deviation of a pixel of images in [-1, 1]; 0.5 is near that of photographs.

    Raises:
        InputError: τ ≤ 0.
    """

    needs_prior: ClassVar[bool] = False
    signal_std: float = 0.5

    def __post_init__(self) -> None:
        if not self.signal_std > 0:
            raise InputError(f"method.sampler.signal_std={self.signal_std}", "it must be > 0; photographs have 0.5")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        prior_mean = torch.zeros_like(operator.adjoint(y))
        return operator.prox(prior_mean, y, noise_std, self.signal_std**2)
