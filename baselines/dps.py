"""DPS: diffusion posterior sampling.

Chung, Kim, McCann, Klasky, Ye, "Diffusion posterior sampling for general noisy inverse problems" (arXiv:2209.14687),
algorithm 1, carried over to the variance-exploding frame. With x_vp = x / sqrt(1 + σ²), ᾱ = 1/(1 + σ²), the ancestral
step of DDPM (arXiv:2006.11239, eq. 6-7) becomes

    x' = x̂_0 + (σ_next/σ)² (x − x̂_0) + σ_next sqrt(1 − (σ_next/σ)²) n,     x̂_0 = D(x, σ)

and the guidance ζ ∇_{x_vp} ‖y − H x̂_0‖, subtracted from x_vp' there, is multiplied by sqrt((1 + σ²)(1 + σ_next²)) here.

Poisson noise. The paper takes it for Gaussian noise whose variance is y itself, so that the gradient is that of a
weighted norm, ‖y − H x̂_0‖_Λ with Λ diagonal and Λ_jj ∝ 1/y_j. That is approximate twice: a Poisson distribution is
Gaussian for many photons only, and y is not its own mean. Here y_j counts as one photon at least, and Λ has mean 1, so
that ζ is on the scale it has under Gaussian noise, which is this project's. The program does neither: it divides the
plain norm by |y|, y on [-1, 1].

The authors' program (github.com/DPS2022/diffusion-posterior-sampling) does two more things, which are options here: it
clips x̂_0, and its networks have learned the variance of n. It also adds noise to the pixels that a mask hides, and so
counts it in ‖y − H x̂_0‖: an option of the masks (`noise_on_unseen`), since it is y that differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, NoiseModel, Operator, Prior
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
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
        clip: whether x̂_0 is clipped to [-1, 1], the gradient being 0 where it is (clip_denoised in the program's
            configs/diffusion_config.yaml).
        variance: of the ancestral step's noise: "small", DDPM's with x_0 known, as above; or "learned", what the prior
            learned (model_var_type learned_range in the same file), for priors with `learned_variance`.
    """

    needs_operator: ClassVar[Kind] = "differentiable"
    takes_noise: ClassVar[tuple[NoiseModel, ...]] = ("gaussian", "poisson")

    scale: NonNegativeFloat = 0.3
    schedule: Schedule = field(default_factory=DDPMSchedule)
    clip: Annotated[bool, AsBefore(False)] = False
    variance: Annotated[Literal["small", "learned"], AsBefore("small")] = "small"

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        self.check(denoiser)
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.blank(y))
        root = root_weights(y, operator)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x0_hat, v, vjp = self._ask(denoiser, x, sigma)
            residual = root * (y - operator.forward(x0_hat))
            norm = residual.flatten(1).norm(dim=1)[:, None, None, None].expand_as(x)
            pull = operator.linearized(x0_hat).adjoint(root * residual)
            gradient = -vjp(divide_on_support(pull, norm))  # ∇ ‖y − H x̂_0‖_Λ; 0 where that is
            n = widening(v, sigma, sigma_next) * rng.randn_like(x)
            x = renoise(x0_hat, (x - x0_hat) / sigma, sigma_next, n, ancestral(sigma, sigma_next))
            x = x - self.scale * math.sqrt((1 + sigma**2) * (1 + sigma_next**2)) * gradient
        return x

    def check(self, prior: Prior | Denoiser) -> None:
        """Refuse a prior without the learned variance that is asked for.

        Raises:
            InputError: names the override that does without.
        """
        if self.variance == "learned" and not getattr(prior, "learned_variance", False):
            raise InputError(
                "variance=learned, but this prior has learned none",
                "set method.sampler.variance=small, or choose a prior that has: ffhq256 or imagenet256",
            )

    def _ask(
        self, denoiser: Denoiser, x: Tensor, sigma: float
    ) -> tuple[Tensor, Tensor | float, Callable[[Tensor], Tensor]]:
        """x̂_0, the variance as v ∈ [-1, 1], and u ↦ (∂x̂_0/∂x)ᵀ u."""
        if self.variance == "learned":
            x0_hat, v, vjp = denoiser.vjp_with_variance(x, sigma)
        else:
            v, (x0_hat, vjp) = -1.0, denoiser.vjp(x, sigma)
        if not self.clip:
            return x0_hat, v, vjp
        return x0_hat.clamp(-1, 1), v, lambda u: vjp(torch.where(x0_hat.abs() <= 1, u, 0))


def root_weights(y: Tensor, operator: Operator) -> Tensor | float:
    """√Λ of each number of a measurement (B, *measurement); 1 where the noise is Gaussian, of one variance."""
    if getattr(operator, "noise", "gaussian") == "gaussian":
        return 1.0
    weights = operator.variance(y).reciprocal()
    return (weights / weights.flatten(1).mean(dim=1).reshape(-1, *[1] * (y.dim() - 1))).sqrt()


def widening(v: Tensor | float, sigma: float, sigma_next: float) -> Tensor | float:
    """Standard deviation of the step's noise over that of the "small" variance: 1 at v = −1.

    The log variance is linear in v (Nichol, Dhariwal 2021, arXiv:2102.09672, eq. 15), from DDPM's smaller variance,
    β̃ = β (1 − ᾱ_next)/(1 − ᾱ), at v = −1 to its larger, β, at v = 1. ᾱ is that of the levels visited, and
    1 − ᾱ = σ²/(1 + σ²). The last step has no noise.
    """
    if sigma_next == 0:
        return 1.0
    larger = sigma**2 / (1 + sigma**2) * (1 + sigma_next**2) / sigma_next**2  # β/β̃
    return larger ** ((v + 1) / 4)
