"""TMPD: Tweedie moment projected diffusions.

Boys, Girolami, Pidstrigach, Reich, Mosca, Akyildiz, "Tweedie moment projected diffusions for inverse problems"
(arXiv:2310.06721). p(x_0 | x_t) is taken as the Gaussian of its first two moments, D and σ² J with J = ∂D/∂x_t, so that

    E[x_0 | x_t, y] ≈ D + Jᵀ Hᵀ (H J Hᵀ + τ² I)⁻¹ (y − H D),     τ = σ_y/σ

which takes D's place in an ancestral step (in the authors' code, github.com/bb515/tmpdjax, tmpd/solvers.py: KPSMLD and
KPDDPM, one step in two frames). For images H J Hᵀ is replaced by the diagonal of its row sums, H Jᵀ Hᵀ 1 (KPSMLDplus,
KPDDPMplus): exact where H J Hᵀ is diagonal, cautious where its entries are positive, and wrong without bound where they
cancel. J is symmetric for an exact denoiser, and Jᵀ stands for it as in the authors' code. D is not clipped.

Two guards on the row sums are not the paper's, which at σ_y = 0 divides by whatever they are; neither acts where they
are exact and above the first:

1. they are raised to `floor` times what they would be, on average, for the prior N(0, I) and uncorrelated measurements;
2. an image's correction d with ‖H d‖ > 2 ‖y − H D‖, which must leave D further from y than it was, is shortened to
   ‖H d‖ = ‖y − H D‖.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator, PullBack
from vml_bench.operators.base import divide_on_support
from vml_bench.sampling import ancestral, renoise
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings


@settings
class TMPD:
    """An ancestral step with E[x_0 | x_t, y] in the place of E[x_0 | x_t].

    One network evaluation and, with row sums, two vector-Jacobian products per level.

    Attributes:
        covariance: "row_sum", the authors' for images, or "full", the whole of H J Hᵀ: one product for each singular
            value that is not 0 and one more, so for small problems only. On a Gaussian prior "full" is exact.
        floor: the smallest row sum, as a share of that of the prior N(0, I); see above.
        schedule: noise levels; the paper's are all 1,000 of the linear-β schedule.
    """

    covariance: Literal["row_sum", "full"] = "row_sum"
    floor: PositiveFloat = 0.01
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=50))

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x0_hat, vjp = denoiser.vjp(x, sigma)
            error, tau = y - operator.forward(x0_hat), noise_std / sigma
            if self.covariance == "full":
                correction = vjp(full_solve(error, operator, tau, vjp))
            else:
                correction = vjp(row_sum_solve(error, operator, tau, vjp, self.floor / (1 + sigma**2)))
                correction = shortened(correction, error, operator)
            x_0 = x0_hat + correction  # E[x_0 | x_t, y]
            x = renoise(x_0, (x - x_0) / sigma, sigma_next, rng.randn_like(x), ancestral(sigma, sigma_next))
        return x


def row_sum_solve(error: Tensor, operator: Operator, tau: float, vjp: PullBack, floor: float) -> Tensor:
    """Hᵀ diag(H Jᵀ Hᵀ 1 + τ²)⁻¹ e for e = y − H D, (B, *measurement) -> (B, C, H, W).

    Row sums are raised to `floor` times the mean square of each image's singular values that are not 0.
    """
    s = operator.singular_values.flatten(-3)
    gain = s.square().sum(dim=-1) / (s > 0).sum(dim=-1).clamp_min(1)
    least = (floor * gain).clamp_min(torch.finfo(s.dtype).tiny).reshape(-1, *[1] * (error.dim() - 1))
    row_sums = operator.forward(vjp(operator.adjoint(torch.ones_like(error)), retain=True))
    return operator.adjoint(error / (row_sums.maximum(least) + tau**2))


def shortened(correction: Tensor, error: Tensor, operator: Operator) -> Tensor:
    """d, or where an image's ‖H d‖ > 2 ‖e‖, d ‖e‖/‖H d‖: (B, C, H, W) -> (B, C, H, W)."""
    reached = operator.forward(operator.adjoint(torch.ones_like(error))) != 0  # not so where a mask hides a pixel
    error = torch.where(reached, error, 0)
    reach, wanted = (r.flatten(1).norm(dim=1) for r in (operator.forward(correction), error))
    share = torch.where(reach > 2 * wanted, divide_on_support(wanted, reach), 1)
    return share[:, None, None, None] * correction


def full_solve(error: Tensor, operator: Operator, tau: float, vjp: PullBack) -> Tensor:
    """Hᵀ (H J Hᵀ + τ² I)⁻¹ e for e = y − H D, (B, *measurement) -> (B, C, H, W).

    In the spectrum, with J̄ = Vᵀ Jᵀ V and all on the support of s, it is V (J̄ + τ² s⁻²)⁻¹ ē/s: a column of J̄ for each
    singular value that is not 0.
    """
    wanted = divide_on_support(operator.measurement_to_spectrum(error), operator.singular_values)
    s = operator.singular_values.expand_as(wanted).flatten(1)
    diagonal = divide_on_support(torch.full_like(s, tau**2), s.square(), s > 0)
    matrix = torch.diag_embed(torch.where(s > 0, diagonal, 1))
    for i in (s > 0).any(dim=0).nonzero().flatten().tolist():
        unit = torch.zeros_like(s)
        unit[:, i] = (s[:, i] > 0).to(s.dtype)
        column = operator.to_spectrum(vjp(operator.from_spectrum(unit.view_as(wanted)), retain=True))
        matrix[:, :, i] += torch.where(s > 0, column.flatten(1), 0)
    return operator.from_spectrum(torch.linalg.solve(matrix, wanted.flatten(1)).view_as(wanted))
