"""Train the autoencoder of the `photos64_latent` prior: squared error, and a weak pull of latents towards N(0, I).

The pull is a variational autoencoder's (Kingma, Welling 2014, arXiv:1312.6114, eq. 10): it keeps the spread of each
image's latent from closing, so that the decoder is smooth where a prior that is not exact may lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from vml_bench.data.photos import TrainingCrops
from vml_bench.metrics.functional import psnr
from vml_bench.priors.latent import Decoder
from vml_bench.train.training import TrainingConfig, crops_of, fit

SPREAD = 0.5
"""Standard deviation of the latents that the prior knows: about that of photographs in [-1, 1], which σ fits."""
MEASURED = 64
"""Training crops by which latents are scaled to it."""


class TrainedDecoder(Decoder):
    """A decoder to be trained, which scales its latents to `SPREAD` when it is saved.

    Args:
        network: keyword arguments of `diffusers.AutoencoderKL`.
        latent_shape: (C', h, w) of the latents of 64×64 crops.
    """

    def __init__(self, network: dict, latent_shape: Sequence[int] = (4, 32, 32)) -> None:
        super().__init__(AutoencoderKL(**network), latent_shape)

    def save(self, folder: str | Path) -> None:
        """Write the autoencoder with its scaling factor, as diffusers does, in half precision."""
        self.scale = 1.0
        crops = TrainingCrops(torch.Generator().manual_seed(1)).batch(MEASURED)
        device = next(self.parameters()).device
        latents = torch.cat([self.encode(part.to(device)) for part in crops.split(16)])
        self.scale = SPREAD / float(latents.std())
        super().save(folder)


def reconstruction_loss(
    decoder: Decoder, crops: Tensor, generator: torch.Generator, kl_weight: float, bf16: bool
) -> Tensor:
    """Mean squared error of what is decoded from q(z | x) = N(μ, s²), plus `kl_weight` · KL(q ‖ N(0, I)) per value.

    Args:
        decoder: with a `diffusers.AutoencoderKL`.
        crops: x, (B, C, H, W) in [-1, 1].
        generator: of the noise of z.
        kl_weight: ≥ 0.
        bf16: run the network in bfloat16 autocast.
    """
    with torch.autocast(crops.device.type, dtype=torch.bfloat16, enabled=bf16):
        encoded = decoder.network.encode(crops).latent_dist
        mean, logvar = encoded.mean.float(), encoded.logvar.float()
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        decoded = decoder.network.decode(mean + (logvar / 2).exp() * noise).sample
    divergence = (mean.square() + logvar.exp() - 1 - logvar).mean() / 2
    return (decoded.float() - crops).square().mean() + kl_weight * divergence


@torch.no_grad()
def reconstruction_psnr(decoder: Decoder, split: str) -> float:
    """Mean PSNR in dB of a split's crops encoded, decoded and clipped to [-1, 1]."""
    clean, _ = crops_of(split)
    decoded = torch.cat([decoder(decoder.encode(part)) for part in clean.split(16)])
    return float(psnr(decoded.clamp(-1, 1), clean).mean())


def train_autoencoder(
    decoder: TrainedDecoder, config: TrainingConfig, folder: Path, weights: Path, kl_weight: float
) -> None:
    """Train an autoencoder, or continue from the checkpoint in `folder`; log.csv watches PSNR on tuning crops.

    Args:
        decoder: freshly initialised.
        config: see `TrainingConfig`.
        folder: for checkpoint.pt and log.csv.
        weights: folder of diffusers to write with each checkpoint.
        kl_weight: see `reconstruction_loss`.
    """

    def loss(model: Decoder, crops: Tensor, generator: torch.Generator) -> Tensor:
        return reconstruction_loss(model, crops, generator, kl_weight, config.bf16)

    fit(decoder, config, folder, weights, loss, lambda model: [reconstruction_psnr(model, "tune")])
