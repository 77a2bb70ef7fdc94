"""Distortion metrics of one image against its reference, a value an image, under the conventions papers use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

BT601 = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in [0, 1] in studio luma, to which 16 is added (ITU-R BT.601)."""


@cache
def _torchmetrics() -> ModuleType:
    """Imported with the first score: it takes as long as torch itself, and is not needed for the first network pass."""
    return import_module("torchmetrics.functional.image")


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (B, C, H, W) in [-1, 1] -> (B,), data range 2."""
    return _torchmetrics().peak_signal_noise_ratio(image, reference, data_range=2.0, dim=(1, 2, 3), reduction="none")


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004: 11×11 Gaussian window, σ 1.5), (B, C, H, W) in [-1, 1] -> (B,)."""
    return _torchmetrics().structural_similarity_index_measure(image, reference, data_range=2.0, reduction="none")


def luma(image: Tensor) -> Tensor:
    """Studio luma, as MATLAB's rgb2ycbcr gives it: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [16, 235]."""
    weights = image.new_tensor(BT601)[:, None, None]
    return 16 + (weights * (image + 1) / 2).sum(dim=1, keepdim=True)


def psnr_luma(image: Tensor, reference: Tensor) -> Tensor:
    """PSNR in dB of luma alone, peak 255, the super-resolution literature's: (B, 3, H, W) in [-1, 1] -> (B,)."""
    return _torchmetrics().peak_signal_noise_ratio(
        luma(image), luma(reference), data_range=255.0, dim=(1, 2, 3), reduction="none"
    )


def ssim_luma(image: Tensor, reference: Tensor) -> Tensor:
    """SSIM of luma alone, data range 255: (B, 3, H, W) in [-1, 1] -> (B,)."""
    return _torchmetrics().structural_similarity_index_measure(
        luma(image), luma(reference), data_range=255.0, reduction="none"
    )


def ssim_uniform(image: Tensor, reference: Tensor) -> Tensor:
    """SSIM as scikit-image gives it unless told otherwise, 7×7 uniform window: (B, C, H, W) in [-1, 1] -> (B,)."""
    from skimage.metrics import structural_similarity  # and SciPy's filters, which little else needs

    pairs = zip(image.double().cpu().numpy(), reference.double().cpu().numpy(), strict=True)
    values = [structural_similarity(a, b, channel_axis=0, data_range=2.0) for a, b in pairs]
    return torch.tensor(values, dtype=image.dtype)
