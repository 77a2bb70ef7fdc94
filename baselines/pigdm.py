"""ΠGDM: pseudoinverse-guided diffusion models.

Song, Vahdat, Mardani, Kautz, "Pseudoinverse-guided diffusion models for inverse problems" (ICLR 2023), eq. 7-8 and
algorithm 1, carried over to the variance-exploding frame. With p(x_0 | x_t) taken as N(D, r² I), r² = σ²/(1 + σ²)
(exact for the prior N(0, I)), the score of the measurement is

    ∇ log p(y | x_t) = Jᵀ Hᵀ (r² H Hᵀ + σ_y² I)⁻¹ (y − H D) = Jᵀ g / r²,     J = ∂D/∂x_t

where g, the guidance, is H⁺(y − H D) at σ_y = 0. Algorithm 1 adds sqrt(ᾱ) ∂D/∂x_vp g to a step of DDIM
(arXiv:2010.02502, eq. 12 and 16); with x_vp = x / sqrt(1 + σ²), ᾱ = 1/(1 + σ²), that is sqrt(1 + σ_next²) Jᵀ g here.
Unlike a score's weight it does not fall as levels are added, so that many levels favour y beyond the posterior.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.sampling import ancestral, renoise
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings


@settings
class PiGDM:
    """A DDIM step, then a step along Jᵀ g.

    One network evaluation and one vector-Jacobian product per level.

    Attributes:
        eta: η, share of fresh noise of DDIM: 1 (the paper's) is ancestral sampling, 0 is deterministic.
        adaptive_weight: True weighs Jᵀ g as algorithm 1 does. False adds ∇ log p(y | x_t) to the score, and nothing
            else, which samples the exact posterior of the prior N(0, I) as levels are added.
        schedule: noise levels; the paper's are 100 evenly spaced of 1,000 timesteps.
    """

    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    adaptive_weight: bool = True
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=50))

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            denoised, vjp = denoiser.vjp(x, sigma)
            # g = r² Hᵀ (r² H Hᵀ + σ_y² I)⁻¹ (y − H D): the proximal step from D, of variance r²
            g = operator.prox(denoised, y, noise_std, step=sigma**2 / (1 + sigma**2)) - denoised
            guidance = vjp(g)
            # the score with ∇ log p(y | x_t) added to it has the denoiser D + σ² Jᵀ g / r²
            x_0 = denoised if self.adaptive_weight else denoised + (1 + sigma**2) * guidance
            fresh = self.eta**2 * ancestral(sigma, sigma_next)
            x = renoise(x_0, (x - x_0) / sigma, sigma_next, rng.randn_like(x), fresh)
            if self.adaptive_weight:
                x = x + math.sqrt(1 + sigma_next**2) * guidance
        return x
