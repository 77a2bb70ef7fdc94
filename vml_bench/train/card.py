"""`python -m vml_bench.train.card [--latent]`: the model card of the `photos64` prior, or of `photos64_latent`.

The prior denoises the test crops beside scikit-image's non-local means and total variation. Those are tuned by mean
PSNR at each noise level, over the grids below, on training crops (without flat ones, like the test split); the prior
has no setting to tune. All three results are clipped to [-1, 1]. The noise is seeded by crop.

Of the latent prior it is the autoencoder that has a rival: the best linear map of 2×2 patches to as many numbers.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torchvision.utils import make_grid
from tqdm import tqdm

from vml_bench.data.images import save_png, to_uint8
from vml_bench.data.photos import FLATTEST, PhotoCrops, TrainingCrops, activity
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.files import replacing, sha256
from vml_bench.metrics.functional import psnr
from vml_bench.noise import ImageNoise
from vml_bench.priors.folder import LATENT, LATENT_AUTOENCODER, load_latent_prior
from vml_bench.priors.unet import EDMPrior, load_edm_prior, shipped_checkpoint
from vml_bench.schedule import EDMSchedule
from vml_bench.train.autoencoder import reconstruction_psnr
from vml_bench.train.training import WATCHED, crops_of, denoising_psnr, noised

NLM_GRID = {"patch_size": (3, 5, 7, 9), "patch_distance": (7, 15), "h": (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)}
TV_GRID = {"weight": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0)}


def non_local_means(noisy: np.ndarray, sigma: float, patch_size: int, patch_distance: int, h: float) -> np.ndarray:
    """scikit-image's non-local means of (H, W, 3) with its noise correction; h in units of σ."""
    return denoise_nl_means(
        noisy, patch_size, patch_distance, h=h * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )


def total_variation(noisy: np.ndarray, sigma: float, weight: float) -> np.ndarray:
    """scikit-image's colour total variation (Chambolle) of (H, W, 3); the weight in units of σ."""
    return denoise_tv_chambolle(noisy, weight=weight * sigma, channel_axis=-1)


RIVALS: dict[str, tuple[Callable[..., np.ndarray], dict[str, tuple]]] = {
    "non-local means": (non_local_means, NLM_GRID),
    "total variation": (total_variation, TV_GRID),
}


def each(denoise: Callable[..., np.ndarray], noisy: Tensor, sigma: float, setting: dict) -> Tensor:
    """Apply a denoiser of single images to (B, 3, H, W) in [-1, 1]."""
    results = [denoise(image.permute(1, 2, 0).numpy(), sigma, **setting) for image in noisy]
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2).float()


def mean_psnr(image: Tensor, reference: Tensor) -> float:
    """Mean PSNR in dB over the batch, images clipped to [-1, 1]."""
    return float(psnr(image.clamp(-1, 1), reference).mean())


def active_training_crops(count: int) -> Tensor:
    """Training crops chosen as the test crops are, without flat ones: (count, 3, 64, 64) in [-1, 1]."""
    crops = TrainingCrops(torch.Generator().manual_seed(1))
    kept: list[Tensor] = []
    while len(kept) < count:
        kept += [crop for crop in crops.batch(count) if activity(to_uint8(crop)) >= FLATTEST]
    return torch.stack(kept[:count])


def compare(prior: EDMPrior, sigmas: Sequence[float] = WATCHED, tuning_crops: int = 24) -> pd.DataFrame:
    """Mean PSNR on the test crops, one row per noise level, one column per denoiser, and the rivals' settings."""
    clean, ids = crops_of("test")
    tuning, tuning_ids = active_training_crops(tuning_crops), [f"train-{i}" for i in range(tuning_crops)]
    rows = []
    for sigma in tqdm(sigmas, desc="noise levels"):
        noisy, noisy_tuning = noised(clean, ids, sigma), noised(tuning, tuning_ids, sigma)
        row = {"sigma": sigma, "noisy": float(psnr(noisy, clean).mean())}
        with torch.inference_mode():
            row["prior"] = mean_psnr(prior(noisy, sigma), clean)
        for name, (denoise, grid) in RIVALS.items():
            settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
            scores = [mean_psnr(each(denoise, noisy_tuning, sigma, setting), tuning) for setting in settings]
            best = settings[int(np.argmax(scores))]
            row[name] = mean_psnr(each(denoise, noisy, sigma, best), clean)
            row[f"{name} setting"] = ", ".join(f"{key} {value:g}" for key, value in best.items())
        rows.append(row)
    return pd.DataFrame(rows)


