"""Records every denoiser call: x_t, σ, D(x_t, σ)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vml_bench.contract import Prior


class Trace:
    """A prior that records every evaluation; the method and its `Denoiser` do not notice.

    Args:
        prior: the prior that answers.
    """

    def __init__(self, prior: Prior) -> None:
        self.sigma_min = prior.sigma_min
        self.sigma_max = prior.sigma_max
        self.image_shape = prior.image_shape
        self._prior = prior
        self._sigmas: list[float] = []
        self._asked: list[Tensor] = []
        self._denoised: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """D(x, σ)."""
        denoised = self._prior(x, sigma)
        self._sigmas.append(float(torch.as_tensor(sigma).max()))
        self._asked.append(x.detach().cpu())
        self._denoised.append(denoised.detach().cpu())
        return denoised

    def features(self, rows: list[int]) -> dict[str, np.ndarray]:
        """The record of some images of the batch.

        Returns:
            Of T evaluations (0 for a method that makes none): "sigma", (len(rows), T); and "asked" and "denoised",
            x_t and D(x_t, σ), evaluation by evaluation: (len(rows), T · C · H · W).
        """
        return {
            "sigma": np.tile(self._sigmas, (len(rows), 1)),
            "asked": _side_by_side(self._asked, rows),
            "denoised": _side_by_side(self._denoised, rows),
        }


def _side_by_side(steps: list[Tensor], rows: list[int]) -> np.ndarray:
    nothing = np.empty((len(rows), 0))
    return np.concatenate([nothing, *(step[rows].flatten(1).double().numpy() for step in steps)], axis=1)
