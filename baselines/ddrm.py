"""DDRM: denoising diffusion restoration models.

Kawar, Elad, Ermon, Song, "Denoising diffusion restoration models" (arXiv:2201.11793), eq. 4-8, already in the
variance-exploding frame and the spectrum of H: ȳ is the measurement's spectrum divided by s, and its noise there has
the standard deviation σ_y/s. The last step, to σ = 0, follows the equations and not the authors' code: without
measurement noise the observed part of the answer is ȳ itself.
"""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.sampling import measured_spectrum, renoise
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings


@settings
class DDRM:
    """Samples each spectral coordinate by what is known of it: unobserved, noisier than y, or cleaner than y.

    One network evaluation per level.

    Attributes:
        eta: η, share of fresh noise where σ_t < σ_y/s or s = 0; 0.85 in the paper.
        eta_b: η_b, weight of ȳ where σ_t ≥ σ_y/s; 1 in the paper.
        schedule: noise levels; the paper's are 20 evenly spaced of 1,000 timesteps.
    """

    eta: Annotated[float, Field(ge=0, le=1)] = 0.85
    eta_b: Annotated[float, Field(ge=0, le=1)] = 1.0
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=20, spacing="leading"))

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        levels = self.schedule(denoiser)
        eta, eta_b = self.eta, self.eta_b
        y_bar, y_std = measured_spectrum(y, operator, noise_std)
        # eq. 7: x_T ~ N(ȳ, σ_T² − σ_y²/s²) where y is cleaner than x_T, N(0, σ_T²) elsewhere
        cleaner = y_std <= levels[0]
        std = (levels[0] ** 2 - torch.where(cleaner, y_std, 0).square()).sqrt()
        x = operator.from_spectrum(torch.where(cleaner, y_bar, 0) + std * rng.randn_like(y_bar))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x_bar, x0_bar = operator.to_spectrum(x), operator.to_spectrum(denoiser(x, sigma))
            noise = rng.randn_like(x)
            # eq. 8: where s = 0, where y is noisier than σ_next, and where it is cleaner
            unobserved = renoise(x0_bar, (x_bar - x0_bar) / sigma, sigma_next, noise, eta**2)
            from_noisy_y = renoise(x0_bar, (y_bar - x0_bar) / y_std, sigma_next, noise, eta**2)
            std = (sigma_next**2 - (eta_b * y_std).square()).sqrt()
            from_clean_y = (1 - eta_b) * x0_bar + eta_b * y_bar + std * noise
            observed = torch.where(y_std <= sigma_next, from_clean_y, from_noisy_y)
            x = operator.from_spectrum(torch.where(operator.singular_values > 0, observed, unobserved))
        return x