def sample(prior: EDMPrior, count: int, levels: int = 50, seed: int = 0) -> Tensor:
    """Unconditional samples by Euler steps of the probability-flow equation (EDM, algorithm 1 without churn).

    Returns:
        (count, C, H, W).
    """
    denoiser = Denoiser(prior)
    sigmas = EDMSchedule(levels=levels)(denoiser)
    noise = ImageNoise(seed, [f"sample-{i}" for i in range(count)], "sample")
    x = sigmas[0] * noise.randn_like(torch.empty(count, *prior.image_shape))
    for sigma, following in itertools.pairwise([*sigmas, 0.0]):
        denoised = denoiser(x, sigma)
        x = denoised + following / sigma * (x - denoised)
    return x


def history_of(checkpoint: Path) -> str:
    """How the weights were trained: <stem>_training.md beside them, empty if there is none."""
    history = checkpoint.with_name(f"{checkpoint.stem}_training.md")
    return history.read_text() if history.is_file() else ""


def described(prior: EDMPrior) -> str:
    """The network, in words."""
    channels = prior.config["unet"]["block_out_channels"]
    parameters = sum(parameter.numel() for parameter in prior.network.parameters())
    return f"`diffusers.UNet2DModel` with {parameters / 1e6:.2f} million parameters (channels {channels})"


def write_files(checkpoint: Path, card: str, samples: Tensor) -> Path:
    """Write a card (Markdown) and its sheet of samples, 8 in a row, beside a checkpoint; returns the card's path."""
    save_png(make_grid(samples, nrow=8, padding=0), checkpoint.with_name(f"{checkpoint.stem}_samples.png"))
    path = checkpoint.with_suffix(".md")
    with replacing(path) as partial:
        partial.write_text(card)
    return path


def write_card(checkpoint: Path) -> Path:
    """Write the model card (Markdown) and a sheet of samples beside a checkpoint; returns the card's path.

    Args:
        checkpoint: safetensors file of the prior; <stem>_training.md beside it, if any, says how it was trained.
    """
    prior = load_edm_prior(checkpoint)
    table = compare(prior)
    scores = table[["sigma", "noisy", "prior", *RIVALS]].round(2).to_markdown(index=False)
    settings = table[["sigma", *(f"{name} setting" for name in RIVALS)]].to_markdown(index=False)
    card = f"""# Model card: {checkpoint.stem}

A small unconditional denoiser D(x, σ) of 64×64 colour photographs, σ from {prior.sigma_min} to {prior.sigma_max},
images in [-1, 1]: {described(prior)}, on
pixels folded by {prior.patch}, under EDM's preconditioning (`vml_bench/priors/unet.py`). Weights are stored in
half precision. sha256 `{sha256(checkpoint)}`.

## Training

{history_of(checkpoint)}
Crops come from the training bands of the eleven photographs of `vml_bench/data/photos.py`; no pixel of a test or
tuning crop is among them, but other parts of the same photographs are. It knows those eleven photographs'
kind of content and nothing else: it is a test bed for methods, not a general image prior.

## Denoising the {len(PhotoCrops("test").ids)} test crops (mean PSNR in dB)

{scores}

Non-local means and total variation are scikit-image's, each tuned at each σ on training crops:

{settings}

h and weight are in units of σ. `python -m vml_bench.train.card` rewrites this page.

## Unconditional samples

![32 samples, 50 Euler steps]({checkpoint.stem}_samples.png)
"""
    return write_files(checkpoint, card, sample(prior, 32))


