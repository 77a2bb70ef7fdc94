"""Every image of a run scored under every per-image convention, in one pass over its pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vml_bench.data.images import as_saved, read_picture
from vml_bench.errors import InputError
from vml_bench.metrics import MetricSuite, functional
from vml_bench.metrics.perceptual import lpips_network
from vml_bench.store.features import Extract

DEFAULTS = ("psnr", "ssim", "lpips_alex")
"""Scores of the leaderboard's first columns."""

SAVINGS = ("clipped", "min-max", "min-max, restoration only")
"""How a picture is saved: clipped to [-1, 1], or stretched from its own least to its own largest value."""

Score = Callable[[Tensor, Tensor], Tensor]


def stretch(image: Tensor) -> Tensor:
    """Rescale (1, 3, H, W) from its own minimum and maximum over all channels to [-1, 1], and quantise to 8 bit.

    Source: DPS, util/img_utils.py, clear_color, which does so to restorations and ground truth before saving. A
    constant picture, which DPS divides by zero, is left as it is.
    """
    low, high = image.amin(), image.amax()
    return as_saved(2 * (image - low) / (high - low) - 1) if high > low else image


def averaging(network: torch.nn.Module) -> torch.nn.Module:
    """LPIPS's trunk with every maximum pooling replaced by the mean of the same window, in place.

    Source: DAPS, eval.py, which asks piq for LPIPS on VGG16 with replace_pooling.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                setattr(module, name, torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return network


class Scorer:
    """Scores pairs of pictures under every convention; networks are loaded once.

    Args:
        extract: the feature network whose Fréchet distance is reported, for stretched pictures.
        device: where the networks run.

    Raises:
        InputError: LPIPS's weights are not available.
    """

    def __init__(self, extract: Extract, device: torch.device) -> None:
        self.suite = MetricSuite(DEFAULTS, (), device)
        self.extract = extract
        alex, vgg = (lpips_network(net).to(device) for net in ("alex", "vgg"))
        averaged = averaging(copy.deepcopy(vgg))
        self.others: dict[str, Score] = {
            "lpips_vgg": lambda x, y: vgg(x.to(device), y.to(device)),
            "lpips_vgg_averaged": lambda x, y: averaged(x.to(device), y.to(device)),
            "lpips_alex_unit": lambda x, y: alex((x.to(device) + 1) / 2, (y.to(device) + 1) / 2),
            "psnr_luma": functional.psnr_luma,
            "ssim_luma": functional.ssim_luma,
            "ssim_uniform": functional.ssim_uniform,
        }

    @torch.no_grad()
    def __call__(self, image: Tensor, reference: Tensor) -> dict[str, float]:
        """All scores of one pair, (1, 3, H, W) in [-1, 1]; with another way of saving as "<metric>, <saving>"."""
        scores = {name: float(value) for name, value in self.suite(image, reference).items()}
        scores |= {name: float(score(image, reference)) for name, score in self.others.items()}
        for saving, original in zip(SAVINGS[1:], (stretch(reference), reference), strict=True):
            stretched = self.suite(stretch(image), original)
            scores |= {f"{name}, {saving}": float(stretched[name]) for name in DEFAULTS}
        return scores

    def features(self, image: Tensor, reference: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Features (d,) of a stretched restoration and of its stretched ground truth."""
        return self.extract(stretch(image))[0], self.extract(stretch(reference))[0]


def score_pictures(
    scorer: Scorer, ids: Sequence[str], restored: Callable[[str], Path], original: Callable[[str], Path]
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Score all pairs.

    Args:
        scorer: scores each pair.
        ids: image ids.
        restored: file of an image's restoration.
        original: file of its ground truth.

    Returns:
        For each score (n,), and the features (n, d) of the stretched restorations and ground truth.

    Raises:
        InputError: a picture cannot be read, or a pair differs in size.
    """
    rows, stretched = [], []
    for image_id in tqdm(ids, desc="rescoring", unit="img", leave=False):
        image, reference = (read_picture(file(image_id))[None] for file in (restored, original))
        if image.shape != reference.shape:
            raise InputError(f"{restored(image_id)} and {original(image_id)} differ in size", "run that cell again")
        rows.append(scorer(image, reference))
        stretched.append(scorer.features(image, reference))
    scores = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    first, second = (np.stack(vectors) for vectors in zip(*stretched, strict=True))
    return scores, (first, second)
