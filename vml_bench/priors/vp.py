"""Variance-preserving networks in the variance-exploding frame: ε-prediction (DDPM, ADM) as a denoiser D(x, σ)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vml_bench.identity import AsBefore
from vml_bench.priors.base import sigma_column

FirstTimestep = Annotated[Literal[0, 1], AsBefore(0)]
"""The number of the first timestep, by which the network is told σ_min: see `VPPrior`."""


class VPPrior(nn.Module):
    """D(x, σ) = x − σ ε(x / sqrt(1 + σ²), t(σ)), with ε a `diffusers.UNet2DModel`.

    A diffusion x_vp = sqrt(ᾱ_t) x_0 + sqrt(1 − ᾱ_t) n (Ho et al. 2020, arXiv:2006.11239, eq. 4) is
    x = x_vp / sqrt(ᾱ_t) = x_0 + σ n in the other frame, with σ(t) = sqrt((1 − ᾱ_t) / ᾱ_t) and
    1 / sqrt(1 + σ²) = sqrt(ᾱ_t). D is therefore the DDPM's own estimate of x_0 at every integer t; between
    them t(σ) is interpolated linearly in log σ. It is not clipped.

    Args:
        network: ε(x_vp, t); of 2C output channels the last C are a learned variance.
        image_shape: (C, H, W) of the images it was trained on, values in [-1, 1].
        betas: β of every timestep, (T,); None: DDPM's, linear from 1e-4 to 0.02, T = 1000.
        first_timestep: the number of the first timestep. 0: the network is told t in 0 … T − 1, as DDPM's and ADM's
            programs count and train. 1: it is told 1 … T for the same σ, as the sampler library of MAP-GA's first
            author counts (VinuesaLAB-AI/Diff-SPORT, libs/lib_diffusion.py, c0813ee): one timestep too many for a
            network that was trained from 0.

    Attributes:
        sigmas: σ(0) < … < σ(T − 1), float64 on the CPU, (T,).
        sigma_min: σ(0).
        sigma_max: σ(T − 1).
        learned_variance: whether the network has 2C output channels.
        checkpoint: the file that the network's weights came from; None if they came from none.
        notes: how they were found in it, in words, if not simply by their names.
        described: what else makes the prior that it is, where its configuration does not say it: see
            `vml_bench.identity.prior_form`.
    """

    def __init__(
        self,
        network: nn.Module,
        image_shape: Sequence[int],
        betas: Tensor | None = None,
        first_timestep: FirstTimestep = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.image_shape = tuple(image_shape)
        self.first_timestep = first_timestep
        self.checkpoint: Path | None = None
        self.notes: tuple[str, ...] = ()
        self.described: dict[str, Any] = {}
        channels = getattr(getattr(network, "config", None), "out_channels", None)  # of a `UNet2DModel`
        self.learned_variance = channels == 2 * self.image_shape[0]
        if betas is None:
            betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
        alphas_bar = (1 - betas.double()).cumprod(dim=0)
        self.sigmas = ((1 - alphas_bar) / alphas_bar).sqrt()  # no buffer: exact on every device and in every dtype
        self.sigma_min = self.sigmas[0].item()
        self.sigma_max = self.sigmas[-1].item()

    def timestep(self, sigma: float | Tensor) -> Tensor:
        """t(σ) in [0, T − 1], counted from 0 whatever `first_timestep` is; of σ's shape, float64 on the CPU.

        It is held at the ends outside [sigma_min, sigma_max].
        """
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device="cpu")
        return torch.as_tensor(np.interp(sigma.log(), self.sigmas.log(), np.arange(len(self.sigmas))))

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise x (B, C, H, W) at noise level σ (one number, or (B,))."""
        return self.with_variance(x, sigma)[0]

    def with_variance(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """D(x, σ) and the learned variance v, both (B, C, H, W), from one pass; without `learned_variance` v is empty.

        v is Nichol and Dhariwal's (2021, arXiv:2102.09672, eq. 15), on [-1, 1]: see `vml_bench.contract.Prior`.
        """
        t = (self.timestep(sigma) + self.first_timestep).to(x.device, torch.float32).expand(x.shape[0])
        sigma = sigma_column(sigma, x)
        output = self.network(x / (1 + sigma.square()).sqrt(), t).sample.to(x.dtype)
        return x - sigma * output[:, : x.shape[1]], output[:, x.shape[1] :]
