"""ProxiMAP: plug-and-play restoration whose denoiser leans from the posterior mean towards the mode.

Vert, Meanti, Pesme, Arbel, Mairal, "Beyond MMSE: enhancing PnP restoration with ProxiMAP" (arXiv:2605.16396), built
on Pesme, Meanti, Arbel, Mairal, "MAP estimation with denoisers: convergence rates and guarantees" (arXiv:2507.15397).
The latter's recursion, "MMSE averaging", from x_0 = z:

    x_{k+1} = (1 − α_k) D(x_k, σ_k) + α_k z,      α_k = 1/(k + 2)

With σ_k² = τ/(k + 1) it is gradient descent, x_{k+1} = x_k − α_k ∇F_k(x_k), F_k(x) = ‖x − z‖²/2 − τ ln p_{σ_k}(x)
(proposition 1), and for a log-concave prior x_k goes to prox_{−τ ln p}(z) at the rate O(ln k / k) (theorem 1).
ProxiMAP lets σ_k follow the noise that is left in x_k, which stops it short of the mode, where learned scores draw
cartoons; its hybrid has it replace D in the late iterations of plug-and-play only.

Of ProxiMAP itself only the abstract could be read. Settled here: the noise left in x_k is that of z times z's weight
α_{k−1}, so σ_k = √τ/(k + 1), and the prior's part in ∇F_k weakens as 1/(k + 1); the denoised image is the last
D(x_k, σ_k), which holds nothing of that noise, is D(z) for one step, and has the recursion's limit; the plug-and-play
loop is half-quadratic splitting with the re-noising of DiffPIR (arXiv:2305.08995, algorithm 1), τ = σ² at the level σ;
all numbers of levels and steps.
"""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.sampling import renoise
from vml_bench.schedule import EDMSchedule, Schedule
from vml_bench.settings import settings


@settings
class ProxiMAP:
    """At each level: denoise (late levels by ProxiMAP), take the exact data step, re-noise to the next level.

    One network evaluation per early level, `inner_steps` per late one; no vector-Jacobian product.

    Attributes:
        inner_steps: K, evaluations of a ProxiMAP denoising.
        late: share of the levels, from the last one backwards, that ProxiMAP takes; 1 replaces D throughout, less is
            the hybrid, 0 leaves plug-and-play with D.
        noise: σ_k of the recursion: "matched" (ProxiMAP) or "vanishing" (MMSE averaging, to the mode).
        penalty: λ of the splitting; the data step is argmin ‖y − H x‖²/(2 σ_y²) + λ ‖x − x_0‖²/(2 σ²), and 1 belongs
            to the posterior.
        fresh: ζ, share (of the variance) of the next level's noise that is fresh.
        schedule: noise levels.
    """

    needs_operator: ClassVar[Kind] = "linear"

    inner_steps: PositiveInt = 3
    late: Annotated[float, Field(ge=0, le=1)] = 0.5
    noise: Literal["matched", "vanishing"] = "matched"
    penalty: PositiveFloat = 1.0
    fresh: Annotated[float, Field(ge=0, le=1)] = 1.0
    schedule: Schedule = field(default_factory=lambda: EDMSchedule(levels=40))

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at σ_max n."""
        levels = self.schedule(denoiser)
        early = len(levels) - round(self.late * len(levels))
        x = levels[0] * rng.randn_like(operator.blank(y))
        for i, (sigma, sigma_next) in enumerate(pairwise([*levels, 0.0])):
            steps = 1 if i < early else self.inner_steps
            x_0 = proximap(denoiser, x, sigma, steps, self.noise)
            x_0 = operator.prox(x_0, y, noise_std, sigma**2 / self.penalty)
            x = renoise(x_0, (x - x_0) / sigma, sigma_next, rng.randn_like(x), self.fresh)
        return x


def proximap(denoiser: Denoiser, z: Tensor, sigma: float, steps: int, noise: str = "matched") -> Tensor:
    """D(x_{K−1}, σ_{K−1}) of the recursion from z, with τ = σ²: (B, C, H, W) -> (B, C, H, W).

    Args:
        denoiser: D; asked at no σ_k below its `sigma_min`.
        z: the point to denoise, (B, C, H, W).
        sigma: σ > 0, standard deviation of the noise in z.
        steps: K ≥ 1, evaluations of D.
        noise: "matched", σ_k = σ/(k + 1), or "vanishing", σ_k = σ/√(k + 1).
    """
    exponent = 1.0 if noise == "matched" else 0.5
    x = z
    for k in range(steps):
        alpha = 1 / (k + 2)
        denoised = denoiser(x, max(sigma / (k + 1) ** exponent, denoiser.sigma_min))
        x = (1 - alpha) * denoised + alpha * z
    return denoised
