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

from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.schedule import EDMSchedule, Schedule


@dataclass(frozen=True)
class ProxiMAP:
    """At each level: denoise (late levels by ProxiMAP), take the exact data step, re-noise to the next level.

    One network evaluation an early level, `inner_steps` a late one; no vector-Jacobian product.

    Attributes:
        inner_steps: K, evaluations of a ProxiMAP denoising.
        late: share of the levels, from the last one backwards, that ProxiMAP takes; 1 replaces D throughout, less is
            the hybrid, 0 leaves plug-and-play with D.
        noise: σ_k of the recursion: "matched" (ProxiMAP) or "vanishing" (MMSE averaging, to the mode).
        penalty: λ of the splitting; the data step is argmin ‖y − H x‖²/(2 σ_y²) + λ ‖x − x_0‖²/(2 σ²), and 1 belongs
            to the posterior.
        fresh: ζ, share (of the variance) of the next level's noise that is fresh.
        schedule: noise levels.

    Raises:
        InputError: a hyperparameter outside its range.
    """

    inner_steps: int = 3
    late: float = 0.5
    noise: str = "matched"
    penalty: float = 1.0
    fresh: float = 1.0
    schedule: Schedule = field(default_factory=lambda: EDMSchedule(levels=40))

    def __post_init__(self) -> None:
        if self.inner_steps < 1:
            raise InputError(f"method.sampler.inner_steps={self.inner_steps}", "it must be 1 or more")
        if self.noise not in ("matched", "vanishing"):
            raise InputError(f"method.sampler.noise='{self.noise}' is unknown", "use matched or vanishing")
        if not self.penalty > 0:
            raise InputError(f"method.sampler.penalty={self.penalty}", "it must be > 0; 1 is the posterior's")
        for name, value in (("late", self.late), ("fresh", self.fresh)):
            if not 0 <= value <= 1:
                raise InputError(f"method.sampler.{name}={value}", "it must lie between 0 and 1")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at σ_max n."""
        levels = self.schedule(denoiser)
        early = len(levels) - round(self.late * len(levels))
        x = levels[0] * rng.randn_like(operator.adjoint(y))
        for i, (sigma, sigma_next) in enumerate(pairwise([*levels, 0.0])):
            steps = 1 if i < early else self.inner_steps
            x = self.step(x, sigma, sigma_next, steps, y, operator, noise_std, denoiser, rng.randn_like(x))
        return x

    def step(
        self,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        steps: int,
        y: Tensor,
        operator: SpectralOperator,
        noise_std: float,
        denoiser: Denoiser,
        noise: Tensor,
    ) -> Tensor:
        """From x_t at σ to σ_next ≥ 0 with the given n, denoising by `steps` steps: (B, C, H, W) -> (B, C, H, W)."""
        x_0 = proximap(denoiser, x, sigma, steps, self.noise)
        x_0 = operator.prox(x_0, y, noise_std, sigma**2 / self.penalty)
        left = (x - x_0) / sigma
        return x_0 + sigma_next * (self.fresh**0.5 * noise + (1 - self.fresh) ** 0.5 * left)


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
