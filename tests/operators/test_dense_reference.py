"""Every operator at 8×8 against a dense matrix built from a definition that shares no code with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor

from vml_bench import operators as ops
from vml_bench.operators.base import SpectralOperator

SHAPE = (3, 8, 8)
SIZE = math.prod(SHAPE)
NOISE_LEVELS = (0.0, 1e-3, 0.05, 0.3, 1.0)


def depthwise(x: Tensor, kernel: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(x, kernel.to(x).expand(x.shape[1], 1, *kernel.shape), groups=x.shape[1], stride=stride)


def bounce(i: int, size: int) -> int:
    """Mirror an index at the edge pixels until it lies inside."""
    while not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i


def reflect_pad(x: Tensor, width: int) -> Tensor:
    rows = [bounce(i, x.shape[2]) for i in range(-width, x.shape[2] + width)]
    columns = [bounce(j, x.shape[3]) for j in range(-width, x.shape[3] + width)]
    return x[:, :, rows][:, :, :, columns]


def mirror_pad(x: Tensor) -> Tensor:
    """The image surrounded by its mirror images, edge pixels repeated: 3 times the size."""
    x = torch.cat([x.flip(2), x, x.flip(2)], dim=2)
    return torch.cat([x.flip(3), x, x.flip(3)], dim=3)


def shrink(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=True)


def shrink_mirrored(x: Tensor, factor: int) -> Tensor:
    height, width = x.shape[2] // factor, x.shape[3] // factor
    return shrink(mirror_pad(x), factor)[:, :, height : 2 * height, width : 2 * width]


def scipy_gaussian(x: Tensor, taps: int, std: float) -> Tensor:
    impulse = np.zeros((taps, taps))
    impulse[taps // 2, taps // 2] = 1
    return depthwise(reflect_pad(x, taps // 2), torch.from_numpy(scipy.ndimage.gaussian_filter(impulse, sigma=std)))


def bell(taps: int, std: float) -> list[float]:
    heights = [math.exp(-((k - taps // 2) ** 2) / (2 * std**2)) for k in range(taps)]
    return [height / sum(heights) for height in heights]


def ddrm_matrix(kernel: list[float], size: int) -> np.ndarray:
    """One axis of a DDRM blur: the lost last tap, zero edges."""
    matrix, half = np.zeros((size, size)), len(kernel) // 2
    for i in range(size):
        for j in range(max(i - half, 0), min(i + half, size)):
            matrix[i, j] = kernel[j - i + half]
    return matrix


def ddrm_factor(kernel: list[float], size: int) -> np.ndarray:
    """The same without singular values under 3e-2."""
    u, s, vh = np.linalg.svd(ddrm_matrix(kernel, size))
    return u @ np.diag(np.where(s < 3e-2, 0, s)) @ vh


def ddrm_blur(x: Tensor, vertical: list[float], horizontal: list[float]) -> Tensor:
    a, b = ddrm_factor(vertical, x.shape[2]), ddrm_factor(horizontal, x.shape[3])
    return torch.einsum("ij,bcjk,lk->bcil", torch.from_numpy(a), x, torch.from_numpy(b))


def ddrm_scrambled(x: Tensor, vertical: list[float], horizontal: list[float]) -> Tensor:
    """DDRM's blurs: the list of singular values C times over, on vectors that alternate between the channels."""
    (u, s, vh), (p, t, qh) = (np.linalg.svd(ddrm_matrix(kernel, 8)) for kernel in (vertical, horizontal))
    pairs = sorted(((s[i] * t[j], i, j) for i in range(8) for j in range(8)), reverse=True)
    values = [value for value, _, _ in pairs] * x.shape[1]
    y = np.zeros_like(x.numpy())
    for place, value in enumerate(values):
        pair, channel = divmod(place, x.shape[1])
        _, i, j = pairs[pair]
        seen = np.einsum("h,bhw,w->b", vh[i], x.numpy()[:, channel], qh[j])
        y[:, channel] += value * np.einsum("b,h,w->bhw", seen, u[:, i], p[:, j])
    return torch.from_numpy(y)


