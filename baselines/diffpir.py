"""DiffPIR: plug-and-play image restoration with a diffusion model as the denoiser.

Zhu, Zhang, Liang, Cao, Wen, Timofte, Van Gool, "Denoising diffusion models for plug-and-play image restoration"
(arXiv:2305.08995, CVPR workshops 2023), algorithm 1, carried over to the variance-exploding frame. With
x_vp = x / sqrt(1 + σ²) the effective noise ε̂ = (x_vp − sqrt(ᾱ) x̂_0) / sqrt(1 − ᾱ) is (x − x̂_0)/σ, and the step

    sqrt(ᾱ') x̂_0 + sqrt(1 − ᾱ') (sqrt(1 − ζ) ε̂ + sqrt(ζ) n)    becomes    x̂_0 + σ' (sqrt(1 − ζ) ε̂ + sqrt(ζ) n)

The answer is algorithm 1's: x̂_0 of the last level, after its data step. The authors' code (yuanzhi-zhu/DiffPIR) returns
x at the last level instead, with that level's noise still in it (the network's last evaluation goes unused; in
inpainting the seen pixels are pasted in). It also starts from a noised y and clips D, and this does neither.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from types import SimpleNamespace
from typing import Annotated

from pydantic import Field, PositiveFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.errors import InputError
from vml_bench.sampling import renoise
from vml_bench.schedule import DDPMSchedule, NoiseRange, Schedule
from vml_bench.settings import settings


@settings
class DiffPIR:
    """At each level: D, the proximal step of the measurement from D, and a step to the next level, partly fresh noise.

    One network evaluation per level, no vector-Jacobian product.

    Attributes:
        weight: λ of ρ_t = λ σ_y²/σ_t²: how much D weighs against the measurement. Of no effect at σ_y = 0, where
            the step is the projection onto H x = y. σ_y and σ_t both count on [-1, 1] here; the authors' code counts
            σ_n on [0, 1] and σ_t on [-1, 1], so that its λ is four times the one here. Theirs, at 100 levels, 256×256
            and σ_n = 0.05 (main_ddpir.py; noise of 0.1 on [-1, 1]): 7 for Gaussian and motion deblurring, a sweep over
            2 … 12 for ×4 super-resolution; for noiseless inpainting 1, with σ_n = 0.001 in place of 0.
        zeta: ζ, share of fresh noise. Theirs: 0.3 for deblurring, 0.25 for ×4 super-resolution, 1 for inpainting.
        schedule: noise levels; theirs are 100 (20 in configs/inpaint.yaml) of `QuadraticSchedule`.
    """

    weight: PositiveFloat = 1.75
    zeta: Annotated[float, Field(ge=0, le=1)] = 0.3
    schedule: Schedule = field(default_factory=lambda: QuadraticSchedule())

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            denoised = denoiser(x, sigma)
            x0_hat = operator.prox(denoised, y, noise_std, step=sigma**2 / self.weight)
            epsilon = (x - x0_hat) / sigma
            x = renoise(x0_hat, epsilon, sigma_next, rng.randn_like(x), self.zeta)
        return x


@settings
class QuadraticSchedule:
    """Timesteps of the linear-β diffusion that crowd at small σ: the i-th of N is T − T sqrt(i/(N − 1)).

    "quad" in the authors' code (main_ddpir.py), which its configurations use. Only those of the 1,000 timesteps count
    whose σ lies within the prior's range (with 1 % of tolerance at its ends).

    Attributes:
        levels: N, number of levels, at most half of those timesteps.

    Raises:
        InputError: when called, if N is more than half of the timesteps in the prior's range.
    """

    levels: Annotated[int, Field(ge=2)] = 100

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
