"""Photons counted: their mean and variance, whose they are, and which methods are run on them."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
import torch

from baselines.dps import DPS, root_weights
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import BlockAverage, Denoise, InpaintHalf, Poisson
from vml_bench.priors.closed_form import random_mixture
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import run_cell

SHAPE = (1, 64, 64)


def measured(value, rate=1.0, build=Denoise):
    """Measurements of two images of one grey."""
    operator = Poisson(SHAPE, build, rate)
    x = torch.full((2, *SHAPE), value)
    noise = ImageNoise(0, ["a", "b"], "measurement").randn_like(operator.forward(x))
    return operator, x, operator.measure(x, 0.0, noise)


@pytest.mark.parametrize("rate", [0.1, 1.0])
@pytest.mark.parametrize("value", [-0.9, 0.0, 0.8])
def test_the_mean_is_the_image_and_the_variance_that_of_its_photons(value, rate):
    operator, x, y = measured(value, rate)
    photons = 255 * rate * (value + 1) / 2
    assert float(y.mean()) == pytest.approx(value, abs=0.02)
    assert float(y.var()) == pytest.approx(4 * photons / (255 * rate) ** 2, rel=0.06)
    assert torch.allclose((y + 1) / 2 * 255 * rate, ((y + 1) / 2 * 255 * rate).round(), atol=1e-3)
    torch.testing.assert_close(operator.residual(x, y), operator.expected_residual(y, 0.0), rtol=0.1, atol=0)


def test_black_has_no_noise_and_each_image_its_own():
    assert torch.equal(measured(-1.0)[2], torch.full((2, *SHAPE), -1.0))
    _, x, y = measured(0.0)
    assert not torch.equal(y[0], y[1])
    alone = Poisson(SHAPE, Denoise)
    noise = ImageNoise(0, ["b"], "measurement").randn_like(x[1:])
    assert torch.equal(alone.measure(x[1:], 0.0, noise)[0], y[1])


def test_what_a_mask_hides_stays_hidden():
    operator = Poisson(SHAPE, InpaintHalf)
    y = operator.measure(torch.zeros(1, *SHAPE), 0.0, torch.randn(1, *SHAPE))
    hidden = InpaintHalf(SHAPE).forward(torch.ones(1, *SHAPE)) == 0
    assert hidden.any()
    assert (y[hidden] == 0).all()


def test_the_weights_of_dps_are_those_of_the_photons_with_mean_one():
    operator, _, y = measured(0.5)
    weights = root_weights(y, operator).square()
    assert torch.allclose(weights.flatten(1).mean(dim=1), torch.ones(2))
    assert torch.allclose(weights * (y + 1), (weights * (y + 1))[:, :1, :1, :1].expand_as(y), rtol=1e-4)
    assert root_weights(y, Denoise(SHAPE)) == 1


def test_dps_goes_down_the_weighted_norm():
    shape, sigma = (1, 8, 8), 0.5
    operator = Poisson(shape, partial(BlockAverage, factor=2), dtype=torch.float64)
    prior, noise = random_mixture(shape, components=2, seed=0), torch.Generator().manual_seed(1)
    x = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = operator.measure(torch.zeros_like(x), 0.0, torch.randn(1, 1, 4, 4, generator=noise, dtype=x.dtype))
    norm = (root_weights(y, operator) * (y - operator.apply(prior(x, sigma)))).norm()
    (expected,) = torch.autograd.grad(norm, x)

    class OneLevel:
        def __call__(self, denoiser):
            return [sigma]

    class Given:
        def randn_like(self, like):
            return x.detach() / (1 + sigma**2) ** 0.5

    steps = [
        DPS(scale=scale, schedule=OneLevel()).restore(y, operator, 0.0, Denoiser(prior), Given())
        for scale in (0.0, 1.0)
    ]
    torch.testing.assert_close(steps[0] - steps[1], (1 + sigma**2) ** 0.5 * expected, rtol=1e-4, atol=1e-6)


def test_a_cell_of_dps_runs_and_is_scored(cell_config):
    few = ("runner.limit=2", "method.sampler.schedule.levels=3")
    table = pd.read_parquet(run_cell(cell_config("task=sr4_poisson", "method=dps", *few)) / "images.parquet")
    assert table.residual.notna().all()


def test_others_are_refused_in_a_line_that_names_those_that_are_not(cell_config):
    with pytest.raises(InputError, match=r"reddiff takes Gaussian noise, task sr4_poisson has poisson noise; .* dps"):
        Cell(cell_config("task=sr4_poisson", "method=reddiff"))
    with pytest.raises(InputError, match=r"noise_std=0\.1 beside Poisson's noise"):
        run_cell(cell_config("task=sr4_poisson", "method=dps", "task.noise_std=0.1"))
    with pytest.raises(InputError, match="rate=0"):
        Poisson(SHAPE, Denoise, rate=0.0)
