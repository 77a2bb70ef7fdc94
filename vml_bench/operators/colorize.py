"""Colorization: the mean of the three channels is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.operators.base import SpectralOperator, check_image_shape
from vml_bench.operators.svd import dct_basis


class Colorize(SpectralOperator):
    """y = (x_R + x_G + x_B) / 3, as in DDRM (which rounds its weights to 0.3333, 0.3334, 0.3333).

    V turns the colour axis into (grey, two chroma), each orthonormal; only grey is seen, s = 1/√3.
    A measurement has shape (B, 1, H, W).

    Args:
        image_shape: (3, H, W).
        dtype: of the operator's tensors.

    Raises:
        InputError: images without exactly three channels.
    """

    def __init__(self, image_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        if self.image_shape[0] != 3:
            raise InputError(f"images of {self.image_shape[0]} channels have no colour to restore", "use RGB images")
        self.singular_values = torch.zeros(self.image_shape, dtype=dtype)
        self.singular_values[0] = 1 / math.sqrt(3)
        self.basis = dct_basis(3).to(dtype)

    def to_spectrum(self, x: Tensor) -> Tensor:
        return torch.einsum("rc,brhw->bchw", self.basis, x)

    def from_spectrum(self, c: Tensor) -> Tensor:
        return torch.einsum("rc,bchw->brhw", self.basis, c)

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        return torch.cat([y, torch.zeros_like(y), torch.zeros_like(y)], dim=1)

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        return c[:, :1]
