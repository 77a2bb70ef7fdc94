"""The metrics of a run: networks loaded once, each image scored by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench import columns
from vml_bench.columns import Column, declared
from vml_bench.contract import Metric, lacking
from vml_bench.errors import InputError
from vml_bench.metrics import functional
from vml_bench.metrics.conventions import INCEPTIONS, InceptionFeatures
from vml_bench.metrics.perceptual import lpips_network
from vml_bench.metrics.remembered import Remembered

FEATURES = ("alex", *INCEPTIONS)
METRICS = tuple(column.name for column in columns.METRICS)
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
        extra: further metrics (`vml_bench.contract.Metric`), each under the name that it declares.

    Attributes:
        names: of all metrics.
        feature_names: of all feature networks.
        columns: what `extra` declares, for the run's record.

    Raises:
        InputError: an unknown name, a declaration that does not fit, or weights that are not at hand.
    """

    exact = False

    def __init__(
        self,
        names: Sequence[str] = ("psnr", "ssim", "lpips_alex"),
        features: Sequence[str] = ("alex",),
        device: str | torch.device = "cpu",
        extra: Sequence[Metric] = (),
    ) -> None:
        for kind, given, known in (("metric", names, METRICS), ("feature network", features, FEATURES)):
            if unknown := sorted(set(given) - set(known)):
                raise InputError(f"there is no {kind} '{unknown[0]}'", f"choose among {', '.join(known)}")
        self.columns = [asdict(declaration(metric)) for metric in extra]
        self.names = (*names, *(column["name"] for column in self.columns))
        if twice := [name for name in self.names if self.names.count(name) > 1]:
            raise InputError(f"two metrics are called '{twice[0]}'", "give each a name of its own")
        self.feature_names = tuple(features)
        self.device = torch.device(device)
        self._networks: dict[str, torch.nn.Module] = {}
        self._metrics = {name: self._metric(name) for name in names}
        self._metrics |= {metric.name: metric for metric in extra}
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
            self._networks[name] = InceptionFeatures(name).to(self.device)
            return self._networks[name]
        return partial(pooled_activations, self._lpips(name))

    @torch.no_grad()
    def __call__(self, image: Tensor, reference: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Score a batch.

        Args:
            image: (B, 3, H, W), or grey (B, 1, H, W), in [-1, 1], as read again from 8 bit.
            reference: the same of the ground truth.
            names: which metrics; None: all.

        Returns:
            For each metric (B,) float32 on the CPU; PSNR of an image equal to its reference is inf.

        Raises:
            InputError: the images are too small for a metric.
        """
        if image.shape != reference.shape:
            raise ValueError(f"image {tuple(image.shape)} and reference {tuple(reference.shape)} differ in shape")
        names = self.names if names is None else names
        self._check_size(image, names)
        image, reference = in_colour(image), in_colour(reference)
        pairs = list(zip(image.to(self.device).split(1), reference.to(self.device).split(1), strict=True))
        return {
            name: torch.cat([torch.as_tensor(self._metrics[name](*pair)).reshape(1).float().cpu() for pair in pairs])
            for name in names
        }

    @torch.no_grad()
    def features(self, image: Tensor) -> dict[str, np.ndarray]:
        """Features of a batch, (B, 3, H, W) or grey (B, 1, H, W) in [-1, 1]: for each network (B, d) float32."""
        self._check_size(image, self.feature_names)
        images = in_colour(image).to(self.device).split(1)
        return {
            name: torch.cat([extract(one).float().cpu() for one in images]).numpy()
            for name, extract in self._extractors.items()
        }

    @staticmethod
    def _check_size(image: Tensor, names: Sequence[str]) -> None:
        side = min(image.shape[-2:])
        if too_small := [name for name in names if SMALLEST.get(name, 1) > side]:
            name = too_small[0]
            raise InputError(
                f"'{name}' needs images of at least {SMALLEST[name]} pixels a side, these have {side}",
                "leave it out of metrics.names or metrics.features",
            )


def in_colour(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) with three equal channels, for networks that know colour alone; others as they are."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def declaration(metric: Metric) -> Column:
    """What a metric of one's own declares.

    Raises:
        InputError: something is missing from it, or does not fit.
    """
    kind = type(metric).__name__
    if missing := lacking(metric, Metric):
        raise InputError(f"metrics.extra: {kind} has no {', '.join(missing)}", "see vml_bench.contract.Metric")
    try:
        return declared(metric)
    except (TypeError, ValueError) as error:
        raise InputError(f"metrics.extra: {kind} does not fit: {error}", "see vml_bench.contract.Metric") from error


def pooled_activations(network: torch.nn.Module, image: Tensor) -> Tensor:
    """Last rectified activations of an LPIPS trunk, averaged over space: (B, 3, H, W) in [-1, 1] -> (B, channels)."""
    return network.net(network.scaling_layer(image))[-1].mean(dim=(2, 3))


def extractor(network: str, device: str | torch.device) -> Callable[[Tensor], np.ndarray]:
    """A feature network by name, loaded once: (1, 3, H, W) in [-1, 1] -> (1, d).

    Raises:
        InputError: there is none of that name, or its weights are not at hand.
    """
    suite = MetricSuite((), (network,), device)
    return lambda image: suite.features(image)[network]
