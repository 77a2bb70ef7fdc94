"""VML-MAP, plain: gradient descent on the simplified mode-seeking loss at each noise level.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524): ∇ VML_S = Jᵀ[(x − D)/σ² − Hᵀ(y − H D)/σ_y²] with J = ∂D/∂x, the covariance terms dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.methods.steps import JacobianLoop, next_level, starting_point
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator, divide_on_support


@dataclass(frozen=True)
class VMLMAP(JacobianLoop):
    """At each noise level, K steps x ← x − η ∇VML_S / (1/σ² + s_max²/σ_y²); then the move to the next.

    One network evaluation and one vector-Jacobian product a step. At σ_y = 0 the step is its limit,
    x ← x + η Jᵀ Hᵀ(y − H D)/s_max²: the measurement's weight is infinite, and the prior acts through J and the
    moves between levels alone.
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
                x = x + self.step_size * pull_back(descent(x, denoised, y, operator, noise_std, sigma))
            x = next_level(x, denoised, sigma, sigma_next, self.move, denoiser, rng)
        return x


def descent(
    x: Tensor, denoised: Tensor, y: Tensor, operator: SpectralOperator, noise_std: float, sigma: float
) -> Tensor:
    """−[(x − D)/σ² − Hᵀ(y − H D)/σ_y²] / (1/σ² + s_max²/σ_y²), both multiplied by σ² σ_y²: finite at σ_y = 0.

    Arguments and shapes as in `preconditioned_direction`; s_max is each image's own.
    """
    s_max = operator.singular_values.flatten(-3).amax(dim=-1)[..., None, None, None]
    bracket = noise_std**2 * (denoised - x) + sigma**2 * operator.adjoint(y - operator.forward(denoised))
    return divide_on_support(bracket, noise_std**2 + s_max.square() * sigma**2)
