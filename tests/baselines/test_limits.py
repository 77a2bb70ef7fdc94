"""DDRM and DPS on a Gaussian prior with the operator's own axes: their laws are computable, number by number."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from baselines.ddrm import DDRM
from baselines.dps import DPS
from tests.baselines.seen import step
from vml_bench.denoiser import Denoiser
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator
from vml_bench.priors.closed_form import GaussianPrior
from vml_bench.schedule import DDPMSchedule

SHAPE = (1, 2, 4)
VARIANCES = torch.tensor([1.0, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02], dtype=torch.float64)
SINGULAR = torch.tensor([2.0, 1.0, 0.5, 0.2, 0.05, 0.0, 0.0, 0.0], dtype=torch.float64)
COPIES = 10_000


def law(method, noise_std, y):
    """Mean and standard deviation of COPIES restorations of one y, with the levels that were visited."""
    prior = GaussianPrior(torch.zeros(8, dtype=torch.float64), torch.diag(VARIANCES), SHAPE)
    operator = DenseOperator(SHAPE, torch.diag(SINGULAR))
    denoiser = Denoiser(prior)
    noise = ImageNoise(0, ["all"], "method")

    class OneStream:
        """The batch's noise in one draw: 10,000 generators would take longer than the method."""

        def randn_like(self, x):
            return noise.randn_like(x[None])[0]

    answer = method.restore(y[None].expand(COPIES, -1), operator, noise_std, denoiser, OneStream())
    flat = answer.flatten(1)
    return flat.mean(dim=0), flat.std(dim=0), method.schedule(denoiser)


def assert_law(mean, std, expected_mean, expected_variance):
    """Within five standard errors of the sample mean and of the sample standard deviation."""
    expected_std = expected_variance.clamp_min(0).sqrt()
    assert ((mean - expected_mean).abs() <= 5 * expected_std / math.sqrt(COPIES) + 1e-9).all()
    assert ((std - expected_std).abs() <= 5 * expected_std / math.sqrt(2 * COPIES) + 1e-9).all()


@pytest.mark.parametrize("noise_std", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("eta", [0.5, 0.85])
def test_ddrm_has_the_law_that_its_recursion_has(noise_std, eta):
    """Equations 7 and 8 of arXiv:2201.11793 are linear here: mean and variance go from level to level exactly."""
    y = torch.tensor([1.3, -0.4, 0.2, 0.1, -0.03], dtype=torch.float64)
    method = DDRM(eta=eta, schedule=DDPMSchedule(levels=20, spacing="leading"))
    mean, std, levels = law(method, noise_std, torch.cat([y, torch.zeros(3, dtype=torch.float64)]))
    for i in range(8):
        s, lam = float(SINGULAR[i]), float(VARIANCES[i])
        y_bar, y_std = (float(y[i]) / s, noise_std / s) if s else (0.0, math.inf)
        m, v = (y_bar, levels[0] ** 2 - y_std**2) if y_std <= levels[0] else (0.0, levels[0] ** 2)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            d = lam / (lam + sigma**2)  # D(x) = d x
            kept = math.sqrt(1 - eta**2) * sigma_next
            if s == 0:
                slope = d + kept * (1 - d) / sigma
                m, v = slope * m, slope**2 * v + (eta * sigma_next) ** 2
            elif sigma_next < y_std:
                slope = d - kept * d / y_std
                m, v = slope * m + kept * y_bar / y_std, slope**2 * v + (eta * sigma_next) ** 2
            else:
                m, v = y_bar, sigma_next**2 - y_std**2
        expected = (torch.tensor(m, dtype=torch.float64), torch.tensor(v, dtype=torch.float64))
        assert_law(mean[i], std[i], *expected)


def test_ddrm_draws_the_unobserved_from_the_prior_only_without_fresh_noise():
    """η = 0 is the probability flow, right as levels grow; η = 1 draws D + σ n anew, and loses spread at each level."""
    y = torch.zeros(8, dtype=torch.float64)
    _, flow, _ = law(DDRM(eta=0.0, schedule=DDPMSchedule(levels=500)), 0.05, y)
    assert torch.allclose(flow[5:], VARIANCES[5:].sqrt(), rtol=0.04)
    _, fresh, _ = law(DDRM(eta=1.0, schedule=DDPMSchedule(levels=500)), 0.05, y)
    assert (fresh[5:] < 0.75 * VARIANCES[5:].sqrt()).all()


def test_dps_without_guidance_draws_from_the_prior():
    """Ancestral steps are linear too; with 500 levels what they draw is the prior, to 6 %."""
    y = torch.zeros(8, dtype=torch.float64)
    mean, std, levels = law(DPS(scale=0.0, schedule=DDPMSchedule(levels=500)), 0.05, y)
    variance = torch.full_like(VARIANCES, 1 + levels[0] ** 2)
    for sigma, sigma_next in pairwise([*levels, 0.0]):
        kept = (sigma_next / sigma) ** 2
        slope = VARIANCES / (VARIANCES + sigma**2) * (1 - kept) + kept
        variance = slope**2 * variance + sigma_next**2 * (1 - kept)
    assert_law(mean, std, torch.zeros(8, dtype=torch.float64), variance)
    assert torch.allclose(std, VARIANCES.sqrt(), rtol=0.06)


def test_dps_guidance_has_one_length_however_far_the_measurement_is():
    """‖y − H D‖ has a gradient of unit length in y: on one coordinate the pull is ζ s D' whatever the distance."""
    prior = GaussianPrior(torch.zeros(1, dtype=torch.float64), torch.full((1, 1), 0.5, dtype=torch.float64), (1, 1, 1))
    operator = DenseOperator((1, 1, 1), torch.full((1, 1), 0.7, dtype=torch.float64))
    x, sigma, sigma_next, scale = torch.zeros(1, 1, 1, 1, dtype=torch.float64), 0.8, 0.5, 0.3
    pulls = [
        step(DPS(scale), x, sigma, sigma_next, x, torch.full((1, 1), far).double(), operator, 0.0, prior)
        for far in (0.01, 1.0, 100.0)
    ]
    slope = 0.5 / (0.5 + sigma**2)
    expected = scale * math.sqrt((1 + sigma**2) * (1 + sigma_next**2)) * 0.7 * slope
    assert [float(pull) for pull in pulls] == pytest.approx([expected] * 3)
