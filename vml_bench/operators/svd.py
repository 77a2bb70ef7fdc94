"""Singular value decompositions laid out on the image's own grid, truncated at numerical rank."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

RANK_TOLERANCE = 1e-6
"""Singular values below this fraction of the largest are set to exactly 0.

They are rounding errors, or indistinguishable from them in float32: kept, they would let the pseudo-inverse at
σ_y = 0 multiply rounding errors by 10⁶ and more. The operator *is* the truncated one, in `forward` too, so that all
identities hold; it differs from the untruncated one by at most 10⁻⁶ of its norm.
"""


class PaddedSVD(NamedTuple):
    """A = U diag(s) Vᵀ for an (m, n) matrix, with s and U's columns padded by zeros to n.

    Attributes:
        left: U, (m, n); its columns are orthonormal where s > 0.
        singular_values: s, (n,).
        right: V, (n, n), orthogonal.
    """

    left: Tensor
    singular_values: Tensor
    right: Tensor


def padded_svd(matrix: Tensor) -> PaddedSVD:
    """Decompose an (m, n) matrix in float64.

    Signs are fixed (the first entry of each right vector that exceeds half its largest is positive), so
    that noise drawn in the spectrum's coordinates does not depend on the linear-algebra library.
    """
    left, s, right_transposed = torch.linalg.svd(matrix.double(), full_matrices=True)
    rank, width = len(s), matrix.shape[1]
    right = right_transposed.mT.contiguous()
    magnitude = right.abs()
    first = (magnitude > magnitude.amax(dim=0) / 2).to(torch.uint8).argmax(dim=0)
    sign = right.gather(0, first[None]).sign()
    padded_left, padded_s = matrix.new_zeros(matrix.shape[0], width).double(), s.new_zeros(width)
    padded_left[:, :rank] = left[:, :rank] * sign[:, :rank]
    padded_s[:rank] = s
    return PaddedSVD(padded_left, padded_s, right * sign)


def block_average_svd(size: int, factor: int) -> PaddedSVD:
    """The closed form for averaging blocks of `factor` along an axis of `size`: V a DCT in each block, U = I."""
    blocks = torch.eye(size // factor, dtype=torch.float64)
    constant = torch.zeros(factor, dtype=torch.float64)
    constant[0] = 1
    return PaddedSVD(
        left=torch.kron(blocks, constant[None]),
        singular_values=constant.repeat(size // factor) / math.sqrt(factor),
        right=torch.kron(blocks, dct_basis(factor)),
    )


def dct_basis(size: int) -> Tensor:
    """Orthonormal DCT-II basis as columns, (size, size) float64; the first column is constant."""
    position = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(torch.pi * (position[:, None] + 0.5) * position / size)
    return basis / basis.norm(dim=0)


def without_rounding(singular_values: Tensor) -> Tensor:
    """Singular values with those below `RANK_TOLERANCE` of the largest set to exactly 0."""
    return torch.where(singular_values < RANK_TOLERANCE * singular_values.max(), 0, singular_values)
