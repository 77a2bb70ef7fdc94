"""VML-MAP with the preconditioner: the mode-seeking loss descended in the metric of the measurement.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524). The gradient of the simplified loss VML_S is Jᵀ[(x − D)/σ² − Hᵀ(y − H D)/σ_y²], J = ∂D/∂x; its
bracket is multiplied by P = (HᵀH/σ_y² + I/σ²)⁻¹ before the product, which also makes σ_y = 0 an ordinary case.

Where J and HᵀH commute, a step shrinks the error of a coordinate by 1 − η j a: j the eigenvalue of J, a the rate of
`vml_fixed_point`. So η < 2 as long as J ≤ I; and in the null space of H, where a = 1 − j, a step of η = 1 removes at
most a quarter of the error, and next to nothing while σ is large against the prior's spread (j ≈ 0). There x keeps the
noise it started from until the modes part, and that noise, not y, decides which one it falls into: start from the
centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.methods.steps import JacobianLoop, next_level, preconditioned_direction, starting_point
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator


@dataclass(frozen=True)
class VMLMAPPreconditioned(JacobianLoop):
    """At each noise level, K steps x ← x + η Jᵀ d (`preconditioned_direction`); then the move to the next.

    One network evaluation and one vector-Jacobian product a step.
    """

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W) in [-1, 1], not clipped."""
        levels = self.schedule(denoiser)
        x = starting_point(self.start, levels[0], y, operator, noise_std, rng)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            for _ in range(self.inner_steps):
                denoised, pull_back = denoiser.vjp(x, sigma, self.jacobian)
                d = preconditioned_direction(x, denoised, y, operator, noise_std, sigma)
                x = x + self.step_size * pull_back(d)
            x = next_level(x, denoised, sigma, sigma_next, self.move, denoiser, rng)
        return x
