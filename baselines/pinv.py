"""The pseudo-inverse: what the measurement says with no prior at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator


@dataclass(frozen=True)
class PseudoInverse:
    """x = H⁺ y, the least-squares image of least norm. It has no hyperparameters and asks no network."""

    needs_prior: ClassVar[bool] = False
    needs_operator: ClassVar[Kind] = "linear"

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        return operator.pinv(y)
