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
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.schedule import DDPMSchedule, Schedule


@dataclass(frozen=True)
class PiGDM:
    """A DDIM step, then a step along Jᵀ g.

    One network evaluation and one vector-Jacobian product a level.

    Attributes:
        eta: η, share of fresh noise of DDIM: 1 (the paper's) is ancestral sampling, 0 is deterministic.
        adaptive_weight: True weighs Jᵀ g as algorithm 1 does. False adds ∇ log p(y | x_t) to the score, and nothing
            else, which samples the exact posterior of the prior N(0, I) as levels are added.
        schedule: noise levels; the paper's are 100 evenly spaced of 1,000 timesteps.

    Raises:
        InputError: η outside [0, 1].
    """

    eta: float = 1.0
    adaptive_weight: bool = True
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=50))

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"method.sampler.eta={self.eta}", "it must lie between 0 and 1; the paper's value is 1")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x = self.step(x, sigma, sigma_next, y, operator, noise_std, denoiser, rng.randn_like(x))
        return x

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
        """From x_t at σ to σ_next ≥ 0 with the given n: (B, C, H, W) -> (B, C, H, W)."""
        denoised, pull_back = denoiser.vjp(x, sigma)
        # g = r² Hᵀ (r² H Hᵀ + σ_y² I)⁻¹ (y − H D): the proximal step from D, of variance r²
        guidance = operator.prox(denoised, y, noise_std, step=sigma**2 / (1 + sigma**2)) - denoised
        kept = (sigma_next / sigma) ** 2
        fresh = self.eta * sigma_next * math.sqrt(1 - kept)
        carried = math.sqrt(kept * (1 - self.eta**2 * (1 - kept)))
        weight = math.sqrt(1 + sigma_next**2) if self.adaptive_weight else (1 - carried) * (1 + sigma**2)
        return denoised + carried * (x - denoised) + fresh * noise + weight * pull_back(guidance)
