"""Identities that hold at any size, and building blocks against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vml_bench import operators as ops
from vml_bench.operators.base import SpectralOperator
from vml_bench.operators.circulant import hartley
from vml_bench.operators.filters import bicubic_taps, filter_matrix, gaussian_taps
from vml_bench.operators.svd import block_average_svd, padded_svd

DDRM = {"padding": "zero", "drop_last_tap": True, "zero_below": 3e-2}
BUILDERS: dict[str, Callable[..., SpectralOperator]] = {
    "denoise": ops.Denoise,
    "half": ops.InpaintHalf,
    "box": ops.InpaintBox,
    "random": lambda **k: ops.InpaintRandom(**k).for_images(["a", "b", "c"], seed=0),
    "random box": lambda **k: ops.InpaintRandomBox(noise_on_unseen=True, **k).for_images(["a", "b", "c"], seed=0),
    "sr4": ops.BlockAverage,
    "bicubic": ops.Bicubic,
    "uniform": ops.UniformBlur,
    "uniform DDRM": lambda **k: ops.UniformBlur(**k, **DDRM),
    "gauss DPS": lambda **k: ops.GaussianBlur(truncate=4.0, **k),
    "gauss DDRM": lambda **k: ops.GaussianBlur(taps=5, std=10.0, **DDRM, **k),
    "aniso": lambda **k: ops.GaussianBlur(taps=9, std=(1.0, 20.0), **k),
    "aniso DDRM": lambda **k: ops.GaussianBlur(taps=9, std=(1.0, 20.0), **DDRM, **k),
    "uniform scrambled": lambda **k: ops.UniformBlur(**k, **DDRM, scrambled=True),
    "aniso scrambled": lambda **k: ops.GaussianBlur(taps=9, std=(1.0, 20.0), **DDRM, scrambled=True, **k),
    "motion": ops.MotionBlur,
    "motions": lambda **k: ops.MotionBlur(seed=None, **k).for_images(["a", "b", "c"], seed=0),
    "widths": lambda **k: ops.RandomGaussianBlur(taps=31, **k).for_images(["a", "b", "c"], seed=0),
    "colorize": ops.Colorize,
}


@pytest.fixture(params=[(3, 64, 64), (3, 32, 48)], ids=["64x64", "32x48"])
def image_shape(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    return request.param


@pytest.fixture(params=BUILDERS)
def operator(request: pytest.FixtureRequest, image_shape: tuple[int, int, int]) -> SpectralOperator:
    return BUILDERS[request.param](image_shape=image_shape, dtype=torch.float64)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(operator: SpectralOperator, seed: int = 0) -> Tensor:
    return normal((3, *operator.image_shape), seed)


def noise_for(operator: SpectralOperator, seed: int) -> Tensor:
    return normal(tuple(operator.forward(images(operator)).shape), seed)


def condition(operator: SpectralOperator) -> float:
    s = operator.singular_values
    return (s.max() / s[s > 0].min()).item()


def test_transforms_undo_each_other(operator: SpectralOperator) -> None:
    x, c = images(operator), images(operator, seed=1)
    spectrum = operator.to_spectrum(x)
    torch.testing.assert_close(operator.from_spectrum(spectrum), x)
    torch.testing.assert_close(spectrum.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))
    there_and_back = operator.measurement_to_spectrum(operator.spectrum_to_measurement(c))
    torch.testing.assert_close(there_and_back, operator.on_support(c), rtol=1e-9, atol=1e-9)


def test_adjoint_and_pinv_identities(operator: SpectralOperator) -> None:
    x = images(operator)
    y = operator.forward(x)
    other = normal(tuple(y.shape), seed=2)
    torch.testing.assert_close((y * other).sum(), (x * operator.adjoint(other)).sum())
    tolerance = 1e-13 * condition(operator)
    torch.testing.assert_close(operator.forward(operator.pinv(y)), y, rtol=0, atol=max(tolerance, 1e-12))
    projected = operator.pinv(y)
    back = operator.pinv(operator.forward(projected))
    torch.testing.assert_close(back, projected, rtol=0, atol=1e-12 * condition(operator))


@pytest.mark.parametrize("noise_std", [1e-3, 0.05, 1.0])
def test_prox_is_stationary(operator: SpectralOperator, noise_std: float) -> None:
    x, step = images(operator), 0.2
    y = operator.measure(images(operator, seed=3), noise_std, noise_for(operator, seed=4))
    z = operator.prox(x, y, noise_std, step)
    pull = operator.adjoint(operator.forward(z) - y) * (step / noise_std**2)
    torch.testing.assert_close(z - x, -pull, rtol=1e-6, atol=1e-6)


def test_prox_without_noise_projects(operator: SpectralOperator) -> None:
    x, y = images(operator), operator.forward(images(operator, seed=3))
    z = operator.prox(x, y, 0.0, 0.2)
    assert operator.residual(z, y).max() <= 1e-12 * condition(operator)
    moved = operator.to_spectrum(z - x)
    unseen = operator.singular_values == 0
    assert torch.where(unseen, moved, 0).abs().max() <= 1e-14 * condition(operator) * x.abs().max()


def test_measurement_noise_is_white(operator: SpectralOperator) -> None:
    x, noise = images(operator), noise_for(operator, seed=5)
    torch.testing.assert_close(operator.measure(x, 0.0, noise), operator.forward(x))
    y = operator.measure(x, 0.05, noise)
    on_range = 0.05 * operator.measurement_to_spectrum(noise).flatten(1).norm(dim=1)
    torch.testing.assert_close(operator.residual(x, y), on_range)
    everywhere = 0.05 * operator.observed(noise).flatten(1).norm(dim=1)
    torch.testing.assert_close((y - operator.forward(x)).flatten(1).norm(dim=1), everywhere, rtol=1e-6, atol=0)


def test_moving_keeps_the_operator(operator: SpectralOperator) -> None:
    x = images(operator)
    single = operator.to("cpu", torch.float32)
    assert single is not operator
    assert operator.singular_values.dtype == torch.float64
    torch.testing.assert_close(single.forward(x.float()).double(), operator.forward(x), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(2, 12),
    taps=st.integers(0, 15).map(lambda n: 2 * n + 1),
    padding=st.sampled_from(
        [("zero", "constant"), ("reflect", "reflect"), ("symmetric", "symmetric"), ("circular", "wrap")]
    ),
    seed=st.integers(0, 99),
)
def test_filter_matrix_is_numpy_padding_and_correlation(
    size: int, taps: int, padding: tuple[str, str], seed: int
) -> None:
    ours, numpys = padding
    weights, x = normal((taps,), seed), normal((size,), seed + 100)
    padded = np.pad(x.numpy(), taps // 2, mode=numpys)
    expected = np.correlate(padded, weights.numpy(), mode="valid")
    matrix = filter_matrix(size, weights, -(taps // 2), ours)
    np.testing.assert_allclose((matrix @ x).numpy(), expected, rtol=1e-10, atol=1e-10)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 8), columns=st.integers(1, 8), rank=st.integers(0, 8), seed=st.integers(0, 99))
def test_padded_svd_rebuilds_its_matrix(rows: int, columns: int, rank: int, seed: int) -> None:
    matrix = normal((rows, rank), seed) @ normal((rank, columns), seed + 100)
    left, s, right = padded_svd(matrix)
    torch.testing.assert_close(left * s @ right.mT, matrix, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(right.mT @ right, torch.eye(columns, dtype=torch.float64), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_circular_blur_of_any_kernel(height: int, width: int, seed: int) -> None:
    """The adjoint of a convolution is the convolution with the kernel turned half way round; both commute."""
    kernel = normal((height - (height + 1) % 2, width - (width + 1) % 2), seed)
    shape = (1, height, width)
    blur = ops.CircularBlur(shape, kernel, dtype=torch.float64)
    turned = ops.CircularBlur(shape, kernel.flip((0, 1)), dtype=torch.float64)
    x = normal((2, *shape), seed + 100)
    atol = 2e-6 * blur.singular_values.max().item() * x.flatten(1).norm(dim=1).max().item() + 1e-12
    torch.testing.assert_close(blur.adjoint(x), turned.forward(x), rtol=0, atol=atol)
    torch.testing.assert_close(hartley(hartley(x)), x)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_closed_form_of_block_averaging(factor: int) -> None:
    left, s, right = block_average_svd(3 * factor, factor)
    expected = torch.kron(torch.eye(3), torch.full((1, factor), 1 / factor)).double()
    torch.testing.assert_close(left * s @ right.mT, expected)
    torch.testing.assert_close(right.mT @ right, torch.eye(3 * factor, dtype=torch.float64))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_bicubic_taps_are_symmetric_about_the_block(factor: int) -> None:
    taps, first = bicubic_taps(factor)
    torch.testing.assert_close(taps, taps.flip(0))
    assert first + (len(taps) - 1) / 2 == (factor - 1) / 2
    assert taps.sum().item() == pytest.approx(1)


def test_gaussian_taps_stop_where_scipy_stops() -> None:
    taps = gaussian_taps(61, 3.0, truncate=4.0)
    assert int((taps > 0).sum()) == 25
    assert int((gaussian_taps(61, 3.0) > 0).sum()) == 61


@settings(deadline=None, max_examples=25)
@given(taps=st.integers(1, 30).map(lambda n: 2 * n + 1), intensity=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_motion_kernel_is_a_centred_path(taps: int, intensity: float, seed: int) -> None:
    kernel = ops.motion_kernel(taps, intensity, seed)
    assert kernel.shape == (taps, taps)
    assert kernel.min() >= 0
    assert kernel.sum().item() == pytest.approx(1)
    for axis in (0, 1):
        lit = kernel.sum(dim=axis).nonzero().flatten()
        assert abs(lit[0] + lit[-1] - (taps - 1)) <= 1
    assert torch.equal(kernel, ops.motion_kernel(taps, intensity, seed))


def test_motion_without_intensity_is_straight_and_differs_by_seed() -> None:
    kernel = ops.motion_kernel(31, 0.0, seed=3)
    offset = torch.arange(31, dtype=torch.float64) - 15
    place = torch.stack(torch.meshgrid(offset, offset, indexing="ij")).flatten(1)
    length, thickness = torch.linalg.svdvals(place * kernel.flatten().sqrt())
    assert thickness <= 0.6  # what bilinear spreading adds, in pixels
    assert length.item() == pytest.approx(30 / math.sqrt(12), rel=0.02)
    assert not torch.equal(kernel, ops.motion_kernel(31, 0.0, seed=4))
    assert (ops.motion_kernel(31, 0.5, seed=3) - ops.motion_kernel(31, 0.5, seed=4)).abs().sum() > 0.5


@pytest.mark.parametrize(("side", "taps"), [(8, 3), (32, 7), (64, 15), (128, 31), (256, 61), (512, 61)])
def test_motion_shrinks_with_the_image(side: int, taps: int) -> None:
    blur = ops.MotionBlur((1, side, side), dtype=torch.float64)
    expected = ops.CircularBlur((1, side, side), ops.motion_kernel(taps, 0.5, seed=0), dtype=torch.float64)
    assert torch.equal(blur.singular_values, expected.singular_values)
