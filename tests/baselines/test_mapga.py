"""MAP-GA against closed forms: where its ascent settles on a Gaussian prior, and what it has in common with VML-MAP."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.mapga import MAPGA
from tests.baselines.seen import Played, Recorder
from tests.methods.problems import problem
from vml_bench.denoiser import Denoiser
from vml_bench.methods import VMLMAP
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator, InpaintHalf
from vml_bench.priors.closed_form import GaussianPrior, random_mixture
from vml_bench.schedule import EDMSchedule

SHAPE = (1, 2, 4)
VARIANCES = torch.tensor([1.0, 0.6, 0.4, 0.3, 0.9, 0.5, 0.7, 0.8], dtype=torch.float64)
SINGULAR = torch.tensor([2.0, 1.0, 0.5, 0.7, 1.5, 0.0, 0.0, 0.0], dtype=torch.float64)


def gaussian_case(noise_std):
    prior = GaussianPrior(torch.zeros(8, dtype=torch.float64), torch.diag(VARIANCES), SHAPE)
    operator = DenseOperator(SHAPE, torch.diag(SINGULAR))
    truth = prior.sample(3, torch.Generator().manual_seed(0))
    noise = torch.randn(operator.forward(truth).shape, generator=torch.Generator().manual_seed(1)).double()
    return prior, operator, operator.measure(truth, noise_std, noise)


def restore(method, y, operator, noise_std, prior, seed=0):
    denoiser = Denoiser(prior)
    noise = ImageNoise(seed, [str(i) for i in range(len(y))], "method")
    return method.restore(y, operator, noise_std, denoiser, noise), denoiser


@pytest.mark.parametrize("noise_std", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("epsilon", [0.02, 0.3])
def test_the_ascent_settles_where_a_gaussian_prior_says(noise_std, epsilon):
    """s (y − s x)/(σ_y² + ε² s²) = x/(v + ε²) in each coordinate, whatever the level at which z is."""
    prior, operator, y = gaussian_case(noise_std)
    method = MAPGA(inner_steps=400, prior_std=epsilon, step_size=0.4, pigdm_steps=0, schedule=lambda _: [0.5])
    x, _ = restore(method, y, operator, noise_std, prior)
    weight = SINGULAR.square() / (noise_std**2 + epsilon**2 * SINGULAR.square())
    pull = SINGULAR / (noise_std**2 + epsilon**2 * SINGULAR.square()) * y.flatten(1)
    expected = pull / (1 / (VARIANCES + epsilon**2) + weight)
    observed = SINGULAR > 0
    assert torch.allclose(x.flatten(1)[:, observed], expected[:, observed], atol=1e-6)


def test_with_the_prior_the_answer_nears_the_exact_map_and_without_it_the_null_space_stays_noise():
    case = problem(0, images=6, noise_std=0.0)
    levels = EDMSchedule(10, sigma_max=5.0, sigma_min=0.02)
    gaps = []
    for prior_step in (True, False):
        method = MAPGA(inner_steps=40, prior_step=prior_step, prior_std=0.02, schedule=levels)
        x, _ = restore(method, case.y, case.operator, 0.0, case.prior)
        assert case.operator.residual(x, case.y).max() < 0.05
        gaps.append(-case.prior.log_density(x).median())
    assert gaps[0] < gaps[1]


def test_without_the_prior_and_noise_a_mask_makes_it_plain_vml_map():
    prior = random_mixture((1, 4, 8), 3, seed=4)
    operator = InpaintHalf((1, 4, 8), dtype=torch.float64)
    truth = prior.sample(3, torch.Generator().manual_seed(5))
    y = operator.forward(truth)
    levels = EDMSchedule(6, sigma_max=5.0, sigma_min=0.05)
    theirs = MAPGA(inner_steps=4, prior_step=False, whole_noise=True, replace_observed=True, schedule=levels)
    ours = VMLMAP(inner_steps=4, move="renoise", schedule=levels, final_denoise=True, replace_observed=True)
    first, counted = restore(theirs, y, operator, 0.0, prior)
    second, also = restore(ours, y, operator, 0.0, prior)
    assert torch.allclose(first, second, atol=1e-10)
    assert (counted.nfe, counted.vjps) == (also.nfe, also.vjps) == (6 * 5, 6 * 4)
    assert torch.equal(operator.forward(first), y)


def test_evaluations_are_those_of_the_paper():
    """n levels and τ_0 = ε, where no step is taken: n (2K + 1) evaluations with the prior's part, n (K + 1) without."""
    case = problem(0, images=2, noise_std=0.0)
    levels = EDMSchedule(6, sigma_max=5.0)
    for prior_step, nfe in ((True, 5 * (2 * 3 + 1)), (False, 5 * (3 + 1))):
        method = MAPGA(inner_steps=3, prior_step=prior_step, schedule=levels)
        _, counted = restore(method, case.y, case.operator, 0.0, case.prior)
        assert (counted.nfe, counted.vjps) == (nfe, 5 * 3)


