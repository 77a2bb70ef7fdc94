"""DiffPIR: plug-and-play image restoration with a diffusion model as the denoiser.

Zhu, Zhang, Liang, Cao, Wen, Timofte, Van Gool, "Denoising diffusion models for plug-and-play image restoration"
(arXiv:2305.08995, CVPR workshops 2023), algorithm 1, carried over to the variance-exploding frame. With
x_vp = x / sqrt(1 + σ²) the effective noise ε̂ = (x_vp − sqrt(ᾱ) x̂_0) / sqrt(1 − ᾱ) is (x − x̂_0)/σ, and the step

    sqrt(ᾱ') x̂_0 + sqrt(1 − ᾱ') (sqrt(1 − ζ) ε̂ + sqrt(ζ) n)    becomes    x̂_0 + σ' (sqrt(1 − ζ) ε̂ + sqrt(ζ) n)

The answer is algorithm 1's: x̂_0 of the last level, after its data step. The authors' program (yuanzhi-zhu/DiffPIR)
returns x at the last level instead, with that level's noise still in it: its last evaluation of the network goes unused
(here it is left out), and the seen pixels that it pastes in when inpainting come after the picture that it scores and
saves. It also starts from a noised y, clips D, and never takes σ_y for less than 0.001 on [0, 1]. All of these are
options; conf/method/published/diffpir.yaml sets them.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.sampling import renoise
from vml_bench.schedule import DDPMSchedule, NoiseRange, Schedule
from vml_bench.settings import settings


@settings
class DiffPIR:
    """At each level: D, the proximal step of the measurement from D, and a step to the next level, partly fresh noise.

    One network evaluation per level, no vector-Jacobian product.

    Attributes:
        weight: λ of ρ_t = λ σ_y²/σ_t²: how much D weighs against the measurement. Of no effect at σ_y = 0, where
            the step is the projection onto H x = y. σ_y and σ_t both count on [-1, 1] here; the authors' program
            counts σ_n on [0, 1] and σ_t on [-1, 1], so that its λ is four times the one here.
        zeta: ζ, share of fresh noise. Theirs: 0.3 for deblurring, 0.25 for ×4 super-resolution, 1 for inpainting.
        schedule: noise levels; theirs are 100 (20 in configs/inpaint.yaml) of `QuadraticSchedule`.
        noise_floor: least σ_y of the data step, on [-1, 1]; 0.002 in main_ddpir.py (`sigma`, 0.001 on [0, 1]).
        start: "noise", sqrt(1 + σ_max²) n; or "measurement", y with noise added up to σ_max, as in
            main_ddpir_deblur.py and main_ddpir_inpainting.py. Where y is smaller than the image it is enlarged by
            repeating pixels (theirs: bicubic, main_ddpir_sisr.py), and unseen pixels are grey (theirs: black); beside
            σ_max = 157 neither matters.
        clip: whether D is clipped to [-1, 1], as in utils/utils_model.py (`clip_denoised`).
        answer: "estimate", x̂_0 of the last level; or "last_level", x_t there in the variance-preserving frame, as
            main_ddpir.py does, with its noise and without an evaluation of the network.
    """

    needs_operator: ClassVar[Kind] = "linear"

    weight: PositiveFloat = 1.75
    zeta: Annotated[float, Field(ge=0, le=1)] = 0.3
    schedule: Schedule = field(default_factory=lambda: QuadraticSchedule())
    noise_floor: Annotated[NonNegativeFloat, AsBefore(0.0)] = 0.0
    start: Annotated[Literal["noise", "measurement"], AsBefore("noise")] = "noise"
    clip: Annotated[bool, AsBefore(False)] = False
    answer: Annotated[Literal["estimate", "last_level"], AsBefore("estimate")] = "estimate"

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        levels = self.schedule(denoiser)
        visited = levels if self.answer == "last_level" else [*levels, 0.0]
        std = max(noise_std, self.noise_floor)
        x = self._start(y, operator, noise_std, levels[0], rng)
        for sigma, sigma_next in pairwise(visited):
            denoised = denoiser(x, sigma)
            denoised = denoised.clamp(-1, 1) if self.clip else denoised
            x0_hat = operator.prox(denoised, y, std, step=sigma**2 / self.weight)
            epsilon = (x - x0_hat) / sigma
            x = renoise(x0_hat, epsilon, sigma_next, rng.randn_like(x), self.zeta)
        return x / math.sqrt(1 + levels[-1] ** 2) if self.answer == "last_level" else x

    def _start(self, y: Tensor, operator: Operator, noise_std: float, sigma_max: float, rng: Noise) -> Tensor:
        """x at σ_max, (B, C, H, W)."""
        noise = rng.randn_like(operator.blank(y))
        if self.start == "noise":
            return math.sqrt(1 + sigma_max**2) * noise
        # y times sqrt(1 + σ²) is x_t of the variance-preserving frame, its noise taken for that of the nearest timestep
        sigma = min(timesteps(), key=lambda level: abs(level - noise_std))
        added = math.sqrt(max(sigma_max**2 - sigma**2, 0))
        return math.sqrt(1 + sigma**2) * operator.picture(y) + added * noise


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
        sigmas = [sigma for sigma in timesteps() if prior.sigma_min * 0.99 <= sigma <= prior.sigma_max * 1.01]
        if self.levels > len(sigmas) // 2:
            raise InputError(
                f"{self.levels} levels asked for, but only {len(sigmas)} timesteps lie within the prior's "
                f"{prior.sigma_min:g} … {prior.sigma_max:g}",
                f"set schedule.levels to {len(sigmas) // 2} or less",
            )
        last = len(sigmas) - 1
        chosen = [min(int(math.sqrt(i * (len(sigmas) ** 2 / (self.levels - 1)))), last) for i in range(self.levels)]
        return [min(max(sigmas[i], prior.sigma_min), prior.sigma_max) for i in chosen]


def timesteps() -> list[float]:
    """σ of the linear-β diffusion's 1,000 timesteps, largest first."""
    return DDPMSchedule(levels=1000)(SimpleNamespace(sigma_min=0.0, sigma_max=math.inf))
