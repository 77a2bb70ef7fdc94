"""DDNM and DDNM+: the denoising diffusion null-space model.

Wang, Yu, Zhang, "Zero-shot image restoration using denoising diffusion null-space model" (arXiv:2212.00490), in the
variance-exploding frame and the spectrum of H. DDNM (σ_y = 0; eq. 13-14) puts the measurement into D,

    x̂_0 = D + H⁺(y − H D),     x' = x̂_0 + σ_next (η n + sqrt(1 − η²) (x − D)/σ)

and DDNM+ (σ_y > 0; eq. 17-19 and their form for each singular value in the appendix) puts in a part λ of it, and adds
as much noise as makes up σ_next together with what λ took from y:

    σ_y/s ≤ σ_next:   λ = 1,                             noise sqrt(σ_next² − (σ_y/s)²) n
    σ_y/s > σ_next:   λ = sqrt(1 − η²) σ_next s/σ_y,     noise η σ_next n
    s = 0:            D as it is,                        noise as in DDNM

At the last step, to σ = 0, the answer of DDNM+ is D. The steps are those of the authors' code (github.com/wyhuai/DDNM,
functions/svd_ddnm.py, svd_operators.py), which draws with DDIM's η where the paper's equations are DDPM's; but where
that code, at super-resolution and colouring, takes the pixels of (x − D)/σ for its spectrum, its spectrum stands here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
class DDNM:
    """Replaces what y says of D, and leaves the null space to the prior.

    One network evaluation a step; without travel, a step a level.

    Attributes:
        eta: η, share of fresh noise; 0.85 in the authors' code.
        travel_length: l ≥ 1, levels climbed back at a time by time travel (the paper's section on it, after RePaint,
            arXiv:2201.09865). Each l levels, x is put back l levels by noising the last D.
        travel_repeat: r ≥ 1, times that each stretch of l levels is passed; 1 is no travel, the authors' default.
        schedule: noise levels; the authors' are 100, every tenth of 1,000 timesteps from the first.

    Raises:
        InputError: η outside [0, 1], or a travel length or repeat below 1.
    """

    eta: float = 0.85
    travel_length: int = 1
    travel_repeat: int = 1
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=100, spacing="leading"))

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"method.sampler.eta={self.eta}", "it must lie between 0 and 1; the authors' is 0.85")
        for name, value in (("travel_length", self.travel_length), ("travel_repeat", self.travel_repeat)):
            if value < 1:
                raise InputError(f"method.sampler.{name}={value}", "it must be 1 or more")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        denoised = torch.zeros_like(x)
        for sigma, sigma_next in pairwise([*(levels[k] for k in self.visits(len(levels))), 0.0]):
            if sigma_next > sigma:
                x = denoised + sigma_next * rng.randn_like(x)
            else:
                denoised = denoiser(x, sigma)
                x = self.step(x, denoised, sigma, sigma_next, y, operator, noise_std, rng.randn_like(x))
        return x

    def visits(self, levels: int) -> Iterator[int]:
        """Indices of the levels in the order of their visits; a rise is a jump back to more noise."""
        passes = {t: self.travel_repeat - 1 for t in range(0, levels - self.travel_length, self.travel_length)}
        t = levels - 1  # levels still to come after this one, as the authors count time
        while t >= 0:
            yield levels - 1 - t
            if passes.get(t, 0) > 0:
                passes[t] -= 1
                t += self.travel_length
            else:
                t -= 1

    def step(
        self,
        x: Tensor,
        denoised: Tensor,
        sigma: float,
        sigma_next: float,
        y: Tensor,
        operator: SpectralOperator,
        noise_std: float,
        noise: Tensor,
    ) -> Tensor:
        """From x_t at σ, with D of it and n in the spectrum, to σ_next ≥ 0: (B, C, H, W) -> (B, C, H, W)."""
        s = operator.singular_values
        x_bar, d_bar = operator.to_spectrum(x), operator.to_spectrum(denoised)
        error = divide_on_support(operator.measurement_to_spectrum(y), s) - operator.on_support(d_bar)
        kept = math.sqrt(1 - self.eta**2) * sigma_next
        blended = kept * (x_bar - d_bar) / sigma + self.eta * sigma_next * noise
        if noise_std == 0:
            return operator.from_spectrum(d_bar + error + blended)
        measured_std = divide_on_support(torch.full_like(s, noise_std), s)
        cleaner = measured_std <= sigma_next
        share = torch.where(cleaner, 1, divide_on_support(torch.full_like(s, kept), measured_std))
        fresh = torch.where(cleaner, (sigma_next**2 - measured_std.square()).clamp_min(0).sqrt(), self.eta * sigma_next)
        return operator.from_spectrum(d_bar + share * error + torch.where(s > 0, fresh * noise, blended))
