"""What the authors' own programs computed, step by step: `golden/*.npz`, and a method's trajectory beside theirs.

Each file holds a measurement, every random number that the program drew, and its trajectory, in float64 on the
Gaussian mixture of `golden/prior.npz`. golden/README.md says which program and commit made which file, and how.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.baselines.seen import Played, Recorder
from vml_bench.contract import Method, Operator, Prior
from vml_bench.denoiser import Denoiser
from vml_bench.priors.closed_form import GaussianMixturePrior

GOLDEN = Path(__file__).parent / "golden"
SHAPE = (3, 8, 8)


class Program:
    """One file: `meta` as a dictionary, and its arrays as tensors by name (`program.y`, `program.noise`, …)."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        self.meta: dict[str, Any] = json.loads(str(arrays.pop("meta")))
        self._tensors = {key: torch.from_numpy(value) for key, value in arrays.items() if value.dtype.kind in "fb"}

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self._tensors[name]
        except KeyError:
            raise AttributeError(name) from None


@lru_cache(maxsize=2)
def prior(sigma_min: float | None = None) -> GaussianMixturePrior:
    """The mixture of every file, in the range of the linear-β schedule, or down to another σ."""
    with np.load(GOLDEN / "prior.npz") as file:
        weights, means, covariances = (torch.from_numpy(file[key]) for key in ("weights", "means", "covariances"))
        low, high = float(file["sigma_min"]), float(file["sigma_max"])
    return GaussianMixturePrior(weights, means, covariances, SHAPE, sigma_min=sigma_min or low, sigma_max=high)


def trajectory(
    method: Method, program: Program, operator: Operator, noise_std: float, noises: list[Tensor], using: Prior
) -> tuple[list[tuple[Tensor, float]], Tensor]:
    """Every (x_t, σ_t) at which a method asks the prior, given the program's noise, and its answer.

    Args:
        method: the method.
        program: whose measurement it restores.
        operator: H.
        noise_std: σ_y on [-1, 1].
        noises: what the method draws, in order; zeros after that.
        using: the prior.
    """
    recorder = Recorder(using)
    restored = method.restore(program.y, operator, noise_std, Denoiser(recorder), Played(*noises))
    return recorder.asked, restored


def preserving(x: Tensor, sigma: float) -> Tensor:
    """x_t of the variance-exploding frame in the variance-preserving one, x / √(1 + σ²)."""
    return x / (1 + sigma**2) ** 0.5