def linear_psnr(channels: int, side: int, splits: Sequence[str], crops: int = 256) -> list[float]:
    """Mean PSNR in dB of each split after a projection of patches to as many numbers as latents have.

    Principal components of the patches of training crops, the best linear autoencoder of patches.

    Args:
        channels: numbers that each patch is projected to.
        side: of a patch, in pixels.
        splits: whose crops are projected.
        crops: training crops from which the components are estimated.
    """

    def patches(images: Tensor) -> Tensor:
        return pixel_unshuffle(images, side).permute(0, 2, 3, 1)

    known = patches(TrainingCrops(torch.Generator().manual_seed(2)).batch(crops)).flatten(0, 2)
    mean = known.mean(0)
    _, _, components = torch.pca_lowrank(known, q=channels, niter=8)
    found = []
    for split in splits:
        clean, _ = crops_of(split)
        kept = (patches(clean) - mean) @ components @ components.T + mean
        found.append(mean_psnr(pixel_shuffle(kept.permute(0, 3, 1, 2), side), clean))
    return found


@torch.no_grad()
def write_latent_card(checkpoint: Path, autoencoder: Path) -> Path:
    """Write the model card of a prior of latents and a sheet of decoded samples; returns the card's path.

    Args:
        checkpoint: safetensors file of the prior; <stem>_training.md beside it, if any, says how it was trained.
        autoencoder: its folder of diffusers.
    """
    prior = load_latent_prior(checkpoint, autoencoder)
    decoder, splits = prior.decoder, ("tune", "test")
    channels, height, _ = prior.image_shape
    ours = [reconstruction_psnr(decoder, split) for split in splits]
    side = decoder.image_shape[1] // height
    table = pd.DataFrame({"crops": splits, "autoencoder": ours, "linear": linear_psnr(channels, side, splits)})
    noise = [[denoising_psnr(prior, split, sigma, decoder.encode) for sigma in WATCHED] for split in splits]
    denoised = pd.DataFrame({"sigma": WATCHED, **dict(zip(splits, noise, strict=True))})
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    card = f"""# Model card: {checkpoint.stem}

A small unconditional denoiser D(z, σ) of latents of 64×64 colour photographs, {"×".join(map(str, prior.image_shape))},
σ from {prior.sigma_min} to {prior.sigma_max}: {described(prior)}
under EDM's preconditioning (`vml_bench/priors/unet.py`). A `diffusers.AutoencoderKL` of {parameters / 1e6:.2f} million
parameters decodes them. Weights are stored in half precision. sha256 `{sha256(checkpoint)}`, of the autoencoder
`{decoder.described["weights"]}`.

## Training

{history_of(checkpoint)}
Crops come from the training bands of the eleven photographs of `vml_bench/data/photos.py`, as those of `photos64` do:
it is a test bed for methods, not a general image prior.

## What the autoencoder keeps (mean PSNR in dB of crops encoded and decoded)

{table.round(2).to_markdown(index=False)}

No restoration of a latent method can be closer on average than about that. "linear" are principal components of
{side}×{side} patches, {channels} of {3 * side**2} numbers each.

## Denoising latents (mean PSNR in dB, of a range of 2 as for images)

{denoised.round(2).to_markdown(index=False)}

`python -m vml_bench.train.card --latent` rewrites this page.

## Unconditional samples

![32 samples, 50 Euler steps, decoded]({checkpoint.stem}_samples.png)
"""
    return write_files(checkpoint, card, decoder(sample(prior, 32)))


def main() -> None:
    """Measure the prior and write its card; an unreadable checkpoint is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m vml_bench.train.card", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="safetensors file; default: the shipped weights")
    parser.add_argument("--latent", action="store_true", help="of a prior of latents")
    parser.add_argument("--autoencoder", type=Path, help="its autoencoder's folder; default: the shipped one")
    told = parser.parse_args()
    try:
        if told.latent:
            files = (
                told.checkpoint or shipped_checkpoint(LATENT),
                told.autoencoder or shipped_checkpoint(LATENT_AUTOENCODER),
            )
            print(f"wrote {write_latent_card(*files)}")
        else:
            print(f"wrote {write_card(told.checkpoint or shipped_checkpoint())}")
    except InputError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
