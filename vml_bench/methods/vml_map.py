"""VML-MAP, plain: gradient descent on the simplified mode-seeking loss at each noise level.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524): ∇ VML_S = Jᵀ[(x − D)/σ² − Hᵀ(y − H D)/σ_y²] with J = ∂D/∂x, the covariance terms dropped.
"""

from __future__ import annotations

from torch import Tensor

from vml_bench.contract import Denoiser, Operator
from vml_bench.methods.loop import JacobianLoop
from vml_bench.operators.base import divide_on_support
from vml_bench.settings import settings


@settings
class VMLMAP(JacobianLoop):
    """At each noise level, K steps x ← x − η ∇VML_S / (1/σ² + s_max²/σ_y²); then the move to the next.

    One network evaluation and one vector-Jacobian product per step. At σ_y = 0 the step is its limit,
    x ← x + η Jᵀ Hᵀ(y − H D)/s_max²: the measurement's weight is infinite, and the prior acts through J and the
    moves between levels alone. Where the operator A is not linear, H is its Jacobian at D and H D is A(D); the gradient
    is exact, s_max that of the Jacobian there.
    """

    def direction(
        self, x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser
    ) -> tuple[Tensor, Tensor]:
        """D(x_t, σ) and −∇ VML_S / (1/σ² + s_max²/σ_y²), both (B, C, H, W)."""
        denoised, vjp = denoiser.vjp(x, sigma, self.jacobian)
        jacobian = operator.linearized(denoised)  # H itself, where H is linear
        steepest = jacobian.squared_norm(denoised)  # s_max², each image's own
        # bracket and denominator are both multiplied by σ² σ_y², and so finite at σ_y = 0
        bracket = noise_std**2 * (denoised - x) + sigma**2 * jacobian.adjoint(y - operator.forward(denoised))
        return denoised, vjp(divide_on_support(bracket, noise_std**2 + steepest * sigma**2))