def test_the_levels_end_where_the_prior_does_and_no_step_is_taken_there():
    case = problem(0, images=2, noise_std=0.0)
    recorder = Recorder(case.prior)
    levels = EDMSchedule(4, sigma_max=5.0)(case.prior)
    method = MAPGA(inner_steps=1, prior_step=False, schedule=EDMSchedule(4, sigma_max=5.0))
    x = method.restore(case.y, case.operator, 0.0, Denoiser(recorder), ImageNoise(0, ["a", "b"], "method"))
    assert [sigma for _, sigma in recorder.asked] == [sigma for sigma in levels[:-1] for _ in range(2)]
    assert torch.equal(x, case.prior(*recorder.asked[-1]))


@pytest.mark.parametrize(("noise_std", "pigdm_steps"), [(0.3, 6), (0.05, 1), (0.001, 6)])
def test_under_noise_steps_of_pigdm_follow_from_the_noise_level_down(noise_std, pigdm_steps):
    case = problem(0, images=2, noise_std=noise_std)
    recorder = Recorder(case.prior)
    method = MAPGA(inner_steps=2, pigdm_steps=pigdm_steps, schedule=EDMSchedule(8, sigma_max=5.0))
    denoiser = Denoiser(recorder)
    x = method.restore(case.y, case.operator, noise_std, denoiser, ImageNoise(0, ["a", "b"], "method"))
    asked = [sigma for _, sigma in recorder.asked]
    if noise_std < case.prior.sigma_min:  # then it is algorithm 2, to ε and with the prior's part
        assert (denoiser.nfe, denoiser.vjps) == (7 * 5, 7 * 2)
        return
    down = EDMSchedule(8, sigma_max=5.0, sigma_min=noise_std)(case.prior)[:-1]
    ending = EDMSchedule(pigdm_steps + 1, sigma_max=noise_std)(case.prior)[:-1]
    assert asked == [sigma for sigma in down for _ in range(3)] + ending
    assert asked[-pigdm_steps] == pytest.approx(noise_std)
    assert denoiser.vjps == 7 * 2 + pigdm_steps
    assert torch.isfinite(x).all()


def test_the_noisy_form_nears_the_measurement_as_the_noise_does():
    case = problem(0, images=16, noise_std=0.05)
    x, _ = restore(MAPGA(inner_steps=20, schedule=EDMSchedule(11)), case.y, case.operator, 0.05, case.prior)
    misfit = case.operator.residual(x, case.y).square().mean().sqrt() / (0.05 * math.sqrt(12))
    assert 0.3 < misfit < 3


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_single_precision_is_enough(noise_std):
    """λ is 600 times ε² at σ_y = 0.05, and would magnify what is lost by rounding."""
    case = problem(0, images=4, noise_std=noise_std)
    method = MAPGA(inner_steps=5, pigdm_steps=0, prior_step=False, schedule=EDMSchedule(6, sigma_max=5.0))
    exact, _ = restore(method, case.y, case.operator, noise_std, case.prior)
    operator = case.operator.to(dtype=torch.float32)
    single, _ = restore(method, case.y.float(), operator, noise_std, case.prior)
    assert single.dtype == torch.float32
    assert torch.allclose(single, exact.float(), atol=1e-4)


def test_the_papers_noise_is_that_of_the_next_level_less_the_smallest():
    case = problem(0, images=2, noise_std=0.0)
    n = torch.ones_like(case.truth)
    reached = {}
    for whole in (True, False):
        recorder = Recorder(case.prior)
        method = MAPGA(inner_steps=1, prior_std=0.3, whole_noise=whole, schedule=lambda _: [2.0, 0.5])
        method.restore(case.y, case.operator, 0.0, Denoiser(recorder), Played(0 * n, n))
        reached[whole] = next(x for x, sigma in recorder.asked if sigma == 0.5)
    assert torch.allclose(reached[True] - reached[False], (0.5 - math.sqrt(0.25 - 0.09)) * n)
