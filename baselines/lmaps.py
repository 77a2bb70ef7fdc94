"""LMAPS: local MAP sampling.

Zhang, Brekelmans, Ver Steeg, "Local MAP sampling for diffusion models" (arXiv:2510.07343; PMLR 306, 2026). What of it
could be read is its abstract and reviews of an earlier version, and from those this much is known:

    1. each level solves a local problem, x_0* = argmax p(x_0 | x_t, y) (quadratic for linear H, eq. 13), with
       p(x_0 | x_t) taken as a Gaussian about D(x_t) of isotropic covariance, motivated by a Gaussian prior and bounded
       by σ_t²/α_t² (σ² here), and with a factor k (eq. 12);
    2. x_0* is then taken back to a noisy x at the next level, by a move with a share ρ_t of noise (eq. 6); with a
       sample of p(x_0 | x_t, y) for x_0* and ρ_t = 1 that would be DAPS (arXiv:2407.01521).

Settled here, because no public text was found for it: the covariance is the one that a prior N(0, τ² I) has, times k,
r² = k τ²σ²/(τ² + σ²) (τ = ∞: the bound); ρ = 1, all noise fresh; the likelihood keeps its own weight 1/σ_y², where
the paper's reformulated objective has two tuned constants k_1, k_2; the levels are EDM's. The paper descends the local
problem by K gradient steps; here it is solved in closed form, in the spectrum of H:

    x_0* = argmin ‖y − H x_0‖²/(2 σ_y²) + ‖x_0 − D(x_t)‖²/(2 r²)
"""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.sampling import renoise
from vml_bench.schedule import EDMSchedule, Schedule
from vml_bench.settings import settings


@settings
class LMAPS:
    """At each level the local MAP about D(x_t), which is then re-noised.

    One network evaluation per level, no vector-Jacobian product.

    Attributes:
        scale: k, factor of the covariance of x_0 given x_t; larger trusts the measurement sooner.
        prior_std: τ, standard deviation of the Gaussian prior behind that covariance; 1 is the convention of
            variance-preserving diffusions, ∞ the paper's bound r² = k σ².
        fresh: ρ, share of the next level's noise that is fresh: x ← x_0* + σ_next (ρ n + √(1 − ρ²) (x_t − x_0*)/σ).
            1 is DAPS's, 0 is DDIM's.
        schedule: noise levels. (The reviews speak of about 200 levels and 200 gradient steps.)
    """

    needs_operator: ClassVar[Kind] = "differentiable"

    scale: PositiveFloat = 1.0
    prior_std: Annotated[float, Field(gt=0, allow_inf_nan=True)] = 1.0
    fresh: Annotated[float, Field(ge=0, le=1)] = 1.0
    schedule: Schedule = field(default_factory=lambda: EDMSchedule(levels=100))

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at σ_max n."""
        levels = self.schedule(denoiser)
        x = levels[0] * rng.randn_like(operator.blank(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            variance = self.scale / (self.prior_std**-2 + sigma**-2)  # r²
            local_map = operator.prox(denoiser(x, sigma), y, noise_std, variance)  # x_0*
            epsilon = (x - local_map) / sigma
            x = renoise(local_map, epsilon, sigma_next, rng.randn_like(x), self.fresh**2)
        return x
