"""Images of latents: the autoencoder of a latent diffusion model (Rombach et al. 2022, arXiv:2112.10752)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:  # heavy; only what runs a network pays for it
    from diffusers import AutoencoderKL, VQModel


class Decoder(nn.Module):
    """x = decode(z / scale + shift), by an autoencoder of diffusers; `encode` goes the other way.

    Values of x lie in [-1, 1] as far as the autoencoder was trained well; they are not clipped. The decoder of a
    vector-quantised autoencoder first moves each latent vector to the nearest of its codebook. That is a step, whose
    derivative is taken for that of the identity, as in the autoencoder's own training ("straight-through").

    Args:
        network: `diffusers.AutoencoderKL` or `VQModel`.
        latent_shape: (C', h, w) of z.
        scale: what latents are multiplied by to be z, LDM's scale_factor.
        shift: what is taken from them before.
        quantize: whether a `VQModel` quantises; False decodes z as it is, which is smooth.

    Attributes:
        image_shape: (C, H, W) of x.
        described: what tells one decoder from another, as plain data.
        notes: how its weights were found in their file, in words, if not simply by their names.
    """

    def __init__(
        self,
        network: AutoencoderKL | VQModel,
        latent_shape: Sequence[int],
        scale: float = 1.0,
        shift: float = 0.0,
        quantize: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self.scale, self.shift = scale, shift
        self.quantize = quantize and hasattr(network, "quantize")
        enlarged = 2 ** (len(network.config.block_out_channels) - 1)
        _, height, width = latent_shape
        self.image_shape = (network.config.out_channels, enlarged * height, enlarged * width)
        self.described: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()

    def forward(self, z: Tensor) -> Tensor:
        """Images of latents: (B, C', h, w) -> (B, C, H, W), differentiable in either mode of autograd."""
        latent = z / self.scale + self.shift
        if self.quantize:
            with torch.no_grad():
                nearest = self.network.quantize(latent.detach())[0]
            latent = nearest + (latent - latent.detach())
        options = {"force_not_quantize": True} if hasattr(self.network, "quantize") else {}
        with sdpa_kernel(SDPBackend.MATH):  # of attention's kernels the only one with a derivative in forward mode
            return self.network.decode(latent, **options).sample

    def encode(self, x: Tensor) -> Tensor:
        """Latents of images, without gradient: (B, C, H, W) -> (B, C', h, w); of a variational autoencoder the mean."""
        with torch.no_grad():
            encoded = self.network.encode(x)
            latent = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
        return (latent - self.shift) * self.scale

    def save(self, folder: str | Path) -> None:
        """Write the autoencoder as diffusers does, a folder with config.json and weights in half precision."""
        network = deepcopy(self.network)
        network.register_to_config(scaling_factor=self.scale)
        network.half().save_pretrained(folder)
