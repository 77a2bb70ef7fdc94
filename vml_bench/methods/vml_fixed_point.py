"""The fixed point of VML-MAP: the preconditioned direction without the Jacobian.

J = Cov[x_0 | x_t]/σ² is invertible wherever the prior has a density, so Jᵀ d = 0 and d = 0 have the same solutions:
the stationary points are those of VML-MAP (arXiv:2512.10524), found without a backward pass.

At one noise level the step is known by another name. With prox the proximal map of ‖y − H z‖²/(2σ_y²) at step σ²,
x + η d = x + η [prox(2D − x) − D]: plug-and-play Douglas-Rachford splitting (Buzzard et al. 2018, arXiv:1705.08983;
Ryu et al. 2019, arXiv:1905.05406), D standing for the prior's proximal map. What is this project's own is the reading
as VML-MAP without its Jacobian, and the descent through the noise levels.

When it converges. The step's Jacobian is I − ηA with A = ½ (I + RS), R = I − 2W, S = I − 2J and
W = HᵀH (HᵀH + (σ_y²/σ²) I)⁻¹, so ‖R‖ ≤ 1:

- 0 ≤ J ≤ I everywhere, that is Cov ≤ σ² I, as for every log-concave prior: ‖S‖ ≤ 1, the map is averaged and converges
  from anywhere to a solution, if there is one, for every 0 < η < 2. ‖I − ηA‖ ≤ |1 − η/2| + (η/2) ‖R‖ ‖S‖.
- Locally, the spectral radius of I − ηA decides. Where J and HᵀH share an eigenvector, with eigenvalues j and s², the
  error shrinks by 1 − ηa per step, a = (1 − w)(1 − j) + w j, w = s²σ²/(s²σ² + σ_y²). In the null space a = 1 − j, slow
  where σ is small against the prior's spread; where the data dominate a = j, slow where σ is large; a = ½ wherever
  j = ½. Hence the descent through noise levels: each coordinate has its turn.
- Between modes J may exceed I, as Cov does σ² I. Where the data are silent, a < 0 there: the point is left, as a saddle
  should be. Where they dominate and j > 2/η, the step overshoots and can end in a cycle: two modes at ±m, σ ≪ m,
  σ_y → 0 and y half-way between them give x = ±m/2 in turn. A measurement so improbable under the prior is rare, and
  η < 2/λ_max(A) mends it where A's eigenvalues are real and positive.
"""

from __future__ import annotations

from torch import Tensor

from vml_bench.contract import Denoiser, Operator
from vml_bench.methods.loop import InnerLoop, preconditioned_direction
from vml_bench.settings import settings


@settings
class VMLFixedPoint(InnerLoop):
    """At each noise level, K steps x ← x + η d (`preconditioned_direction`); then the move to the next.

    One network evaluation per step, no vector-Jacobian product.
    """

    def direction(
        self, x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser
    ) -> tuple[Tensor, Tensor]:
        """D(x_t, σ) and d, both (B, C, H, W)."""
        denoised = denoiser(x, sigma)
        return denoised, preconditioned_direction(x, denoised, y, operator, noise_std, sigma)
