"""MAP-GA: gradient ascent on the posterior density of what the denoiser makes of x_t.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: a MAP estimation perspective" (arXiv:2407.20784,
WACV 2025), algorithms 2 and 3, by the authors of VML-MAP and before it. Already in the variance-exploding frame. The
levels are τ_n > … > τ_1 and τ_0 = ε, where no step is taken. At each σ = τ_i, with x = D(z, σ) and J = ∂D/∂z, K times

    g_lik = Hᵀ (σ_y² I + ε² H Hᵀ)⁻¹ (y − H x),   g_prior = (D(x, ε) − x)/ε²,   z ← z + λ Jᵀ (g_lik + g_prior)

with λ = σ_y² + ε² in all their experiments; then z ← D(z, σ) + sqrt(σ_next² − ε²) n, which for τ_1 is the answer D. At
σ_y = 0 the step is Jᵀ [H⁺(y − H x) + D(x, ε) − x]. Without the prior's part ("NP" there), and with H Hᵀ = I, it is the
plain form of VML-MAP as σ_y → 0. The paper's x is a consistency model's f(z, σ); a denoiser in its place is its variant
"(D)". With a consistency model as the prior (`vml_bench.priors.karras`) the prior's part cannot be had here, for its D
is another network's; and the steps of ΠGDM below have f for D.

Algorithm 3, for σ_y > 0 ("MAP-GA-PGDM"), ascends without the prior's part on levels whose τ_0 is σ_y, and from there
takes `pigdm_steps` steps of ΠGDM down to ε: x ← D + Jᵀ g + sqrt(σ_next² − ε²) n with g the guidance of
baselines/pigdm.py. (That g has weight 1 here, and that these levels are EDM's, is inferred.)

The first author's own sampler library (VinuesaLAB-AI/Diff-SPORT, libs/lib_diffusion.py, c0813ee) differs: it visits the
timesteps 1000, 1000 − s, …, s of the linear-β diffusion ("trailing" of `DDPMSchedule`), takes σ(t = 1) for ε, re-noises
with the whole σ_next, and at σ_y = 0 puts what y says in place of the answer's observed coordinates.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from types import SimpleNamespace
from typing import ClassVar

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator, Prior
from vml_bench.errors import InputError
from vml_bench.schedule import EDMSchedule, Schedule
from vml_bench.settings import settings


@settings
class MAPGA:
    """At each noise level K ascent steps; then D, and fresh noise for the next level.

    Per inner step one network evaluation and one vector-Jacobian product, and one evaluation more with the prior's
    part; one evaluation more per level; per ΠGDM step one of each.

    Attributes:
        inner_steps: K, ascent steps at each level; n × K is 1,000 in the paper, split as (20, 50) to (1000, 1).
        prior_step: whether the prior's part counts; False is "NP".
        step_size: λ in units of σ_y² + ε²; 1 in the paper.
        prior_std: ε, at which the prior's part asks D; None: the prior's smallest σ.
        whole_noise: re-noise with σ_next, as the authors' library, in place of sqrt(σ_next² − ε²).
        replace_observed: at σ_y = 0, put what y says in place of the answer's observed coordinates, as the library.
        pigdm_steps: at σ_y > ε, how many steps of ΠGDM follow from σ = σ_y down; 20 in the paper. 0: algorithm 2.
        schedule: noise levels; EDM's in the paper. Its last level is τ_0, where no step is taken: at ε, or in algorithm
            3 at σ_y, to which the prior's range is narrowed. With `whole_noise` and algorithm 2 every level is visited.
    """

    needs_operator: ClassVar[Kind] = "linear"

    inner_steps: PositiveInt = 50
    prior_step: bool = True
    step_size: PositiveFloat = 1.0
    prior_std: PositiveFloat | None = None
    whole_noise: bool = False
    replace_observed: bool = False
    pigdm_steps: NonNegativeInt = 20
    schedule: Schedule = field(default_factory=lambda: EDMSchedule(21))

    def check(self, prior: Prior) -> None:
        """Refuse the prior's part with a consistency model, whose f(x, ε) − x is no score; raises `InputError`."""
        if self.prior_step and getattr(prior, "consistency", False):
            raise InputError(
                "the prior's part of MAP-GA needs a denoiser, and this prior is a consistency model",
                "set method=mapga_np, or method.sampler.prior_step=false",
            )

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at σ_max n."""
        epsilon = self.prior_std or denoiser.sigma_min
        pigdm = noise_std > epsilon and self.pigdm_steps > 0  # algorithm 3
        end = noise_std if pigdm else 0.0 if self.whole_noise else epsilon  # σ of τ_0
        narrowed = SimpleNamespace(sigma_min=max(end, denoiser.sigma_min), sigma_max=denoiser.sigma_max)
        levels = [sigma for sigma in self.schedule(narrowed) if sigma > 1.001 * end]
        scale = self.step_size * (noise_std**2 + epsilon**2) / epsilon**2
        z = levels[0] * rng.randn_like(operator.blank(y))
        for sigma, sigma_next in pairwise([*levels, end]):
            for _ in range(self.inner_steps):
                x, vjp = denoiser.vjp(z, sigma)
                misfit = y - operator.forward(x)
                ascent = operator.prox(torch.zeros_like(x), misfit, noise_std, step=epsilon**2)  # ε² g_lik
                if self.prior_step and not pigdm:
                    ascent = ascent + denoiser(x, epsilon) - x  # ε² g_prior
                z = z + scale * vjp(ascent)
            z = self._renoised(denoiser(z, sigma), sigma_next, epsilon, rng)
        if pigdm:
            z = self._pigdm(z, y, operator, noise_std, epsilon, denoiser, rng)
        return operator.prox(z, y, 0.0, step=1.0) if self.replace_observed and noise_std == 0 else z

    def _pigdm(
        self, z: Tensor, y: Tensor, operator: Operator, noise_std: float, epsilon: float, denoiser: Denoiser, rng: Noise
    ) -> Tensor:
        """The end of algorithm 3: from z at σ_y, (B, C, H, W), to the answer, all noise fresh at each step."""
        levels = EDMSchedule(self.pigdm_steps + 1, sigma_max=noise_std, sigma_min=epsilon)(denoiser)
        for sigma, sigma_next in pairwise(levels):
            x, vjp = denoiser.vjp(z, sigma)
            guidance = vjp(operator.prox(x, y, noise_std, step=sigma**2 / (1 + sigma**2)) - x)
            z = self._renoised(x + guidance, sigma_next, epsilon, rng)
        return z

    def _renoised(self, x: Tensor, sigma: float, epsilon: float, rng: Noise) -> Tensor:
        """x, (B, C, H, W), with the noise of the level σ; at the end x itself."""
        std = sigma if self.whole_noise else math.sqrt(max(sigma**2 - epsilon**2, 0.0))
        return x + std * rng.randn_like(x) if std > 0 else x
