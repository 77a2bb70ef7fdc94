"""What the authors' own programs computed, step by step: `golden/*.npz`, their operators, and a method beside them.

Each file holds a measurement, every random number that the program drew, and its trajectory, in float64 on the
Gaussian mixture of `golden/prior.npz`. golden/README.md says which program and commit made which file, and how.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.baselines.seen import Played, Recorder
from vml_bench.contract import Method, Operator, Prior
from vml_bench.denoiser import Denoiser
from vml_bench.operators import (
    Bicubic,
    BlockAverage,
    CircularBlur,
    Colorize,
    Denoise,
    GaussianBlur,
    Mask,
    SpectralOperator,
    UniformBlur,
)
from vml_bench.priors.closed_form import GaussianMixturePrior

GOLDEN = Path(__file__).parent / "golden"
SHAPE = (3, 8, 8)
DOUBLE = {"dtype": torch.float64}
MASKS = ("inp", "in2", "mask", "inpaint")
"""What the programs call inpainting."""


def files(method: str) -> list[str]:
    """Names of a method's files."""
    return sorted(path.stem for path in GOLDEN.glob(f"{method}_*.npz"))


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


def operator_of(program: Program, scrambled: bool = True) -> SpectralOperator:
    """What a file's measurement was made with; for colour see `rounded_grey`.

    Args:
        program: the file.
        scrambled: False takes the true blur in the place of the scrambled one of DDRM's program.
    """
    task = program.meta["task"]
    if task in MASKS:
        unseen = program.meta.get("noise_on_unseen_pixels", False)
        return Mask(SHAPE, program.mask > 0, **DOUBLE, noise_on_unseen=unseen)
    if task == "deblur":
        return CircularBlur(SHAPE, program.kernel, **DOUBLE)
    if factor := re.match(r"sr\D*(\d)", task):
        downsampling = Bicubic if "bicubic" in task else BlockAverage
        return downsampling(SHAPE, factor=int(factor[1]), **DOUBLE)
    blur = {"padding": "zero", "drop_last_tap": True, "zero_below": 0.03, "scrambled": scrambled, **DOUBLE}
    return {
        "deno": lambda: Denoise(SHAPE, **DOUBLE),
        "color": lambda: Colorize(SHAPE, **DOUBLE),
        "deblur_uni": lambda: UniformBlur(SHAPE, taps=9, **blur),
        "deblur_gauss": lambda: GaussianBlur(SHAPE, taps=5, std=10.0, **blur),
        "deblur_aniso": lambda: GaussianBlur(SHAPE, taps=9, std=(1.0, 20.0), **blur),
    }[task]()


def rounded_grey() -> Colorize:
    """Colour with the weights of DDRM's and DDNM's programs, 0.3333, 0.3334 and 0.3333."""
    operator = Colorize(SHAPE, **DOUBLE)
    left, s, right = torch.linalg.svd(torch.tensor([[0.3333, 0.3334, 0.3333]], dtype=torch.float64))
    operator.singular_values[0] = s
    operator.basis = (right * torch.cat([left[0], torch.ones(2)])[:, None]).mT.contiguous()
    return operator


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


def step_differences(
    method: Method, program: Program, operator: Operator, noise_std: float, noises: list[Tensor]
) -> list[float]:
    """Largest difference of each x_t from the program's, in the variance-preserving frame; that of the answer last."""
    asked, answer = trajectory(method, program, operator, noise_std, noises, prior())
    ours = [preserving(x, sigma) for x, sigma in asked] + [answer]
    assert len(ours) == len(program.trajectory)
    return [float((x - theirs).abs().max()) for x, theirs in zip(ours, program.trajectory, strict=True)]
