"""DDRM: denoising diffusion restoration models.

Kawar, Elad, Ermon, Song, "Denoising diffusion restoration models" (arXiv:2201.11793), eq. 4-8, already in the
variance-exploding frame and the spectrum of H: ȳ is the measurement's spectrum divided by s, and its noise there has
the standard deviation σ_y/s. By default everything follows the equations: without measurement noise the observed part
of the answer, at the last step, is ȳ itself. The authors' program (github.com/bahjat-kawar/ddrm, commit 32b6b3c,
functions/denoising.py) departs from them in three places, each of which is an option here. Its blurs are operators of
their own: `vml_bench.operators.separable.scramble`.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.identity import AsBefore
from vml_bench.sampling import measured_spectrum, null_noise, renoise
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
        last_step: the answer: "equations", whose observed part is ȳ where σ_y = 0, or "denoised", the last D as in the
            program. The same where σ_y > 0.
        null_direction: ε where s = 0: "network", (x − D)/σ as in the equations, or "measurement", Uᵀ y/σ_y as in the
            program, which takes the singular values that its blurs set to 0 for very small ones. The same without
            noise, and for operators that are no separable blur.
        unit_start: start from variance 1 in the variance-preserving frame, x_T/σ_T as in the program, and not from
            x_T/√(1 + σ_T²).
    """

    eta: Annotated[float, Field(ge=0, le=1)] = 0.85
    eta_b: Annotated[float, Field(ge=0, le=1)] = 1.0
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=20, spacing="leading"))
    last_step: Annotated[Literal["equations", "denoised"], AsBefore("equations")] = "equations"
    null_direction: Annotated[Literal["network", "measurement"], AsBefore("network")] = "network"
    unit_start: Annotated[bool, AsBefore(False)] = False

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        levels = self.schedule(denoiser)
        eta, eta_b = self.eta, self.eta_b
        y_bar, y_std = measured_spectrum(y, operator, noise_std)
        noise_y = null_noise(y, operator, noise_std) if self.null_direction == "measurement" else None
        # eq. 7: x_T ~ N(ȳ, σ_T² − σ_y²/s²) where y is cleaner than x_T, N(0, σ_T²) elsewhere
        cleaner = y_std <= levels[0]
        std = (levels[0] ** 2 - torch.where(cleaner, y_std, 0).square()).sqrt()
        x = operator.from_spectrum(torch.where(cleaner, y_bar, 0) + std * rng.randn_like(y_bar))
        x = x * (math.sqrt(1 + levels[0] ** -2) if self.unit_start else 1)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x_0 = denoiser(x, sigma)
            x_bar, x0_bar = operator.to_spectrum(x), operator.to_spectrum(x_0)
            noise = rng.randn_like(x)
            # eq. 8: where s = 0, where y is noisier than σ_next, and where it is cleaner
            epsilon = (x_bar - x0_bar) / sigma if noise_y is None else noise_y
            unobserved = renoise(x0_bar, epsilon, sigma_next, noise, eta**2)
            from_noisy_y = renoise(x0_bar, (y_bar - x0_bar) / y_std, sigma_next, noise, eta**2)
            std = (sigma_next**2 - (eta_b * y_std).square()).sqrt()
            from_clean_y = (1 - eta_b) * x0_bar + eta_b * y_bar + std * noise
            observed = torch.where(y_std <= sigma_next, from_clean_y, from_noisy_y)
            x = operator.from_spectrum(torch.where(operator.singular_values > 0, observed, unobserved))
        return x_0 if self.last_step == "denoised" else x
