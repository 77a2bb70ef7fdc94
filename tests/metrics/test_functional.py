"""Distortion metrics against closed forms and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from vml_bench.metrics import functional


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    reference = torch.rand(2, 3, 48, 40, generator=rng) * 2 - 1
    return (reference + 0.2 * torch.randn(reference.shape, generator=rng)).clamp(-1, 1), reference


def test_luma_is_studio_luma(pair):
    expected = rgb2ycbcr(((pair[0] + 1) / 2).permute(0, 2, 3, 1).numpy())[..., 0]
    np.testing.assert_allclose(functional.luma(pair[0])[:, 0].numpy(), expected, atol=1e-4)
    assert functional.luma(-torch.ones(1, 3, 1, 1)).item() == pytest.approx(16)
    assert functional.luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(235)


def test_psnr_of_luma_has_peak_255():
    reference = torch.zeros(1, 3, 8, 8)
    grey = reference + 0.1  # 0.05 of the range: luma differs by 0.05 · 219
    assert functional.psnr_luma(grey, reference).item() == pytest.approx(20 * math.log10(255 / (0.05 * 219)), abs=1e-3)
    assert functional.psnr(grey, reference).item() == pytest.approx(20 * math.log10(2 / 0.1), abs=1e-3)


def test_ssim_conventions_are_those_of_scikit_image(pair):
    a, b = (x.permute(0, 2, 3, 1).double().numpy() for x in pair)
    uniform = [structural_similarity(x, y, channel_axis=2, data_range=2) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(functional.ssim_uniform(*pair).numpy(), uniform, rtol=1e-6)
    luma = [functional.luma(x)[:, 0].double().numpy() for x in pair]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    gaussian = [structural_similarity(x, y, **settings)[1].mean() for x, y in zip(*luma, strict=True)]
    np.testing.assert_allclose(functional.ssim_luma(*pair).numpy(), gaussian, rtol=2e-3)  # edges mirrored differently
    assert abs(functional.ssim(*pair) - functional.ssim_uniform(*pair)).min() > 1e-3
