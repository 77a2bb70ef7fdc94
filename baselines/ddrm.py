"""DDRM: denoising diffusion restoration models.

Kawar, Elad, Ermon, Song, "Denoising diffusion restoration models" (arXiv:2201.11793), eq. 4-8, already in the
variance-exploding frame and the spectrum of H: ȳ is the measurement's spectrum divided by s, and its noise there has
the standard deviation σ_y/s. At the last step, to σ = 0, the equations are followed and not the authors' code: without
measurement noise the observed part of the answer is ȳ itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator, divide_on_support
from vml_bench.schedule import DDPMSchedule, Schedule


@dataclass(frozen=True)
class DDRM:
    """Samples each spectral coordinate by what is known of it: unobserved, noisier than y, or cleaner than y.

    One network evaluation a level.

    Attributes:
        eta: η, share of fresh noise where σ_t < σ_y/s or s = 0; 0.85 in the paper.
        eta_b: η_b, weight of ȳ where σ_t ≥ σ_y/s; 1 in the paper.
        schedule: noise levels; the paper's are 20 evenly spaced of 1,000 timesteps.

    Raises:
        InputError: η or η_b outside [0, 1].
    """

    eta: float = 0.85
    eta_b: float = 1.0
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=20, spacing="leading"))

    def __post_init__(self) -> None:
        for name, value in (("eta", self.eta), ("eta_b", self.eta_b)):
            if not 0 <= value <= 1:
                raise InputError(f"method.sampler.{name}={value}", "it must lie between 0 and 1")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts as `start` says."""
        levels = self.schedule(denoiser)
        x = self.start(levels[0], y, operator, noise_std, rng.randn_like(operator.adjoint(y)))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x = self.step(x, sigma, sigma_next, y, operator, noise_std, denoiser, rng.randn_like(x))
        return x

    def start(self, sigma: float, y: Tensor, operator: SpectralOperator, noise_std: float, noise: Tensor) -> Tensor:
        """x_T: N(ȳ, σ_T² − σ_y²/s²) where y is cleaner than x_T, N(0, σ_T²) elsewhere (eq. 7).

        Args:
            sigma: σ_T.
            y: (B, *measurement).
            operator: H.
            noise_std: σ_y ≥ 0.
            noise: n ~ N(0, I), (B, C, H, W), in the spectrum.
        """
        measured, measured_std, cleaner = _measured(sigma, y, operator, noise_std)
        variance = sigma**2 - torch.where(cleaner, measured_std, 0).square()
        return operator.from_spectrum(torch.where(cleaner, measured, 0) + variance.sqrt() * noise)

    def step(
        self,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        y: Tensor,
        operator: SpectralOperator,
        noise_std: float,
        denoiser: Denoiser,
        noise: Tensor,
    ) -> Tensor:
        """From x_t at σ to σ_next ≥ 0 with the given n in the spectrum (eq. 8): (B, C, H, W) -> (B, C, H, W)."""
        x_bar, d_bar = operator.to_spectrum(x), operator.to_spectrum(denoiser(x, sigma))
        measured, measured_std, cleaner = _measured(sigma_next, y, operator, noise_std)
        carried = math.sqrt(1 - self.eta**2) * sigma_next
        unobserved = d_bar + carried * (x_bar - d_bar) / sigma + self.eta * sigma_next * noise
        from_noisy_y = d_bar + carried * divide_on_support(measured - d_bar, measured_std)
        from_noisy_y = from_noisy_y + self.eta * sigma_next * noise
        variance = sigma_next**2 - (self.eta_b * torch.where(cleaner, measured_std, 0)).square()
        from_clean_y = (1 - self.eta_b) * d_bar + self.eta_b * measured + variance.sqrt() * noise
        observed = torch.where(cleaner, from_clean_y, from_noisy_y)
        return operator.from_spectrum(torch.where(operator.singular_values > 0, observed, unobserved))


def _measured(sigma: float, y: Tensor, operator: SpectralOperator, noise_std: float) -> tuple[Tensor, Tensor, Tensor]:
    """ȳ, its standard deviation σ_y/s (both 0 where s = 0), and where it is no noisier than σ: s > 0, σ_y/s ≤ σ."""
    s = operator.singular_values
    measured = divide_on_support(operator.measurement_to_spectrum(y), s)
    measured_std = divide_on_support(torch.full_like(s, noise_std), s)
    return measured, measured_std, (s > 0) & (measured_std <= sigma)
