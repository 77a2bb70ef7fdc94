"""Poisson noise: a measurement counted in photons, in place of Gaussian noise of one σ_y."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vml_bench.contract import NoiseModel
from vml_bench.errors import InputError
from vml_bench.operators.kinds import Around, DifferentiableOperator, Linearized


class Poisson(Around, DifferentiableOperator):
    """y = 2 k/(255 λ) − 1 with k ~ Poisson(255 λ (A(x) + 1)/2): photons counted, 255 λ of them where A(x) is 1.

    DPS, guided_diffusion/measurements.py, PoissonNoise, which besides cuts A(x) and y to [-1, 1]; here no photon is
    counted where A(x) < −1, and y may be more than 1. The counts are the quantiles of Poisson's distribution at Φ(n),
    n ~ N(0, I) being what Gaussian noise would be made of, so that they depend on seed and image alone. Only methods
    whose `takes_noise` has "poisson" are run on it.

    Args:
        image_shape: (C, H, W).
        operator: builds A from `image_shape` and `dtype`.
        rate: λ; the noise of a white pixel has a standard deviation of 2/√(255 λ).
        dtype: of the images.

    Raises:
        InputError: `rate` is not more than 0.
    """

    noise: ClassVar[NoiseModel] = "poisson"

    def __init__(
        self, image_shape: Sequence[int], operator: object, rate: float = 1.0, dtype: torch.dtype = torch.float32
    ) -> None:
        if not rate > 0:
            raise InputError(f"rate={rate} lets no photon through", "set task.operator.rate to 1")
        self.operator: DifferentiableOperator = operator(image_shape, dtype=dtype)
        self.image_shape, self.full = self.operator.image_shape, 255.0 * rate

    def apply(self, x: Tensor) -> Tensor:
        return self.operator.apply(x)

    def linearized(self, x: Tensor) -> Linearized:
        """The Jacobian of A at x (B, C, H, W); its products are counted as this operator's."""
        return Linearized(self, x)

    def start(self, y: Tensor) -> Tensor:
        """That of A."""
        return self.operator.start(y)

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        """y: (B, C, H, W) -> (B, *measurement).

        Args:
            x: in [-1, 1].
            noise_std: 0.
            noise: n ~ N(0, I), (B, *measurement).

        Raises:
            InputError: `noise_std` is not 0.
        """
        if noise_std:
            raise InputError(
                f"task.noise_std={noise_std:g} beside Poisson's noise",
                "set task.noise_std=0; task.operator.rate says it",
            )
        from scipy import stats  # which takes a second that a plan does without

        mean = self.full / 2 * (self.forward(x) + 1).clamp_min(0)
        share = stats.norm.cdf(noise.double().cpu().numpy()).clip(0, np.nextafter(1, 0))
        counts = torch.from_numpy(stats.poisson.ppf(share, mean.double().cpu().numpy())).to(mean)
        return self.operator.observed(2 * counts / self.full - 1)

    def variance(self, y: Tensor) -> Tensor:
        """The noise's variance as y itself tells it, that of one photon at least: (B, *measurement)."""
        return 4 / self.full**2 * (self.full / 2 * (y + 1)).clamp_min(1)

    def expected_residual(self, y: Tensor, noise_std: float) -> Tensor:
        """√ of the sum of `variance` where something is measured, (B,)."""
        return self.operator.observed(self.variance(y)).flatten(1).sum(dim=1).sqrt()
