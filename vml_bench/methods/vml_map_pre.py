"""VML-MAP with the preconditioner: the mode-seeking loss descended in the metric of the measurement.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524). The gradient of the simplified loss VML_S is Jᵀ[(x − D)/σ² − Hᵀ(y − H D)/σ_y²], J = ∂D/∂x; its
bracket is multiplied by P = (HᵀH/σ_y² + I/σ²)⁻¹ before the product, which also makes σ_y = 0 an ordinary case.

Where J and HᵀH commute, an eigenvalue j of J shrinks the error of a coordinate by 1 − η j a a step, a the rate of
`vml_fixed_point`: of what the data leave free, j(1 − j) ≤ 1/4 is removed. While σ is large against the prior's spread,
j ≈ 0 and x keeps the noise it started from; where that noise lies when the modes part decides the mode, whatever y
says. Hence `start="centre"`. `step_rule="projected"` gives Jᵀd back the length that J took.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.methods.steps import InnerLoop, next_level, preconditioned_direction, starting_point
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator, divide_on_support


@dataclass(frozen=True)
class VMLMAPPreconditioned(InnerLoop):
    """At each noise level, K steps x ← x + η α Jᵀ d (`preconditioned_direction`); then the move to the next.

    One network evaluation and one vector-Jacobian product a step.

    Attributes:
        step_rule: "fixed", α = 1, or "projected" (this project's), α = ⟨d, Jᵀd⟩/‖Jᵀd‖² of each image: the point
            nearest to x + d on the ray along Jᵀd, never farther than ‖d‖.

    Raises:
        InputError: a hyperparameter outside its range.
    """

    start: str = "centre"
    step_rule: str = "projected"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_rule not in ("fixed", "projected"):
            raise InputError(f"method.sampler.step_rule='{self.step_rule}' is unknown", "use fixed or projected")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W) in [-1, 1], not clipped."""
        levels = self.schedule(denoiser)
        x = starting_point(self.start, levels[0], y, operator, rng)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            for _ in range(self.inner_steps):
                denoised, pull_back = denoiser.linearize(x, sigma)
                d = preconditioned_direction(x, denoised, y, operator, noise_std, sigma)
                step = pull_back(d)
                x = x + self.step_size * (projection(d, step) if self.step_rule == "projected" else step)
            x = next_level(x, denoised, sigma, sigma_next, self.move, denoiser, rng)
        return x


def projection(d: Tensor, along: Tensor) -> Tensor:
    """d projected onto the ray of `along`, image by image; 0 where they are at an obtuse angle: (B, C, H, W)."""
    alignment = (d * along).flatten(1).sum(dim=1).clamp_min(0)
    length = divide_on_support(alignment, along.flatten(1).square().sum(dim=1))
    return length[:, None, None, None] * along
