"""What priors share."""

from __future__ import annotations

import torch
from torch import Tensor


def sigma_column(sigma: float | Tensor, x: Tensor) -> Tensor:
    """σ as a (B, 1, 1, 1) tensor of x's dtype on x's device."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return sigma.expand(x.shape[0]).reshape(-1, *[1] * (x.dim() - 1))
