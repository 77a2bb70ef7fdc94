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

from torch import Tensor

from vml_bench.contract import Denoiser, Operator
from vml_bench.methods.loop import JacobianLoop, preconditioned_direction
from vml_bench.settings import settings


@settings
class VMLMAPPreconditioned(JacobianLoop):
    """At each noise level, K steps x ← x + η Jᵀ d (`preconditioned_direction`); then the move to the next.

    One network evaluation and one vector-Jacobian product per step.
    """

    def direction(
        self, x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser
    ) -> tuple[Tensor, Tensor]:
        """D(x_t, σ) and Jᵀ d, both (B, C, H, W)."""
        denoised, vjp = denoiser.vjp(x, sigma, self.jacobian)
        return denoised, vjp(preconditioned_direction(x, denoised, y, operator, noise_std, sigma))
