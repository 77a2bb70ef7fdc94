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
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from vml_bench.denoiser import Denoiser, PullBack
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator, divide_on_support
from vml_bench.schedule import DDPMSchedule, Schedule


@dataclass(frozen=True)
class TMPD:
    """An ancestral step with E[x_0 | x_t, y] in the place of E[x_0 | x_t].

    One network evaluation and, with row sums, two vector-Jacobian products a level.

    Attributes:
        covariance: "row_sum", the authors' for images, or "full", the whole of H J Hᵀ: one product for each singular
            value that is not 0 and one more, so for small problems only. On a Gaussian prior "full" is exact.
        floor: > 0, the smallest row sum, as a share of that of the prior N(0, I); see above.
        schedule: noise levels; the paper's are all 1,000 of the linear-β schedule.

    Raises:
        InputError: an unknown covariance, or a floor that is not positive.
    """

    covariance: str = "row_sum"
    floor: float = 0.01
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=50))

    def __post_init__(self) -> None:
        if self.covariance not in ("row_sum", "full"):
            raise InputError(f"method.sampler.covariance='{self.covariance}' is unknown", "use row_sum or full")
        if not self.floor > 0:
            raise InputError(f"method.sampler.floor={self.floor}", "it must be > 0")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at sqrt(1 + σ_max²) n."""
        levels = self.schedule(denoiser)
        x = math.sqrt(1 + levels[0] ** 2) * rng.randn_like(operator.adjoint(y))
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            x = self.step(x, sigma, sigma_next, y, operator, noise_std, denoiser, rng.randn_like(x))
        return x

    def step(
        self,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        y: Tensor,
        operator: SpectralOperator,
        noise_std: float,
        denoiser: Denoiser,
        noise: Tensor,
    ) -> Tensor:
        """From x_t at σ to σ_next ≥ 0 with the given n: (B, C, H, W) -> (B, C, H, W)."""
        denoised, pull_back = denoiser.vjp(x, sigma)
        error, noise_ratio = y - operator.forward(denoised), noise_std / sigma
        if self.covariance == "full":
            correction = pull_back(full_solve(error, operator, noise_ratio, pull_back))
        else:
            floor = self.floor / (1 + sigma**2)
            correction = pull_back(row_sum_solve(error, operator, noise_ratio, pull_back, floor))
            correction = shortened(correction, error, operator)
        conditioned = denoised + correction
        kept = (sigma_next / sigma) ** 2
        return conditioned + kept * (x - conditioned) + sigma_next * math.sqrt(1 - kept) * noise


def row_sum_solve(
    error: Tensor, operator: SpectralOperator, noise_ratio: float, pull_back: PullBack, floor: float
) -> Tensor:
    """Hᵀ diag(H Jᵀ Hᵀ 1 + τ²)⁻¹ e for e = y − H D, (B, *measurement) -> (B, C, H, W).

    Row sums are raised to `floor` times the mean square of each image's singular values that are not 0.
    """
    s = operator.singular_values.flatten(-3)
    gain = s.square().sum(dim=-1) / (s > 0).sum(dim=-1).clamp_min(1)
    least = (floor * gain).clamp_min(torch.finfo(s.dtype).tiny).reshape(-1, *[1] * (error.dim() - 1))
    ones = operator.observed(torch.ones_like(error))
    row_sums = operator.forward(pull_back(operator.adjoint(ones), retain=True))
    return operator.adjoint(error / (row_sums.maximum(least) + noise_ratio**2))


def shortened(correction: Tensor, error: Tensor, operator: SpectralOperator) -> Tensor:
    """d, or where an image's ‖H d‖ > 2 ‖e‖, d ‖e‖/‖H d‖: (B, C, H, W) -> (B, C, H, W)."""
    reach, wanted = (r.flatten(1).norm(dim=1) for r in (operator.forward(correction), error))
    share = torch.where(reach > 2 * wanted, divide_on_support(wanted, reach), 1)
    return share[:, None, None, None] * correction


def full_solve(error: Tensor, operator: SpectralOperator, noise_ratio: float, pull_back: PullBack) -> Tensor:
    """Hᵀ (H J Hᵀ + τ² I)⁻¹ e for e = y − H D, (B, *measurement) -> (B, C, H, W).

    In the spectrum, with J̄ = Vᵀ Jᵀ V and all on the support of s, it is V (J̄ + τ² s⁻²)⁻¹ ē/s: a column of J̄ for each
    singular value that is not 0.
    """
    wanted = divide_on_support(operator.measurement_to_spectrum(error), operator.singular_values)
    s = operator.singular_values.expand_as(wanted).flatten(1)
    diagonal = divide_on_support(torch.full_like(s, noise_ratio**2), s.square(), s > 0)
    matrix = torch.diag_embed(torch.where(s > 0, diagonal, 1))
    for i in (s > 0).any(dim=0).nonzero().flatten().tolist():
        unit = torch.zeros_like(s)
        unit[:, i] = (s[:, i] > 0).to(s.dtype)
        column = operator.to_spectrum(pull_back(operator.from_spectrum(unit.view_as(wanted)), retain=True))
        matrix[:, :, i] += operator.on_support(column).flatten(1)
    return operator.from_spectrum(torch.linalg.solve(matrix, wanted.flatten(1)).view_as(wanted))
