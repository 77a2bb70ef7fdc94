"""Wiener: the linear estimate for a white Gaussian prior, also known as Tikhonov regularisation. No network.

Wiener, "Extrapolation, interpolation, and smoothing of stationary time series" (1949). With x ~ N(0, τ² I) and
y = H x + σ_y n the posterior is Gaussian, and its mean (also its mode) in the spectrum of H is

    x̄ = s ȳ / (s² + σ_y²/τ²)
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.settings import settings


@settings
class Wiener:
    """The exact posterior mean and MAP for the prior N(0, τ² I); at σ_y = 0 the pseudo-inverse. Asks no network.

    Attributes:
        signal_std: τ, standard deviation of a pixel of images in [-1, 1]; 0.5 is near that of photographs.
    """

    needs_prior: ClassVar[bool] = False
    needs_operator: ClassVar[Kind] = "linear"
    signal_std: PositiveFloat = 0.5

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        prior_mean = operator.blank(y)
        return operator.prox(prior_mean, y, noise_std, self.signal_std**2)
