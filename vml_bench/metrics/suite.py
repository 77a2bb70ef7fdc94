"""The metrics of a run: networks loaded once, each image scored by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError
from vml_bench.metrics import functional
from vml_bench.metrics.conventions import LegacyPytorchFeatures, TorchFidelityFeatures, TorchvisionFeatures
from vml_bench.metrics.inception import InceptionFeatures
from vml_bench.metrics.remembered import Remembered
from vml_bench.metrics.weights import lpips_network

INCEPTIONS: dict[str, Callable[[], torch.nn.Module]] = {
    "inception": InceptionFeatures,
    "inception_legacy_pytorch": LegacyPytorchFeatures,
    "inception_torch_fidelity": TorchFidelityFeatures,
    "inception_torchvision": TorchvisionFeatures,
}
"""What the four conventions of FID take as features; see `vml_bench.metrics.conventions`."""
FEATURES = ("alex", *INCEPTIONS)
METRICS = ("psnr", "ssim", "lpips_alex", "lpips_vgg")
SMALLEST = {"psnr": 1, "ssim": 11, "lpips_alex": 31, "lpips_vgg": 16, "alex": 31, **dict.fromkeys(INCEPTIONS, 1)}
"""Least side, in pixels, of an image that a metric's window or network can take."""


class MetricSuite:
    """Scores images against references and extracts the features that Fréchet distances need.

    Every image is scored by itself, whatever batch it comes in, so that its values are equal to the bit
    in any batch, shard or resumed run.

    Args:
        names: metrics among "psnr" (dB), "ssim", "lpips_alex", "lpips_vgg" (Zhang et al. 2018, version 0.1).
        features: feature networks among "alex" (256 globally averaged activations of the last convolution
            of LPIPS's AlexNet; a Fréchet distance on them is `fd_alex`, never FID) and `INCEPTIONS` (2048).
        device: where the networks run.

    Raises:
        InputError: an unknown name, or weights that are not at hand.
    """

    exact = False

    def __init__(
        self,
        names: Sequence[str] = ("psnr", "ssim", "lpips_alex"),
        features: Sequence[str] = ("alex",),
        device: str | torch.device = "cpu",
    ) -> None:
        for kind, given, known in (("metric", names, METRICS), ("feature network", features, FEATURES)):
            if unknown := sorted(set(given) - set(known)):
                raise InputError(f"there is no {kind} '{unknown[0]}'", f"choose among {', '.join(known)}")
        self.names = tuple(names)
        self.feature_names = tuple(features)
        self.device = torch.device(device)
        self._networks: dict[str, torch.nn.Module] = {}
        self._metrics = {name: self._metric(name) for name in self.names}
        self._extractors = {name: self._extractor(name) for name in self.feature_names}

    def to(self, device: str | torch.device) -> Self:
        """Move the networks to a device; returns self."""
        self.device = torch.device(device)
        for network in self._networks.values():
            network.to(self.device)
        return self

    def _lpips(self, net: str) -> torch.nn.Module:
        if net not in self._networks:
            network = lpips_network(net).to(self.device)
            network.net.forward = Remembered(network.net.forward)
            self._networks[net] = network
        return self._networks[net]

    def _metric(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        return self._lpips(name.removeprefix("lpips_")) if name.startswith("lpips_") else getattr(functional, name)

    def _extractor(self, name: str) -> Callable[[Tensor], Tensor]:
        if name in INCEPTIONS:
            self._networks[name] = INCEPTIONS[name]().to(self.device)
            return self._networks[name]
        return partial(pooled_activations, self._lpips(name))

    @torch.no_grad()
    def __call__(self, image: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """Score a batch.

        Args:
            image: (B, 3, H, W) in [-1, 1], as read again from 8 bit.
            reference: (B, 3, H, W) in [-1, 1].

        Returns:
            For each metric (B,) float32 on the CPU; PSNR of an image equal to its reference is inf.

        Raises:
            InputError: the images are too small for a metric.
        """
        if image.shape != reference.shape:
            raise ValueError(f"image {tuple(image.shape)} and reference {tuple(reference.shape)} differ in shape")
        self._check_size(image, self.names)
        pairs = list(zip(image.to(self.device).split(1), reference.to(self.device).split(1), strict=True))
        return {
            name: torch.cat([metric(*pair).reshape(1).float().cpu() for pair in pairs])
            for name, metric in self._metrics.items()
        }

    @torch.no_grad()
    def features(self, image: Tensor) -> dict[str, np.ndarray]:
        """Features of a batch, (B, 3, H, W) in [-1, 1]: for each feature network (B, d) float32."""
        self._check_size(image, self.feature_names)
        images = image.to(self.device).split(1)
        return {
            name: torch.cat([extract(one).float().cpu() for one in images]).numpy()
            for name, extract in self._extractors.items()
        }

    @staticmethod
    def _check_size(image: Tensor, names: Sequence[str]) -> None:
        side = min(image.shape[-2:])
        if too_small := [name for name in names if SMALLEST[name] > side]:
            name = too_small[0]
            raise InputError(
                f"'{name}' needs images of at least {SMALLEST[name]} pixels a side, these have {side}",
                "leave it out of metrics.names or metrics.features",
            )


def pooled_activations(network: torch.nn.Module, image: Tensor) -> Tensor:
    """Last rectified activations of an LPIPS trunk, averaged over space: (B, 3, H, W) in [-1, 1] -> (B, channels)."""
    return network.net(network.scaling_layer(image))[-1].mean(dim=(2, 3))
