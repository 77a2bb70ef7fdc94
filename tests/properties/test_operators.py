"""Operators of every task, at any size, with any of their options: the identities that methods rest on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hydra.utils import get_class
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from vml_bench import operators as ops
from vml_bench.configuration import named_options
from vml_bench.operators.base import SpectralOperator
from vml_bench.operators.svd import RANK_TOLERANCE
from vml_bench.runner.resources import build_operator

TASKS = sorted(
    task
    for task, node in named_options("task").items()
    if issubclass(get_class(node["operator"]["_target_"]), SpectralOperator)
    and node["operator"].get("file", "given") is not None  # those that take one's own file have none here
)
IDS = ("a", "b")

odd = st.integers(0, 4).map(lambda n: 2 * n + 1)
sides = st.integers(2, 9)
paddings = st.sampled_from(["zero", "reflect", "symmetric", "circular", "renormalize"])
blurs = {"padding": paddings, "drop_last_tap": st.booleans(), "zero_below": st.sampled_from([0.0, 1e-3, 0.03, 0.5])}
stds = st.floats(0.05, 100)

FAMILIES: dict[str, Callable[[st.DataObject, tuple[int, int, int]], SpectralOperator]] = {}
"""How each family of operators is drawn, for an image shape of its choice."""


def family(build: Callable) -> Callable:
    FAMILIES[build.__name__] = build
    return build


@family
def denoise(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    return ops.Denoise(shape, dtype=torch.float64)


@family
def mask(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    seen = torch.tensor(draw(st.lists(st.booleans(), min_size=shape[1] * shape[2], max_size=shape[1] * shape[2])))
    return ops.Mask(shape, seen.reshape(shape[1:]), dtype=torch.float64)


@family
def inpaint_half(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    return ops.InpaintHalf(shape, draw(st.sampled_from(["right", "left", "top", "bottom"])), dtype=torch.float64)


@family
def inpaint_random(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    low, high = sorted((draw(st.floats(0, 0.8)), draw(st.floats(0, 0.8))))
    return ops.InpaintRandom(shape, (low, high), dtype=torch.float64).for_images(IDS, draw(st.integers()))


@family
def block_average(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    factor = draw(st.integers(1, 4))
    return ops.BlockAverage((shape[0], shape[1] * factor, shape[2] * factor), factor, dtype=torch.float64)


@family
def bicubic(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    factor = draw(st.integers(1, 4))
    larger = (shape[0], shape[1] * factor, shape[2] * factor)
    return ops.Bicubic(larger, factor, draw(paddings), dtype=torch.float64)


@family
def uniform_blur(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    return ops.UniformBlur(shape, draw(odd), **{k: draw(v) for k, v in blurs.items()}, dtype=torch.float64)


@family
def gaussian_blur(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    options = {k: draw(v) for k, v in blurs.items()} | {"truncate": draw(st.none() | st.floats(0.1, 5))}
    return ops.GaussianBlur(shape, draw(odd), draw(stds | st.tuples(stds, stds)), **options, dtype=torch.float64)


@family
def circular_blur(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    sides = [draw(st.integers(0, (side - 1) // 2)) * 2 + 1 for side in shape[1:]]
    taps = draw(st.lists(st.floats(-2, 2), min_size=sides[0] * sides[1], max_size=sides[0] * sides[1]))
    return ops.CircularBlur(shape, torch.tensor(taps, dtype=torch.float64).reshape(sides), dtype=torch.float64)


@family
def motion_blur(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    intensity, seed = draw(st.floats(0, 1)), draw(st.integers(0, 2**63 - 1))
    return ops.MotionBlur((shape[0], shape[1] + 2, shape[2] + 2), 61, intensity, seed, dtype=torch.float64)


@family
def colorize(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    return ops.Colorize((3, *shape[1:]), dtype=torch.float64)


@family
def random_projection(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    size = shape[0] * shape[1] * shape[2]
    measurements, seed = draw(st.integers(1, size)), draw(st.integers(-(2**63) + 1, 2**63 - 1))
    return ops.RandomProjection(shape, measurements, seed, dtype=torch.float64)


@family
def dense(draw: Callable, shape: tuple[int, int, int]) -> SpectralOperator:
    """A matrix of any rank, 0 among them."""
    size, rows = shape[0] * shape[1] * shape[2], draw(st.integers(1, 6))
    left, right = (normal(draw, n, draw(st.integers(0, 3))) for n in (rows, size))
    narrow = min(left.shape[1], right.shape[1])
    return ops.DenseOperator(shape, left[:, :narrow] @ right[:, :narrow].mT)


def normal(draw: Callable, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def images(draw: Callable, operator: SpectralOperator) -> Tensor:
    return normal(draw, len(IDS), *operator.image_shape)


def condition(operator: SpectralOperator) -> float:
    s = operator.singular_values[operator.singular_values > 0]
    return (s.max() / s.min()).item() if len(s) else 1.0


@pytest.mark.parametrize("kind", FAMILIES)
@settings(deadline=None, derandomize=True, max_examples=12)
@given(data=st.data())
def test_identities(kind: str, data: st.DataObject) -> None:
    draw = data.draw
    operator = FAMILIES[kind](draw, (draw(st.sampled_from([1, 3])), draw(sides), draw(sides)))
    s, x = operator.singular_values, images(draw, operator)
    assert s.isfinite().all()
    assert ((s == 0) | (s >= RANK_TOLERANCE * s.max() * (1 - 1e-9))).all()
    scale, exactness = max(1.0, s.max().item()) * 30, 1e-13 * condition(operator) + 1e-11

    spectrum = operator.to_spectrum(x)
    torch.testing.assert_close(operator.from_spectrum(spectrum), x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(spectrum.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))

    y = operator.forward(x)
    other = normal(draw, *y.shape)
    assert abs((y * other).sum() - (x * operator.adjoint(other)).sum()) <= 1e-11 * scale * x.norm() * other.norm()

    inverse = operator.pinv(y)
    torch.testing.assert_close(operator.forward(inverse), y, rtol=0, atol=scale * exactness)
    torch.testing.assert_close(operator.pinv(operator.forward(inverse)), inverse, rtol=0, atol=scale * exactness)
    assert (inverse.flatten(1).norm(dim=1) <= x.flatten(1).norm(dim=1) * (1 + exactness)).all()  # least norm
    within = operator.pinv(operator.forward(operator.pinv(other)))
    torch.testing.assert_close(within, operator.pinv(other), rtol=1e-6, atol=scale * exactness * condition(operator))
    assert (operator.residual(inverse, y) <= scale * exactness * 10).all()
    assert (operator.residual(x, y) <= scale * exactness * 10).all()


@pytest.mark.parametrize("kind", FAMILIES)
@settings(deadline=None, derandomize=True, max_examples=12)
@given(data=st.data())
def test_prox_is_the_minimum(kind: str, data: st.DataObject) -> None:
    """Its gradient vanishes; at σ_y = 0, and at a σ_y that is nothing beside the step, it fits y where that can be."""
    draw = data.draw
    operator = FAMILIES[kind](draw, (draw(st.sampled_from([1, 3])), draw(sides), draw(sides)))
    noise_std = draw(st.sampled_from([0.0, 1e-200, 1e-30, 1e-6, 0.05, 1.0, 1e3]))
    step = draw(st.sampled_from([1e-8, 1e-3, 1.0, 1e6]))
    x = images(draw, operator)
    y = operator.measure(images(draw, operator), noise_std, normal(draw, *operator.forward(x).shape))
    z = operator.prox(x, y, noise_std, step)
    assert z.isfinite().all()
    s = operator.singular_values
    x_bar, y_bar, z_bar = operator.to_spectrum(x), operator.measurement_to_spectrum(y), operator.to_spectrum(z)
    gradient = noise_std**2 * (z_bar - x_bar) + step * s * (s * z_bar - y_bar)
    size = noise_std**2 * (z_bar.abs() + x_bar.abs()) + step * s * (s * z_bar.abs() + y_bar.abs())
    assert (gradient.abs() <= 1e-8 * size.amax() + 1e-300).all()
    unseen = torch.where(s == 0, z_bar - x_bar, 0)
    assert unseen.abs().max() <= 1e-9 * max(1.0, x_bar.abs().max().item(), z_bar.abs().max().item())


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None, derandomize=True, max_examples=4)
@given(
    noise_std=st.sampled_from([0.0, 1e-6, 0.05, 1e3]),
    seed=st.integers(),
    side=st.sampled_from([16, 20, 32]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_every_shipped_task_holds_in_the_precision_it_runs_in(
    task: str, noise_std: float, seed: int, side: int, dtype: torch.dtype
) -> None:
    config = OmegaConf.create(named_options("task")[task]["operator"])
    shape = (1, 1, side) if task == "random_projection" else (3, side, side)
    operator = build_operator(config, shape, dtype).for_images(IDS, seed)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, *shape, generator=generator, dtype=dtype) * 2 - 1
    y = operator.measure(x, noise_std, torch.randn(operator.forward(x).shape, generator=generator, dtype=dtype))
    accuracy = 1e-5 if dtype == torch.float32 else 1e-12
    left, right = (operator.forward(x) * y).double().sum(), (x * operator.adjoint(y)).double().sum()
    assert abs(left - right) <= 10 * accuracy * max(1.0, operator.forward(x).norm().item() * y.norm().item())
    for result in (y, operator.pinv(y), operator.adjoint(y), operator.prox(x, y, noise_std, 0.1), operator.picture(y)):
        assert result.dtype == dtype
        assert result.isfinite().all()
    assert (operator.residual(x, operator.forward(x)) <= 100 * accuracy * x.norm()).all()
    again = build_operator(config, shape, dtype).for_images(IDS[1:], seed)
    torch.testing.assert_close(again.forward(x[1:]), operator.forward(x)[1:])
