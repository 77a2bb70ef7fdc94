"""DPS: diffusion posterior sampling.

Chung, Kim, McCann, Klasky, Ye, "Diffusion posterior sampling for general noisy inverse problems" (arXiv:2209.14687),
algorithm 1, carried over to the variance-exploding frame. With x_vp = x / sqrt(1 + σ²), ᾱ = 1/(1 + σ²), the ancestral
step of DDPM (arXiv:2006.11239, eq. 6-7) becomes

    x' = D + (σ_next/σ)² (x − D) + σ_next sqrt(1 − (σ_next/σ)²) n

and the guidance ζ ∇_{x_vp} ‖y − H D‖, subtracted from x_vp' there, is multiplied by sqrt((1 + σ²)(1 + σ_next²)) here.
Of two choices of variance in the paper's code base this is the fixed "small" one; the learned variance of its networks
is not part of a denoiser. D is not clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator, divide_on_support
from vml_bench.schedule import DDPMSchedule, Schedule


@dataclass(frozen=True)
class DPS:
    """An ancestral step, then a gradient step of size ζ on each image's ‖y − H D(x_t)‖.

    One network evaluation and one vector-Jacobian product a level; σ_y is not used.

    Attributes:
        scale: ζ. The authors' configurations, at 1,000 levels, 256×256 and σ_y = 0.05: 0.3 for ×4 super-resolution,
            Gaussian and motion deblurring, 0.5 for random inpainting. With fewer levels hold ζ · levels.
        schedule: noise levels; the paper's are all 1,000 of the linear-β schedule.

    Raises:
        InputError: a negative ζ.
    """

    scale: float = 0.3
    schedule: Schedule = field(default_factory=DDPMSchedule)

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise InputError(f"method.sampler.scale={self.scale}", "it must be 0 or more; the paper's code has 0.3")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x = self.step(x, sigma, sigma_next, y, operator, denoiser, rng.randn_like(x))
        return x

    def step(
        self,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        y: Tensor,
        operator: SpectralOperator,
        denoiser: Denoiser,
        noise: Tensor,
    ) -> Tensor:
        """From x_t at σ to σ_next ≥ 0 with the given n: (B, C, H, W) -> (B, C, H, W)."""
        denoised, pull_back = denoiser.vjp(x, sigma)
        guidance = pull_back(residual_gradient(denoised, y, operator))
        kept = (sigma_next / sigma) ** 2
        ancestral = denoised + kept * (x - denoised) + sigma_next * math.sqrt(1 - kept) * noise
        return ancestral - self.scale * math.sqrt((1 + sigma**2) * (1 + sigma_next**2)) * guidance


def residual_gradient(x: Tensor, y: Tensor, operator: SpectralOperator) -> Tensor:
    """∇_x ‖y − H x‖ of each image, (B, C, H, W); 0 where the residual is."""
    residual = y - operator.forward(x)
    norm = residual.flatten(1).norm(dim=1)[:, None, None, None]
    return -divide_on_support(operator.adjoint(residual), norm.expand_as(x))
