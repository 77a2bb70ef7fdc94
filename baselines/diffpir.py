"""DiffPIR: plug-and-play image restoration with a diffusion model as the denoiser.

Zhu, Zhang, Liang, Cao, Wen, Timofte, Van Gool, "Denoising diffusion models for plug-and-play image restoration"
(arXiv:2305.08995, CVPR workshops 2023), algorithm 1, carried over to the variance-exploding frame. With
x_vp = x / sqrt(1 + σ²) the effective noise ε̂ = (x_vp − sqrt(ᾱ) x̂_0) / sqrt(1 − ᾱ) is (x − x̂_0)/σ, and the step

    sqrt(ᾱ') x̂_0 + sqrt(1 − ᾱ') (sqrt(1 − ζ) ε̂ + sqrt(ζ) n)    becomes    x̂_0 + σ' (sqrt(1 − ζ) ε̂ + sqrt(ζ) n)

At the last level algorithm 1 is followed, whose answer is x̂_0 after its data step; the authors' code leaves that step
out there, pastes the seen pixels in at the end of inpainting, and clips D, which is not done here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.schedule import DDPMSchedule, NoiseRange, Schedule


@dataclass(frozen=True)
class QuadraticSchedule:
    """Timesteps of the linear-β diffusion that crowd at small σ: the i-th of N is T − T sqrt(i/(N − 1)).

    "quad" in the authors' code (yuanzhi-zhu/DiffPIR, main_ddpir.py), which its configurations use; over those of the
    1,000 timesteps whose σ lies within the prior's range (1 % of tolerance at its ends).

    Attributes:
        levels: N ≥ 2, number of levels, at most half of those timesteps.

    Raises:
        InputError: fewer than two levels, or more than half of the timesteps in the prior's range.
    """

    levels: int = 100

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise InputError(f"schedule.levels={self.levels}", "it must be 2 or more")

    def __call__(self, prior: NoiseRange) -> list[float]:
        """The levels for a prior, largest first."""
        diffusion = DDPMSchedule(levels=1000)(SimpleNamespace(sigma_min=0.0, sigma_max=math.inf))
        sigmas = [sigma for sigma in diffusion if prior.sigma_min * 0.99 <= sigma <= prior.sigma_max * 1.01]
        if self.levels > len(sigmas) // 2:
            raise InputError(
                f"{self.levels} levels asked for, but only {len(sigmas)} timesteps lie within the prior's "
                f"{prior.sigma_min:g} … {prior.sigma_max:g}",
                f"set schedule.levels to {len(sigmas) // 2} or less",
            )
        last = len(sigmas) - 1
        chosen = [min(int(len(sigmas) * math.sqrt(i / (self.levels - 1))), last) for i in range(self.levels)]
        return [min(max(sigmas[i], prior.sigma_min), prior.sigma_max) for i in chosen]


@dataclass(frozen=True)
class DiffPIR:
    """At each level D, the proximal step of the measurement from D, and a step to the next level with part fresh noise.

    One network evaluation a level, no vector-Jacobian product.

    Attributes:
        weight: λ > 0 of ρ_t = λ σ_y²/σ_t²: how much D weighs against the measurement. Of no effect at σ_y = 0, where
            the step is the projection onto H x = y. σ_y and σ_t both count on [-1, 1] here; the authors' code counts
            σ_n on [0, 1] and σ_t on [-1, 1], so that its λ is four times ours. Theirs, at 100 levels, 256×256 and
            σ_n = 0.05 (main_ddpir.py; noise of 0.1 on [-1, 1]): 7 for Gaussian and motion deblurring, a sweep over
            2 … 12 for ×4 super-resolution; for noiseless inpainting 1, with σ_n = 0.001 in place of 0.
        zeta: ζ, share of fresh noise. Theirs: 0.3 for deblurring, 0.25 for ×4 super-resolution, 1 for inpainting.
        schedule: noise levels; theirs are 100 (20 in configs/inpaint.yaml) of `QuadraticSchedule`.

    Raises:
        InputError: λ not above 0, or ζ outside [0, 1].
    """

    weight: float = 1.75
    zeta: float = 0.3
    schedule: Schedule = field(default_factory=QuadraticSchedule)

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise InputError(f"method.sampler.weight={self.weight}", "it must be > 0; the authors' 7 is 1.75 here")
        if not 0 <= self.zeta <= 1:
            raise InputError(f"method.sampler.zeta={self.zeta}", "it must lie between 0 and 1")

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
        x0_hat = operator.prox(denoiser(x, sigma), y, noise_std, step=sigma**2 / self.weight)
        effective_noise = (x - x0_hat) / sigma
        return x0_hat + sigma_next * (math.sqrt(1 - self.zeta) * effective_noise + math.sqrt(self.zeta) * noise)
