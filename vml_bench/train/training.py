"""Train on random crops of the training bands: the `photos64` prior by EDM's denoising loss, and what else has a loss.

Resumable at any time: the checkpoint holds network, averaged network, optimiser, random state and step.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from vml_bench.data.photos import PhotoCrops, TrainingCrops
from vml_bench.files import replacing
from vml_bench.metrics.functional import psnr
from vml_bench.noise import ImageNoise
from vml_bench.priors.unet import EDMPrior

WATCHED = (0.1, 0.2, 0.5, 1.0)
"""Noise levels at which the tuning crops are denoised during training, and the test crops for the model card."""

Encode = Callable[[Tensor], Tensor]


def same(crops: Tensor) -> Tensor:
    """The crops themselves."""
    return crops


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; what says σ concerns priors alone.

    Attributes:
        steps: optimiser steps in total; a checkpoint with fewer is continued.
        batch_size: crops per step.
        learning_rate: Adam's, after the warm-up.
        warmup: steps of linear warm-up.
        decay: share of `steps`, at the end, over which the rate falls linearly to zero.
        ema: decay of the weight average, which is what is shipped.
        log_sigma_mean: mean of ln σ (EDM's P_mean).
        log_sigma_std: standard deviation of ln σ (EDM's P_std).
        uniform_share: share of the noise levels drawn log-uniformly over the whole range instead, so that its ends,
            where samplers start and finish, are trained too.
        bf16: run the network in bfloat16 autocast.
        every: steps between checkpoints.
        seed: of crops and noise.
    """

    steps: int = 16_500
    batch_size: int = 16
    learning_rate: float = 4e-4
    warmup: int = 500
    decay: float = 0.4
    ema: float = 0.999
    log_sigma_mean: float = -1.2
    log_sigma_std: float = 1.2
    uniform_share: float = 0.2
    bf16: bool = True
    every: int = 500
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, constant, linear decay."""
        left = (self.steps - step) / (self.decay * self.steps)
        return self.learning_rate * max(0.0, min(1.0, (step + 1) / self.warmup, left))


def draw_sigma(prior: EDMPrior, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Noise levels of one batch, (B,), within the prior's range."""
    size = config.batch_size
    low, high = torch.tensor(prior.sigma_min).log(), torch.tensor(prior.sigma_max).log()
    normal = config.log_sigma_mean + config.log_sigma_std * torch.randn(size, generator=generator)
    uniform = low + (high - low) * torch.rand(size, generator=generator)
    spread = torch.rand(size, generator=generator) < config.uniform_share
    return torch.where(spread, uniform, normal).clamp(low, high).exp()


def denoising_loss(prior: EDMPrior, clean: Tensor, sigma: Tensor, noise: Tensor, bf16: bool) -> Tensor:
    """EDM's loss, λ(σ) ‖D(x_0 + σ n, σ) − x_0‖² with λ = (σ² + σ_d²) / (σ σ_d)² (its eq. 8), as a mean."""
    weight = (sigma.square() + prior.sigma_data**2) / (sigma * prior.sigma_data).square()
    noisy = clean + sigma[:, None, None, None] * noise
    with torch.autocast(clean.device.type, dtype=torch.bfloat16, enabled=bf16):
        denoised = prior(noisy, sigma)
    return (weight[:, None, None, None] * (denoised.float() - clean).square()).mean()


def crops_of(split: str) -> tuple[Tensor, tuple[str, ...]]:
    """The crops of a split, (B, 3, 64, 64) in [-1, 1], and their ids."""
    crops = PhotoCrops(split)
    return torch.stack([crops.load(image_id) for image_id in crops.ids]), crops.ids


def noised(clean: Tensor, ids: Sequence[str], sigma: float) -> Tensor:
    """Crops (B, C, H, W) with noise of a level σ, seeded by crop."""
    return clean + sigma * ImageNoise(0, ids, "denoise").randn_like(clean)


@torch.no_grad()
def denoising_psnr(prior: EDMPrior, split: str, sigma: float, encode: Encode = same) -> float:
    """Mean PSNR in dB of D on a split's crops, or on their latents, at one noise level."""
    clean, ids = crops_of(split)
    clean = encode(clean)
    return float(psnr(prior(noised(clean, ids, sigma), sigma), clean).mean())


def train(prior: EDMPrior, config: TrainingConfig, folder: Path, weights: Path, encode: Encode = same) -> None:
    """Train a prior, or continue from the checkpoint in `folder`, and write the averaged weights.

    Args:
        prior: the network, freshly initialised.
        config: see `TrainingConfig`.
        folder: for checkpoint.pt and log.csv.
        weights: safetensors file to write with each checkpoint.
        encode: what the prior knows of a batch of crops: themselves, or their latents.
    """

    def loss(model: EDMPrior, crops: Tensor, generator: torch.Generator) -> Tensor:
        clean = encode(crops)
        sigma = draw_sigma(prior, config, generator)
        noise = torch.randn(clean.shape, generator=generator)
        return denoising_loss(model, clean, sigma.to(clean.device), noise.to(clean.device), config.bf16)

    def watched(model: EDMPrior) -> list[float]:
        return [denoising_psnr(model, "tune", sigma, encode) for sigma in WATCHED]

    fit(prior, config, folder, weights, loss, watched)


def fit(
    model: nn.Module,
    config: TrainingConfig,
    folder: Path,
    weights: Path,
    loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor],
    watched: Callable[[nn.Module], list[float]],
) -> None:
    """Minimise a loss over random crops, or continue from the checkpoint in `folder`, and write the averaged weights.

    Args:
        model: a module with `save(path)`, freshly initialised.
        config: see `TrainingConfig`.
        folder: for checkpoint.pt and log.csv: steps, seconds, mean loss, and what is watched.
        weights: what `save` is to write with each checkpoint.
        loss: of the model on crops (B, 3, 64, 64), which draws from the generator alone.
        watched: PSNR in dB of the averaged model on tuning crops, one for each thing that is watched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights.parent.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device, memory_format=torch.channels_last).train()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    crops = TrainingCrops(generator)
    step, checkpoint = 0, folder / "checkpoint.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"])
        step = state["step"]

    losses: list[float] = []
    started = time.monotonic()
    with tqdm(total=config.steps, initial=step, unit="step", desc="training") as bar:
        while step < config.steps:
            for group in optimiser.param_groups:
                group["lr"] = config.rate(step)
            value = loss(model, crops.batch(config.batch_size).to(device), generator)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            averaged.update_parameters(model)
            losses.append(value.item())
            step += 1
            bar.update()
            if step % config.every == 0 or step == config.steps:
                state = {
                    "model": model.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "generator": generator.get_state(),
                    "step": step,
                }
                with replacing(checkpoint) as partial:
                    torch.save(state, partial)
                averaged.module.save(weights)
                row = [step, round(time.monotonic() - started), sum(losses) / len(losses)]
                row += [round(value, 3) for value in watched(averaged.module.eval())]
                averaged.module.train()
                with open(folder / "log.csv", "a", newline="") as file:
                    csv.writer(file).writerow(row)
                bar.set_postfix(loss=f"{row[2]:.4f}", psnr="/".join(f"{value:.1f}" for value in row[3:]))
                losses.clear()
