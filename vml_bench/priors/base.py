"""What a prior is to the methods: a denoiser D(x, σ) in the variance-exploding frame."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Prior(Protocol):
    """A denoiser D(x, σ) = E[x_0 | x_0 + σ n = x], n ~ N(0, I), for images in [-1, 1].

    Attributes:
        sigma_min: smallest noise level at which D may be asked.
        sigma_max: largest noise level at which D may be asked.
        image_shape: (C, H, W) of the images it knows.

    A learned prior also has `checkpoint`, the path of the file it was loaded from, and `network`, the module
    that does the work.
    """

    sigma_min: float
    sigma_max: float
    image_shape: tuple[int, int, int]

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return D(x, σ) for x of shape (B, C, H, W); σ is one number or one number an image, (B,)."""
        ...


def sigma_column(sigma: float | Tensor, x: Tensor) -> Tensor:
    """σ as a (B, 1, 1, 1) tensor of x's dtype on x's device."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return sigma.expand(x.shape[0]).reshape(-1, *[1] * (x.dim() - 1))
