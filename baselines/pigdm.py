"""ΠGDM: pseudoinverse-guided diffusion models.

Song, Vahdat, Mardani, Kautz, "Pseudoinverse-guided diffusion models for inverse problems" (ICLR 2023), eq. 7-8 and
algorithm 1, carried over to the variance-exploding frame. With p(x_0 | x_t) taken as N(D, r² I), r² = σ²/(1 + σ²)
(exact for the prior N(0, I)), the score of the measurement is

    ∇ log p(y | x_t) = Jᵀ Hᵀ (r² H Hᵀ + σ_y² I)⁻¹ (y − H D) = Jᵀ g / r²,     J = ∂D/∂x_t

where g, the guidance, is H⁺(y − H D) at σ_y = 0. Algorithm 1 adds sqrt(ᾱ) ∂D/∂x_vp g to a step of DDIM
(arXiv:2010.02502, eq. 12 and 16); with x_vp = x / sqrt(1 + σ²), ᾱ = 1/(1 + σ²), that is sqrt(1 + σ_next²) Jᵀ g here.
Unlike a score's weight it does not fall as levels are added, so that many levels favour y beyond the posterior.

The authors' program (NVlabs/RED-diff, algos/pgdm.py) has sqrt(ᾱ_next ᾱ) where algorithm 1 has sqrt(ᾱ), so that Jᵀ g has
weight 1 here. It takes σ_y for 0 in g, starts at H⁺ y with noise, and when inpainting sets the seen pixels of D to y.
conf/method/published/pigdm.yaml sets these options.

The sampler library of MAP-GA's first author (VinuesaLAB-AI/Diff-SPORT, libs/lib_diffusion.py, c0813ee) re-noises with
the whole σ_next: x_0 = D + Jᵀ g, its observed coordinates replaced by those of y, x ← x_0 + σ_next n.
conf/method/library/pigdm.yaml sets these options.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.identity import AsBefore
from vml_bench.sampling import ancestral, renoise
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings


@settings
class PiGDM:
    """A DDIM step, then a step along Jᵀ g.

    One network evaluation and one vector-Jacobian product per level.

    Attributes:
        eta: η, share of fresh noise of DDIM: 1 (the paper's) is ancestral sampling, 0 is deterministic.
        adaptive_weight: True weighs Jᵀ g as algorithm 1 does. "one" weighs it by 1, as algos/pgdm.py does. False adds
            ∇ log p(y | x_t) to the score, and nothing else, which samples the exact posterior of the prior N(0, I) as
            levels are added.
        schedule: noise levels; the paper's are 100 evenly spaced of 1,000 timesteps.
        use_noise_std: whether g knows σ_y; False takes it for 0, as algos/pgdm.py does.
        start: "noise", sqrt(1 + σ_max²) n; or "pinv", H⁺ y + σ_max n, as in algos/pgdm.py.
        keep_measured: whether H x of each step's x_0 is set to y (of a mask: its seen pixels), and what of Jᵀ g would
            move it is left out, as algos/pgdm.py does for its masks (`in2`).
        fresh_noise: what η is the share of: "ancestral", of the fresh noise of ancestral sampling, as in DDIM; or
            "whole", of all that σ_next has, so that η = 1 leaves nothing of x_t − x_0, as in libs/lib_diffusion.py.
    """

    needs_operator: ClassVar[Kind] = "linear"

    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    adaptive_weight: bool | Literal["one"] = True
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=50))
    use_noise_std: Annotated[bool, AsBefore(True)] = True
    start: Annotated[Literal["noise", "pinv"], AsBefore("noise")] = "noise"
    keep_measured: Annotated[bool, AsBefore(False)] = False
    fresh_noise: Annotated[Literal["ancestral", "whole"], AsBefore("ancestral")] = "ancestral"

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        levels = self.schedule(denoiser)
        std = noise_std if self.use_noise_std else 0.0
        x = self._start(y, operator, levels[0], rng)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            denoised, vjp = denoiser.vjp(x, sigma)
            # g = r² Hᵀ (r² H Hᵀ + σ_y² I)⁻¹ (y − H D): the proximal step from D, of variance r²
            g = operator.prox(denoised, y, std, step=sigma**2 / (1 + sigma**2)) - denoised
            guidance = vjp(g)
            # the score with ∇ log p(y | x_t) added to it has the denoiser D + σ² Jᵀ g / r²
            x_0 = denoised if self.adaptive_weight else denoised + (1 + sigma**2) * guidance
            epsilon = (x - x_0) / sigma
            if self.keep_measured:
                x_0 = operator.prox(x_0, y, 0.0, step=1.0)
                guidance = guidance - operator.pinv(operator.forward(guidance))
            fresh = self.eta**2 * (1.0 if self.fresh_noise == "whole" else ancestral(sigma, sigma_next))
            x = renoise(x_0, epsilon, sigma_next, rng.randn_like(x), fresh)
            if self.adaptive_weight:
                x = x + (1 if self.adaptive_weight == "one" else math.sqrt(1 + sigma_next**2)) * guidance
        return x

    def _start(self, y: Tensor, operator: Operator, sigma_max: float, rng: Noise) -> Tensor:
        """x at σ_max, (B, C, H, W)."""
        noise = rng.randn_like(operator.blank(y))
        return math.sqrt(1 + sigma_max**2) * noise if self.start == "noise" else operator.pinv(y) + sigma_max * noise
