"""DPS: diffusion posterior sampling.

Chung, Kim, McCann, Klasky, Ye, "Diffusion posterior sampling for general noisy inverse problems" (arXiv:2209.14687),
algorithm 1, carried over to the variance-exploding frame. With x_vp = x / sqrt(1 + σ²), ᾱ = 1/(1 + σ²), the ancestral
step of DDPM (arXiv:2006.11239, eq. 6-7) becomes

    x' = x̂_0 + (σ_next/σ)² (x − x̂_0) + σ_next sqrt(1 − (σ_next/σ)²) n,     x̂_0 = D(x, σ)

and the guidance ζ ∇_{x_vp} ‖y − H x̂_0‖, subtracted from x_vp' there, is multiplied by sqrt((1 + σ²)(1 + σ_next²)) here.
The authors' code takes the step's variance from its networks, which learn it, and clips x̂_0. A denoiser has no
variance: here it is the fixed "small" one of their code base, and x̂_0 is not clipped.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise

from pydantic import NonNegativeFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.operators.base import divide_on_support
from vml_bench.sampling import ancestral, renoise
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings


@settings
class DPS:
    """An ancestral step, then a gradient step of size ζ on each image's ‖y − H D(x_t)‖.

    One network evaluation and one vector-Jacobian product per level; σ_y is not used.

    Attributes:
        scale: ζ. The authors' configurations, at 1,000 levels, 256×256 and σ_y = 0.05: 0.3 for ×4 super-resolution,
            Gaussian and motion deblurring, 0.5 for random inpainting. With fewer levels hold ζ · levels.
        schedule: noise levels; the paper's are all 1,000 of the linear-β schedule.
    """

    scale: NonNegativeFloat = 0.3
    schedule: Schedule = field(default_factory=DDPMSchedule)

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x0_hat, vjp = denoiser.vjp(x, sigma)
            residual = y - operator.forward(x0_hat)
            norm = residual.flatten(1).norm(dim=1)[:, None, None, None].expand_as(x)
            gradient = -vjp(divide_on_support(operator.adjoint(residual), norm))  # ∇ ‖y − H x̂_0‖; 0 where that is
            x = renoise(x0_hat, (x - x0_hat) / sigma, sigma_next, rng.randn_like(x), ancestral(sigma, sigma_next))
            x = x - self.scale * math.sqrt((1 + sigma**2) * (1 + sigma_next**2)) * gradient
        return x
