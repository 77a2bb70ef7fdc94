"""What several samplers share: the step to the next noise level, and a measurement in the spectrum of H.

Everything is in the variance-exploding frame, x_t = x_0 + σ n. What a paper calls x_t in the variance-preserving frame
is x_t / √(1 + σ²) here, its ᾱ is 1/(1 + σ²), and its noise estimate ε = (x_t − x_0)/σ is the same in both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vml_bench.contract import Operator


def renoise(x_0: Tensor, epsilon: Tensor, sigma_next: float, noise: Tensor, fresh: float) -> Tensor:
    """DDIM's step (arXiv:2010.02502, eq. 12), x_0 + σ_next (√(1 − fresh) ε + √fresh n); x_0 itself at σ_next = 0.

    Args:
        x_0: the image estimated at σ, (B, C, H, W), or its spectrum.
        epsilon: ε, the noise estimated at σ.
        sigma_next: σ_next ≥ 0.
        noise: n ~ N(0, I).
        fresh: share of the new noise's variance that is n's: 0 is deterministic, `ancestral` is DDPM.
    """
    return x_0 + sigma_next * (math.sqrt(1 - fresh) * epsilon + math.sqrt(fresh) * noise)


def ancestral(sigma: float, sigma_next: float) -> float:
    """Share of fresh noise in DDPM's step from σ to σ_next (arXiv:2006.11239, eq. 6-7; DDIM's eq. 16 with η = 1)."""
    return 1 - (sigma_next / sigma) ** 2


def measured_spectrum(y: Tensor, operator: Operator, noise_std: float) -> tuple[Tensor, Tensor]:
    """ȳ = Uᵀ y / s and σ_y/s, the standard deviation of its noise; 0 and ∞ where s = 0.

    Args:
        y: (B, *measurement).
        operator: H.
        noise_std: σ_y ≥ 0.

    Returns:
        (B, C, H, W), and the shape of the singular values.
    """
    s = operator.singular_values
    y_bar = torch.where(s > 0, operator.measurement_to_spectrum(y) / s, 0)
    return y_bar, torch.where(s > 0, noise_std / s, math.inf)


def null_noise(y: Tensor, operator: Operator, noise_std: float) -> Tensor | None:
    """Uᵀ y / σ_y, which where s = 0 is the measurement's noise alone.

    Args:
        y: (B, *measurement).
        operator: H.
        noise_std: σ_y ≥ 0.

    Returns:
        (B, C, H, W), for a separable blur; None without noise, and for an operator that measures only where s > 0.
    """
    whole_spectrum = getattr(operator, "measurement_to_whole_spectrum", None)
    return whole_spectrum(y) / noise_std if whole_spectrum and noise_std > 0 else None
