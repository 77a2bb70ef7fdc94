"""DDNM and DDNM+: the denoising diffusion null-space model.

Wang, Yu, Zhang, "Zero-shot image restoration using denoising diffusion null-space model" (arXiv:2212.00490), in the
variance-exploding frame and the spectrum of H. DDNM (σ_y = 0; eq. 13-14) puts the measurement into D,

    x̂_0 = D + H⁺(y − H D),     x' = x̂_0 + σ_next (η n + sqrt(1 − η²) ε),     ε = (x − D)/σ

and DDNM+ (σ_y > 0; eq. 17-19 and their form for each singular value in the appendix) puts in a share λ of it, and adds
noise so that the total variance, with what λ takes over from y, is σ_next²:

    σ_y/s ≤ σ_next:   λ = 1,                             noise sqrt(σ_next² − (σ_y/s)²) n
    σ_y/s > σ_next:   λ = sqrt(1 − η²) σ_next s/σ_y,     noise η σ_next n
    s = 0:            D as it is,                        noise as in DDNM

At the last step, to σ = 0, the answer of DDNM+ is D. The steps are those of the authors' program
(github.com/wyhuai/DDNM, commit 00b58ea, functions/svd_ddnm.py, svd_operators.py), which draws with DDIM's η where the
paper's equations are DDPM's. Under noise that program takes two
things otherwise, each an option here: for super-resolution and colouring, the pixels of ε for its spectrum; for blurs,
whose H has scrambled singular values there (`vml_bench.operators.separable.scramble`), λ and the noise from the blur's
own ones, uncut, so that they do not fit H: on photos this costs 12 dB. It has no noisy form for bicubic or anisotropic
operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import field
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.identity import AsBefore
from vml_bench.operators import BlockAverage, Colorize, SeparableBlur
from vml_bench.sampling import measured_spectrum, renoise
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings


@settings
class DDNM:
    """Replaces what y says of D, and leaves the null space to the prior.

    One network evaluation per step; without time travel, one step per level.

    Attributes:
        eta: η, share of fresh noise; 0.85 in the authors' code.
        travel_length: l, levels climbed back at a time by time travel (the paper's section on it, after RePaint,
            arXiv:2201.09865). Every l levels, x is put back l levels by noising the last D.
        travel_repeat: r, how often each stretch of l levels is passed; 1 is no travel, the authors' default.
        schedule: noise levels; the authors' are 100, every tenth of 1,000 timesteps from the first.
        epsilon_as_spectrum: for `BlockAverage` and `Colorize` under noise, take the pixels of ε for its spectrum, as
            the program does: see `from_block_spectrum`. For other operators it changes nothing.
        lambda_of_blur: for separable blurs under noise, λ and the noise go by the blur's own singular values, neither
            cut nor scrambled, as in the program. For other operators it changes nothing.
    """

    eta: Annotated[float, Field(ge=0, le=1)] = 0.85
    travel_length: PositiveInt = 1
    travel_repeat: PositiveInt = 1
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=100, spacing="leading"))
    epsilon_as_spectrum: Annotated[bool, AsBefore(False)] = False
    lambda_of_blur: Annotated[bool, AsBefore(False)] = False

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels, eta = self.schedule(denoiser), self.eta
        observed = operator.singular_values > 0
        y_bar, y_std = measured_spectrum(y, operator, noise_std)
        if self.lambda_of_blur and isinstance(operator, SeparableBlur):
            y_std = noise_std / operator.blur_singular_values
        in_blocks = self.epsilon_as_spectrum and isinstance(operator, (BlockAverage, Colorize))
        x = denoised = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(y_bar)
        visited = [levels[k] for k in visits(len(levels), self.travel_length, self.travel_repeat)]
        for sigma, sigma_next in pairwise([*visited, 0.0]):
            noise = rng.randn_like(x)
            if sigma_next > sigma:  # time travel
                x = denoised + sigma_next * noise
                continue
            denoised = denoiser(x, sigma)
            x_bar, d_bar = operator.to_spectrum(x), operator.to_spectrum(denoised)
            correction = torch.where(observed, y_bar - d_bar, 0)  # H⁺(y − H D)
            epsilon = (x_bar - d_bar) / sigma
            if noise_std == 0:
                x_bar = renoise(d_bar + correction, epsilon, sigma_next, noise, eta**2)
            else:
                cleaner = y_std <= sigma_next
                lam = torch.where(cleaner, 1, math.sqrt(1 - eta**2) * sigma_next / y_std)
                std = torch.where(cleaner, (sigma_next**2 - y_std.square()).sqrt(), eta * sigma_next)
                if in_blocks:
                    epsilon = operator.to_spectrum(from_block_spectrum((x - denoised) / sigma, y, operator))
                unobserved = renoise(d_bar, epsilon, sigma_next, noise, eta**2)
                x_bar = torch.where(y_std < math.inf, d_bar + lam * correction + std * noise, unobserved)
            x = operator.from_spectrum(x_bar)
        return x


def from_block_spectrum(c: Tensor, y: Tensor, operator: Operator) -> Tensor:
    """V c with the V of the authors' program, for operators that see one mean of each block of pixels or channels.

    In each block, the first place is the coefficient of the seen direction, and the others are those of the unseen
    ones. The program has V from LAPACK's decomposition of a single row: the reflection that turns the first place into
    minus the seen direction.

    Args:
        c: (B, C, H, W).
        y: (B, c, M, N); a block has C/c channels and H/M × W/N pixels.
        operator: H.

    Returns:
        (B, C, H, W).
    """
    sizes = zip(y.shape[1:], c.shape[1:], strict=True)
    shape, within = [-1, *(n for blocks, side in sizes for n in (blocks, side // blocks))], (2, 4, 6)
    seen = operator.adjoint(torch.ones_like(y)).reshape(shape)
    axis = seen / seen.square().sum(within, keepdim=True).sqrt()
    axis[:, :, 0, :, 0, :, 0] += 1
    c_blocks = c.reshape(shape)
    along = (axis * c_blocks).sum(within, keepdim=True) / axis.square().sum(within, keepdim=True)
    return (c_blocks - 2 * along * axis).view_as(c)


def visits(levels: int, length: int, repeat: int) -> Iterator[int]:
    """Indices of the levels in the order of their visits; a jump back is to more noise.

    Args:
        levels: number of levels.
        length, repeat: l and r of time travel.
    """
    passes = {t: repeat - 1 for t in range(0, levels - length, length)}
    t = levels - 1  # levels still to come after this one, as the authors count time
    while t >= 0:
        yield levels - 1 - t
        if passes.get(t, 0) > 0:
            passes[t] -= 1
            t += length
        else:
            t -= 1
