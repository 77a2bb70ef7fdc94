"""LMAPS: its local problem against gradient descent and a closed form, its move in the variance-preserving frame."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.lmaps import LMAPS
from tests.baselines.seen import step
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import RandomProjection
from vml_bench.priors.closed_form import GaussianPrior
from vml_bench.schedule import EDMSchedule


def normal(seed: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("scale", "prior_std"), [(1.0, 1.0), (0.3, 0.5), (2.0, math.inf)])
@pytest.mark.parametrize("sigma", [3.0, 0.4, 0.05])
def test_local_problem_is_what_gradient_descent_would_find(sigma, scale, prior_std):
    case = problem(0, images=4)
    x = case.truth + sigma * normal(1, case.truth)
    given = case.y, case.operator, case.noise_std, case.prior
    ours = step(LMAPS(scale, prior_std), x, sigma, 0.0, 0 * x, *given, start_std=sigma)
    denoised = case.prior(x, sigma)
    variance = scale * (sigma**2 if prior_std == math.inf else sigma**2 * prior_std**2 / (sigma**2 + prior_std**2))
    s = case.operator.singular_values
    observed = s[s > 0].square() / case.noise_std**2 + 1 / variance
    sharpest, flattest = float(observed.max()), float(observed.min())
    iterate = denoised
    for _ in range(math.ceil(40 * sharpest / flattest)):
        pull = case.operator.adjoint(case.operator.forward(iterate) - case.y) / case.noise_std**2
        iterate = iterate - (pull + (iterate - denoised) / variance) / sharpest
    assert torch.allclose(ours, iterate, atol=1e-8, rtol=0)


def test_local_problem_is_exact_for_the_prior_it_assumes():
    """For N(0, τ² I), x_t and y are two independent measurements of x_0; information adds."""
    tau, sigma, noise_std = 0.7, 0.4, 0.05
    prior = GaussianPrior(torch.zeros(32).double(), tau**2 * torch.eye(32).double(), SHAPE)
    operator = RandomProjection(SHAPE, 12, seed=3, dtype=torch.float64)
    truth = prior.sample(5, torch.Generator().manual_seed(0))
    y = operator.measure(truth, noise_std, normal(1, operator.forward(truth)))
    x = truth + sigma * normal(2, truth)
    ours = step(LMAPS(prior_std=tau), x, sigma, 0.0, 0 * x, y, operator, noise_std, prior, start_std=sigma)
    s = operator.singular_values
    information = operator.to_spectrum(x) / sigma**2 + s * operator.measurement_to_spectrum(y) / noise_std**2
    exact = operator.from_spectrum(information / (1 / tau**2 + 1 / sigma**2 + s.square() / noise_std**2))
    assert torch.allclose(ours, exact, atol=1e-10, rtol=0)


@pytest.mark.parametrize("fresh", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(15.0, 9.0), (0.8, 0.5), (0.02, 0.0)])
def test_move_is_ddims_in_the_variance_preserving_frame(sigma, sigma_next, fresh):
    """DDIM (arXiv:2010.02502, eq. 7 and 12), x_0 replaced by the local MAP, its σ_t = ρ √(1 − ᾱ_next)."""
    case = problem(0, images=4)
    x, n = case.truth + sigma * normal(1, case.truth), normal(2, case.truth)
    method, given = LMAPS(fresh=fresh), (n, case.y, case.operator, case.noise_std, case.prior, sigma)
    local_map = step(method, x, sigma, 0.0, *given)
    alpha_bar, alpha_bar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    epsilon = (math.sqrt(alpha_bar) * x - math.sqrt(alpha_bar) * local_map) / math.sqrt(1 - alpha_bar)
    ddim_std = fresh * math.sqrt(1 - alpha_bar_next)
    carried = math.sqrt(max(1 - alpha_bar_next - ddim_std**2, 0)) * epsilon
    x_vp_next = math.sqrt(alpha_bar_next) * local_map + carried + ddim_std * n
    ours = math.sqrt(alpha_bar_next) * step(method, x, sigma, sigma_next, *given)
    assert torch.allclose(ours, x_vp_next, atol=1e-6, rtol=0)


@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
def test_finite_counted_and_true_to_a_noiseless_measurement(noise_std):
    case = problem(1, noise_std=noise_std)
    answer, denoiser = case.restore(LMAPS(schedule=EDMSchedule(30)))
    assert torch.isfinite(answer).all()
    assert (denoiser.nfe, denoiser.vjps) == (30, 0)
    if noise_std == 0:
        assert case.operator.residual(answer, case.y).max() < 1e-9


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_error_beats_pinv(noise_std):
    case = problem(2, images=32, components=1, noise_std=noise_std)
    answer, _ = case.restore(LMAPS())
    error = (answer - case.truth).square().mean()
    assert error < 0.8 * (case.operator.pinv(case.y) - case.truth).square().mean()


def test_an_image_does_not_depend_on_its_batch():
    case = problem(4)
    method = LMAPS(schedule=EDMSchedule(20))
    together, _ = case.restore(method)
    noise = ImageNoise(0, ["5"], "method")
    alone = method.restore(case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), noise)
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("field", "value"), [("scale", 0.0), ("prior_std", -1.0), ("fresh", 1.1), ("fresh", -0.1), ("scale", math.nan)]
)
def test_bad_hyperparameters_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        LMAPS(**{field: value})
