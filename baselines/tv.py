"""TV: total variation, the edge-preserving classic, minimised by the primal-dual algorithm. No network.

Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms" (Physica D, 1992); solved by
Chambolle, Pock, "A first-order primal-dual algorithm for convex problems with applications to imaging" (JMIV, 2011),
algorithm 1 with θ = 1:

    minimise  TV(x) + ‖y − H x‖² / (2 λ),      λ = weight · σ_y
    p ← Π(p + σ ∇x̃),      x' = prox_{τG}(x − τ ∇ᵀp),      x̃ = 2 x' − x,      τ σ ‖∇‖² ≤ 1,  ‖∇‖² ≤ 8

Π projects onto the dual's unit balls, and prox_{τG}, in the spectrum of H, is exact. At σ_y = 0 it is the projection
onto H x = y: the image of least variation among those that the measurement allows.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.settings import settings


@settings
class TotalVariation:
    """Isotropic total variation with coupled colours (`total_variation`). Asks no network.

    Attributes:
        weight: λ/σ_y, how much variation is taken out; 0 demands H x = y. (λ goes with σ_y, not σ_y²:
            noise of σ_y is gone from a flat region once λ is of that order.)
        iterations: steps of the primal-dual algorithm.
        primal_step: τ, of the size of a pixel's change in a step; σ = 1/(8 τ). It moves the speed, not the answer.
    """

    needs_prior: ClassVar[bool] = False
    needs_operator: ClassVar[Kind] = "linear"
    weight: NonNegativeFloat = 0.5
    iterations: PositiveInt = 200
    primal_step: PositiveFloat = 0.1

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at the Wiener estimate (std 1)."""
        data_std = (self.weight * noise_std) ** 0.5
        x = operator.prox(operator.blank(y), y, noise_std, 1.0)
        extrapolated, p = x, torch.zeros_like(gradient(x))
        for _ in range(self.iterations):
            p = project(p + gradient(extrapolated) / (8 * self.primal_step))
            moved = operator.prox(x - self.primal_step * gradient_adjoint(p), y, data_std, self.primal_step)
            x, extrapolated = moved, 2 * moved - x
        return x


def gradient(x: Tensor) -> Tensor:
    """∇x: forward differences down and across, 0 at the far border; (B, C, H, W) -> (B, 2, C, H, W)."""
    down, across = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :] = x.diff(dim=-2)
    across[..., :-1] = x.diff(dim=-1)
    return torch.stack([down, across], dim=1)


def gradient_adjoint(p: Tensor) -> Tensor:
    """∇ᵀp, the negative divergence; (B, 2, C, H, W) -> (B, C, H, W)."""
    down, across = p[:, 0, :, :-1, :], p[:, 1, :, :, :-1]
    x = torch.zeros_like(p[:, 0])
    x[..., :-1, :] -= down
    x[..., 1:, :] += down
    x[..., :-1] -= across
    x[..., 1:] += across
    return x


def project(p: Tensor) -> Tensor:
    """Each pixel's vector of differences, over directions and channels, onto the unit ball: (B, 2, C, H, W)."""
    return p / p.norm(dim=(1, 2), keepdim=True).clamp_min(1)


def total_variation(x: Tensor) -> Tensor:
    """TV(x) = Σ_pixels √(Σ_channels (∂_down x)² + (∂_across x)²), (B, C, H, W) -> (B,).

    The channels share one root, so that their edges are drawn to the same places (Bresson, Chan, "Fast dual
    minimization of the vectorial total variation norm", 2008).
    """
    return gradient(x).norm(dim=(1, 2)).sum(dim=(-2, -1))
