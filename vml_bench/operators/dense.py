"""Any linear operator, as an explicit matrix on flattened images: for small problems with exact answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.operators.base import SpectralOperator, check_image_shape
from vml_bench.operators.svd import padded_svd, without_rounding


class DenseOperator(SpectralOperator):
    """y = A x on flattened images.

    Args:
        image_shape: (C, H, W).
        matrix: A, (M, C · H · W).
        dtype: of the operator's tensors; None: the matrix's.

    A measurement has shape (B, M).

    Raises:
        InputError: the matrix does not fit the images.
    """

    def __init__(self, image_shape: Sequence[int], matrix: Tensor, dtype: torch.dtype | None = None) -> None:
        self.image_shape = check_image_shape(image_shape)
        if matrix.dim() != 2 or matrix.shape[1] != math.prod(self.image_shape):
            raise InputError(
                f"a matrix of shape {tuple(matrix.shape)} does not act on images of shape {self.image_shape}",
                f"give it {math.prod(self.image_shape)} columns",
            )
        dtype = dtype or matrix.dtype
        svd = padded_svd(matrix)
        self.singular_values = without_rounding(svd.singular_values).reshape(self.image_shape).to(dtype)
        self.u, self.v = svd.left.to(dtype), svd.right.to(dtype)

    def to_spectrum(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.v).reshape(x.shape)

    def from_spectrum(self, c: Tensor) -> Tensor:
        return (c.flatten(1) @ self.v.mT).reshape(c.shape)

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        return self.on_support((y @ self.u).reshape(-1, *self.image_shape))

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        return self.on_support(c).flatten(1) @ self.u.mT


class RandomProjection(DenseOperator):
    """A Gaussian matrix: M measurements of d = C · H · W numbers, entries N(0, 1/d), so E ‖A x‖² = (M/d) ‖x‖².

    Args:
        image_shape: (C, H, W).
        measurements: M, from 1 to d.
        seed: of the entries, drawn in float64 on the CPU.
        dtype: of the operator's tensors.

    Raises:
        InputError: `measurements` lies outside 1 … d.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        measurements: int = 12,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        size = math.prod(check_image_shape(image_shape))
        if not 1 <= measurements <= size:
            raise InputError(
                f"measurements={measurements} of {size} numbers", f"give task.operator.measurements from 1 to {size}"
            )
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.randn(measurements, size, generator=generator, dtype=torch.float64) / math.sqrt(size)
        super().__init__(image_shape, matrix, dtype)
