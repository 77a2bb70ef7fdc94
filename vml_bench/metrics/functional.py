"""Distortion metrics of one image against its reference, a value an image."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (B, C, H, W) in [-1, 1] -> (B,), data range 2."""
    return peak_signal_noise_ratio(image, reference, data_range=2.0, dim=(1, 2, 3), reduction="none")


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004: 11×11 Gaussian window, σ 1.5), (B, C, H, W) in [-1, 1] -> (B,)."""
    return structural_similarity_index_measure(image, reference, data_range=2.0, reduction="none")
