"""Variance-preserving networks in the variance-exploding frame: ε-prediction (DDPM, ADM) as a denoiser D(x, σ)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vml_bench.priors.base import sigma_column


class VPPrior(nn.Module):
    """D(x, σ) = x − σ ε(x / sqrt(1 + σ²), t(σ)), with ε a `diffusers.UNet2DModel`.

    A diffusion x_vp = sqrt(ᾱ_t) x_0 + sqrt(1 − ᾱ_t) n (Ho et al. 2020, arXiv:2006.11239, eq. 4) is
    x = x_vp / sqrt(ᾱ_t) = x_0 + σ n in the other frame, with σ(t) = sqrt((1 − ᾱ_t) / ᾱ_t) and
    1 / sqrt(1 + σ²) = sqrt(ᾱ_t). D is therefore the DDPM's own estimate of x_0 at every integer t; between
    them t(σ) is interpolated linearly in log σ. It is not clipped.

    Args:
        network: ε(x_vp, t); of more than C output channels the first C are ε (the rest are ADM's variances).
        image_shape: (C, H, W) of the images it was trained on, values in [-1, 1].
        beta_min: β of the first timestep.
        beta_max: β of the last; between them β is linear.
        timesteps: T, how many there are.

    Attributes:
        sigmas: σ(0) < … < σ(T − 1), float64 on the CPU, (T,).
        sigma_min: σ(0).
        sigma_max: σ(T − 1).
        checkpoint: the file that the network's weights came from; None if they came from none.
    """

    def __init__(
        self,
        network: nn.Module,
        image_shape: Sequence[int],
        beta_min: float = 1e-4,
        beta_max: float = 0.02,
        timesteps: int = 1000,
    ) -> None:
        super().__init__()
        self.network = network
        self.image_shape = tuple(image_shape)
        self.checkpoint: Path | None = None
        betas = torch.linspace(beta_min, beta_max, timesteps, dtype=torch.float64)
        alphas_bar = (1 - betas).cumprod(dim=0)
        self.sigmas = ((1 - alphas_bar) / alphas_bar).sqrt()  # no buffer: exact on every device and in every dtype
        self.sigma_min = self.sigmas[0].item()
        self.sigma_max = self.sigmas[-1].item()

    def timestep(self, sigma: float | Tensor) -> Tensor:
        """t(σ) in [0, T − 1], of σ's shape, float64 on the CPU; held at the ends outside [sigma_min, sigma_max]."""
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device="cpu")
        return torch.as_tensor(np.interp(sigma.log(), self.sigmas.log(), np.arange(len(self.sigmas))))

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise x (B, C, H, W) at noise level σ (one number, or (B,))."""
        t = self.timestep(sigma).to(x.device, torch.float32).expand(x.shape[0])
        sigma = sigma_column(sigma, x)
        eps = self.network(x / (1 + sigma.square()).sqrt(), t).sample[:, : x.shape[1]]
        return x - sigma * eps.to(x.dtype)
