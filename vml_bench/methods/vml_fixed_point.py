"""The fixed point of VML-MAP: the preconditioned direction without the Jacobian. This project's own.

J = Cov[x_0 | x_t]/σ² is invertible wherever the prior has a density, so Jᵀ d = 0 and d = 0 have the same solutions:
the stationary points are those of VML-MAP (arXiv:2512.10524), found without a backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.methods.steps import InnerLoop, next_level, preconditioned_direction, starting_point
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator


@dataclass(frozen=True)
class VMLFixedPoint(InnerLoop):
    """At each noise level, K steps x ← x + η d (`preconditioned_direction`); then the move to the next.

    One network evaluation a step, no vector-Jacobian product.
    """

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W) in [-1, 1], not clipped."""
        levels = self.schedule(denoiser)
        x = starting_point(self.start, levels[0], y, operator, rng)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            for _ in range(self.inner_steps):
                denoised = denoiser(x, sigma)
                d = preconditioned_direction(x, denoised, y, operator, noise_std, sigma)
                x = x + self.step_size * d
            x = next_level(x, denoised, sigma, sigma_next, self.move, denoiser, rng)
        return x
