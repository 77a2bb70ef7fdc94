"""RED-diff: its steps against Adam on the paper's loss, its stationary point on a Gaussian prior, its contract."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.reddiff import REDDiff
from tests.baselines.test_diffpir import normal
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import BlockAverage, Colorize, RandomProjection
from vml_bench.priors.closed_form import random_mixture


def loss_as_published(mu, alpha_bar, y, operator, prior, weight, data_weight, noise):
    """The loss of algorithm 1 of arXiv:2305.04391 for one image, means as in the authors' code, in their frame."""
    x_t = math.sqrt(alpha_bar) * mu + math.sqrt(1 - alpha_bar) * noise
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    x0_hat = prior(x_t / math.sqrt(alpha_bar), sigma)
    eps = (x_t - math.sqrt(alpha_bar) * x0_hat) / math.sqrt(1 - alpha_bar)
    loss_obs = (y - operator.forward(mu)).square().mean() / 2
    loss_noise = ((eps - noise).detach() * mu).mean()
    return weight * sigma * loss_noise + data_weight * loss_obs


OPERATORS = [RandomProjection(SHAPE, 12, 0), BlockAverage((3, 8, 8), 4), Colorize((3, 8, 8))]  # d/m: 8/3, 16, 3


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("weight", "data_weight"), [(0.25, 1.0), (1.0, 0.7)])
def test_steps_are_adams_on_the_papers_loss(operator, weight, data_weight):
    """Of one image, times d: the gradient of which Adam's ε is 1e-8 here. Adam by torch."""
    operator = operator.to(dtype=torch.float64)
    prior = random_mixture(operator.image_shape, 3, seed=0)
    truth = prior.sample(2, torch.Generator().manual_seed(0))
    y = operator.measure(truth, 0.05, normal(1, operator.forward(truth)))
    sigmas, noises = [15.0, 3.0, 0.8, 0.3, 0.02], ImageNoise(0, ["0", "1"], "method")
    method = REDDiff(weight, data_weight, schedule=lambda prior: sigmas)
    ours = method.restore(y, operator, 0.05, Denoiser(prior), ImageNoise(0, ["0", "1"], "method"))
    mu = operator.pinv(y).clamp(-1, 1).requires_grad_()
    adam = torch.optim.Adam([mu], lr=0.1, betas=(0.9, 0.99), eps=1e-8)
    for sigma in sigmas:
        noise, alpha_bar = noises.randn_like(mu), 1 / (1 + sigma**2)
        adam.zero_grad()
        for i in (slice(0, 1), slice(1, 2)):
            loss = loss_as_published(mu[i], alpha_bar, y[i], operator, prior, weight, data_weight, noise[i])
            (mu[0].numel() * loss).backward()
        adam.step()
    assert torch.allclose(ours, mu.detach(), atol=1e-9, rtol=0)


def stationary_point(case, sigma: float, weight: float) -> torch.Tensor:
    """Where E_n of the gradient is 0 on N(m, C): (d/m) Hᵀ(H μ − y) + λ σ² (C + σ² I)⁻¹ (μ − m) = 0."""
    n = case.truth[0].numel()
    identity = torch.eye(n, dtype=torch.float64)
    h = case.operator.forward(identity.reshape(n, *SHAPE)).T
    data = n / len(h) * h.T @ h
    prior = weight * sigma**2 * torch.linalg.inv(case.prior.covariances[0] + sigma**2 * identity)
    right = n / len(h) * case.y @ h + case.prior.means[0] @ prior
    return torch.linalg.solve(data + prior, right.T).T.reshape(case.truth.shape)


def test_descent_reaches_the_gaussians_stationary_point():
    case = problem(5, images=2, components=1)
    method = REDDiff(learning_rate=0.01, schedule=lambda prior: [0.3] * 1500)
    answer, _ = case.restore(method)
    target = stationary_point(case, 0.3, weight=0.25)
    start = (case.operator.pinv(case.y) - target).square().mean()
    assert (answer - target).square().mean() < 0.01 * start


@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
def test_finite_and_counted(noise_std):
    case = problem(1, components=1, noise_std=noise_std)
    answer, denoiser = case.restore(REDDiff())
    assert torch.isfinite(answer).all()
    assert (denoiser.nfe, denoiser.vjps) == (100, 0)


def test_residual_has_the_noises_scale_and_the_error_beats_pinv():
    """λ = 1: the default fits the noise, its residual a fifth of the noise's."""
    case = problem(2, images=32)
    answer, _ = case.restore(REDDiff(weight=1.0))
    residual = case.operator.residual(answer, case.y).square().mean().sqrt() / (case.noise_std * math.sqrt(12))
    assert 0.3 < residual < 3
    pinv_error = (case.operator.pinv(case.y) - case.truth).square().mean()
    for method in (REDDiff(), REDDiff(weight=1.0)):
        assert (case.restore(method)[0] - case.truth).square().mean() < 0.5 * pinv_error


def test_an_image_does_not_depend_on_its_batch():
    case = problem(4)
    together, _ = case.restore(REDDiff())
    alone = REDDiff().restore(
        case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), ImageNoise(0, ["5"], "method")
    )
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"weight": -0.1}, "weight"),
        ({"data_weight": 0.0}, "data_weight"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"betas": (0.9,)}, "betas"),
    ],
)
def test_bad_hyperparameters_are_refused(options, names):
    with pytest.raises(InputError, match=names):
        REDDiff(**options)