def hide(x: Tensor, rows: slice, columns: slice) -> Tensor:
    y = x.clone()
    y[:, :, rows, columns] = 0
    return y


def rolled(x: Tensor, kernel: Tensor) -> Tensor:
    """Circular convolution, one shifted copy per tap."""
    height, width = kernel.shape
    taps = [
        kernel[i, j] * x.roll((i - height // 2, j - width // 2), dims=(2, 3))
        for i in range(height)
        for j in range(width)
    ]
    return torch.stack(taps).sum(dim=0)


def gaussian_matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


RANK_TWO = gaussian_matrix(9, 2, seed=1) @ gaussian_matrix(2, SIZE, seed=2)
TALL = gaussian_matrix(SIZE + 5, SIZE, seed=3)
LOPSIDED = gaussian_matrix(5, 7, seed=4)
WITH_NULLS = torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64)  # transfer cos(2πk/8): 0 at k = 2 and 6
MOTION = ops.motion_kernel(3, 0.5, seed=0)
BOX = torch.full((9, 9), 1 / 81, dtype=torch.float64)
STRETCHED = torch.outer(*torch.tensor([bell(9, 1), bell(9, 20)], dtype=torch.float64))


@dataclass(frozen=True)
class Case:
    """An operator and what it should do, by other means."""

    build: Callable[..., SpectralOperator]
    options: dict
    direct: Callable[[Tensor], Tensor]

    def operator(self, dtype: torch.dtype = torch.float64) -> SpectralOperator:
        return self.build(image_shape=SHAPE, dtype=dtype, **self.options)

    @cached_property
    def matrix(self) -> Tensor:
        """The dense H, (M, 192), from the direct definition, float64."""
        basis = torch.eye(SIZE, dtype=torch.float64).reshape(SIZE, *SHAPE)
        return self.direct(basis).reshape(SIZE, -1).T

    @cached_property
    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """U, s, Vᵀ of the dense H without singular values below 1e-6 of the largest."""
        u, s, vh = torch.linalg.svd(self.matrix, full_matrices=False)
        kept = s >= 1e-6 * s[0]
        return u[:, kept], s[kept], vh[kept]

    @cached_property
    def truncated(self) -> Tensor:
        u, s, vh = self.svd
        return u * s @ vh

    @cached_property
    def inverse(self) -> Tensor:
        return torch.linalg.pinv(self.matrix, rtol=1e-6)


DDRM = {"padding": "zero", "drop_last_tap": True, "zero_below": 3e-2}
SMALL, WIDE = bell(5, 10), bell(9, 20)
CASES = {
    "denoise": Case(ops.Denoise, {}, lambda x: x),
    "half right": Case(ops.InpaintHalf, {}, lambda x: hide(x, slice(None), slice(4, 8))),
    "half left": Case(ops.InpaintHalf, {"missing": "left"}, lambda x: hide(x, slice(None), slice(0, 4))),
    "half top": Case(ops.InpaintHalf, {"missing": "top"}, lambda x: hide(x, slice(0, 4), slice(None))),
    "half bottom": Case(ops.InpaintHalf, {"missing": "bottom"}, lambda x: hide(x, slice(4, 8), slice(None))),
    "box": Case(ops.InpaintBox, {}, lambda x: hide(x, slice(2, 6), slice(2, 6))),
    "sr4": Case(ops.BlockAverage, {"factor": 4}, lambda x: F.avg_pool2d(x, 4)),
    "sr2": Case(ops.BlockAverage, {"factor": 2}, lambda x: F.avg_pool2d(x, 2)),
    "bicubic 4": Case(ops.Bicubic, {"factor": 4}, lambda x: shrink_mirrored(x, 4)),
    "bicubic 2": Case(ops.Bicubic, {"factor": 2}, lambda x: shrink_mirrored(x, 2)),
    "bicubic 4 Pillow": Case(ops.Bicubic, {"factor": 4, "padding": "renormalize"}, lambda x: shrink(x, 4)),
    "bicubic 2 Pillow": Case(ops.Bicubic, {"factor": 2, "padding": "renormalize"}, lambda x: shrink(x, 2)),
    "uniform": Case(ops.UniformBlur, {"taps": 9}, lambda x: depthwise(F.pad(x, [4] * 4, "reflect"), BOX)),
    "uniform circular": Case(
        ops.UniformBlur, {"taps": 9, "padding": "circular"}, lambda x: depthwise(F.pad(x, [4] * 4, "circular"), BOX)
    ),
    "uniform DDRM": Case(ops.UniformBlur, {"taps": 9, **DDRM}, lambda x: ddrm_blur(x, [1 / 9] * 9, [1 / 9] * 9)),
    "gauss DPS": Case(
        ops.GaussianBlur, {"taps": 61, "std": 3.0, "truncate": 4.0}, lambda x: scipy_gaussian(x, 61, 3.0)
    ),
    "gauss narrow": Case(
        ops.GaussianBlur, {"taps": 9, "std": 0.8, "truncate": 4.0}, lambda x: scipy_gaussian(x, 9, 0.8)
    ),
    "gauss DDRM": Case(ops.GaussianBlur, {"taps": 5, "std": 10.0, **DDRM}, lambda x: ddrm_blur(x, SMALL, SMALL)),
    "aniso": Case(
        ops.GaussianBlur,
        {"taps": 9, "std": (1.0, 20.0)},
        lambda x: depthwise(F.pad(x, [4] * 4, "reflect"), STRETCHED),
    ),
    "aniso DDRM": Case(
        ops.GaussianBlur, {"taps": 9, "std": (1.0, 20.0), **DDRM}, lambda x: ddrm_blur(x, bell(9, 1), WIDE)
    ),
    "aniso scrambled": Case(
        ops.GaussianBlur,
        {"taps": 9, "std": (1.0, 20.0), "padding": "zero", "drop_last_tap": True, "scrambled": True},
        lambda x: ddrm_scrambled(x, bell(9, 1), WIDE),
    ),
    "motion": Case(ops.MotionBlur, {}, lambda x: rolled(x, MOTION)),
    "circular lopsided": Case(ops.CircularBlur, {"kernel": LOPSIDED}, lambda x: rolled(x, LOPSIDED)),
    "circular with nulls": Case(ops.CircularBlur, {"kernel": WITH_NULLS}, lambda x: rolled(x, WITH_NULLS)),
    "colorize": Case(ops.Colorize, {}, lambda x: x.mean(dim=1)),
    "projection": Case(
        ops.RandomProjection,
        {"measurements": 12, "seed": 5},
        lambda x: x.flatten(1) @ gaussian_matrix(12, SIZE, seed=5).T / math.sqrt(SIZE),
    ),
    "dense of rank 2": Case(ops.DenseOperator, {"matrix": RANK_TWO}, lambda x: x.flatten(1) @ RANK_TWO.T),
    "dense tall": Case(ops.DenseOperator, {"matrix": TALL}, lambda x: x.flatten(1) @ TALL.T),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def batch(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(operator: SpectralOperator, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A measurement with a part outside the range of H, and the same flattened."""
    y = operator.forward(batch(seed=seed))
    y = y + torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return y, y.flatten(1)


def test_forward_is_the_direct_definition(case: Case) -> None:
    matrix, x = case.matrix, batch()
    forward = case.operator().forward(x).flatten(1)
    scale = case.svd[1].max() * x.flatten(1).norm(dim=1).max()
    assert (forward - x.flatten(1) @ matrix.T).abs().max() <= 1.001e-6 * scale
    torch.testing.assert_close(forward, x.flatten(1) @ case.truncated.T, rtol=0, atol=1e-10)


def test_singular_values_are_those_of_the_dense_matrix(case: Case) -> None:
    s = case.operator().singular_values
    assert s.shape == SHAPE
    expected = torch.zeros(SIZE, dtype=torch.float64)
    values = torch.linalg.svdvals(case.matrix)
    expected[: len(values)] = torch.where(values < 1e-6 * values[0], 0, values)
    torch.testing.assert_close(s.flatten().sort(descending=True).values, expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(s.flatten().sort(descending=True).values == 0, expected == 0)


def test_adjoint(case: Case) -> None:
    operator = case.operator()
    (y, flat), x = measured(operator), batch()
    torch.testing.assert_close(operator.adjoint(y).flatten(1), flat @ case.truncated, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        (operator.forward(x) * y).flatten(1).sum(dim=1), (x * operator.adjoint(y)).flatten(1).sum(dim=1)
    )


def test_pinv(case: Case) -> None:
    operator = case.operator()
    y, flat = measured(operator)
    scale = 1 / case.svd[1].min().item()
    torch.testing.assert_close(operator.pinv(y).flatten(1), flat @ case.inverse.T, rtol=0, atol=1e-8 * max(scale, 1))


@pytest.mark.parametrize("noise_std", NOISE_LEVELS)
@pytest.mark.parametrize("step", [1e-4, 0.3, 100.0])
def test_prox_solves_the_normal_equations(case: Case, noise_std: float, step: float) -> None:
    operator, matrix = case.operator(), case.truncated
    (y, flat), x = measured(operator), batch(seed=7)
    z = operator.prox(x, y, noise_std, step).flatten(1)
    if noise_std:
        normal = torch.eye(SIZE, dtype=torch.float64) + step / noise_std**2 * matrix.T @ matrix
        expected = torch.linalg.solve(normal, (x.flatten(1) + step / noise_std**2 * flat @ matrix).T).T
        condition = 1 + step / noise_std**2 * case.svd[1].max().square()
        tolerance = 1e-15 * (condition * expected.abs().max()).item()
    else:
        expected = x.flatten(1) + (flat - x.flatten(1) @ matrix.T) @ case.inverse.T
        tolerance = 1e-8 / case.svd[1].min().item()
    torch.testing.assert_close(z, expected, rtol=0, atol=max(tolerance, 1e-10))


def test_residual_counts_the_range_only(case: Case) -> None:
    operator = case.operator()
    (y, flat), x = measured(operator), batch()
    expected = ((flat - x.flatten(1) @ case.truncated.T) @ case.svd[0]).norm(dim=1)
    torch.testing.assert_close(operator.residual(x, y), expected, rtol=1e-8, atol=1e-8)


def test_transforms_are_orthogonal(case: Case) -> None:
    operator = case.operator()
    basis = torch.eye(SIZE, dtype=torch.float64).reshape(SIZE, *SHAPE)
    v = operator.from_spectrum(basis).reshape(SIZE, -1)
    torch.testing.assert_close(v @ v.T, torch.eye(SIZE, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(operator.to_spectrum(basis).reshape(SIZE, -1), v.T, rtol=0, atol=1e-12)
    support = (operator.singular_values > 0).flatten()
    u = operator.spectrum_to_measurement(basis).reshape(SIZE, -1)[support]
    torch.testing.assert_close(u @ u.T, torch.eye(len(u), dtype=torch.float64), rtol=0, atol=1e-9)


def test_float32_stays_finite_and_close(case: Case) -> None:
    exact, operator = case.operator(), case.operator(torch.float32)
    (y, _), x = measured(exact), batch()
    forward = operator.forward(x.float())
    assert forward.dtype == operator.singular_values.dtype == torch.float32
    torch.testing.assert_close(forward.double(), exact.forward(x), rtol=1e-4, atol=1e-4)
    assert operator.pinv(y.float()).isfinite().all()
    for noise_std in NOISE_LEVELS:
        assert operator.prox(x.float(), y.float(), noise_std, 1e-10).isfinite().all()
        assert operator.prox(x.float(), y.float(), noise_std, 1e6).isfinite().all()
    torch.testing.assert_close(
        operator.prox(x.float(), y.float(), 0.3, 0.1).double(), exact.prox(x, y, 0.3, 0.1), rtol=1e-3, atol=1e-3
    )


def test_ddrm_threshold_leaves_bicubic_alone() -> None:
    """DDRM's sr_bicubic sets 1-D singular values under 3e-2 to 0; ×4 bicubic has none at any usual size."""
    for side in (8, 64, 256):
        s = ops.Bicubic((1, side, side), factor=4, dtype=torch.float64).singular_values
        assert s[s > 0].numel() == (side // 4) ** 2
        assert s[s > 0].min().sqrt() > 3e-2
