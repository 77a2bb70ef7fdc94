"""RED-diff: its gradient against the paper's formula, its stationary point on a Gaussian prior, its contract."""

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
from vml_bench.operators import BlockAverage, Colorize


def loss_as_published(mu, alpha_bar, y, operator, prior, weight, data_weight, noise):
    """The loss of algorithm 1 of arXiv:2305.04391 for one image, means as in the authors' code, in their frame."""
    x_t = math.sqrt(alpha_bar) * mu + math.sqrt(1 - alpha_bar) * noise
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    x0_hat = prior(x_t / math.sqrt(alpha_bar), sigma)
    eps = (x_t - math.sqrt(alpha_bar) * x0_hat) / math.sqrt(1 - alpha_bar)
    loss_obs = (y - operator.forward(mu)).square().mean() / 2
    loss_noise = ((eps - noise).detach() * mu).mean()
    return weight * sigma * loss_noise + data_weight * loss_obs


@pytest.mark.parametrize("sigma", [15.0, 0.8, 0.02])
def test_gradient_is_the_papers(sigma):
    case = problem(0, images=4)
    mu, noise = case.truth + 0.3 * normal(1, case.truth), normal(2, case.truth)
    method = REDDiff(weight=0.25, data_weight=0.7)
    ours = method.gradient(mu, sigma, case.y, case.operator, Denoiser(case.prior), noise)
    for i in range(4):
        point = mu[i : i + 1].clone().requires_grad_()
        loss = loss_as_published(
            point, 1 / (1 + sigma**2), case.y[i : i + 1], case.operator, case.prior, 0.25, 0.7, noise[i : i + 1]
        )
        (paper,) = torch.autograd.grad(loss, point)
        assert torch.allclose(ours[i : i + 1], mu[0].numel() * paper, atol=1e-6, rtol=0)


def test_steps_are_adams():
    """Two steps of arXiv:1412.6980, algorithm 1, on the gradients that the method itself asks for."""
    case = problem(1, images=2)
    sigmas, noises = [1.0, 0.3], ImageNoise(0, ["0", "1"], "method")
    method = REDDiff(schedule=lambda prior: sigmas)
    mu, m, v = case.operator.pinv(case.y).clamp(-1, 1), torch.zeros_like(case.truth), torch.zeros_like(case.truth)
    for t, sigma in enumerate(sigmas, start=1):
        noise = noises.randn_like(mu)
        g = method.gradient(mu, sigma, case.y, case.operator, Denoiser(case.prior), noise)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        mu = mu - 0.1 * (m / (1 - 0.9**t)) / (torch.sqrt(v / (1 - 0.99**t)) + 1e-8)
    assert torch.allclose(case.restore(method)[0], mu, atol=1e-9)


def stationary_point(case, sigma: float, weight: float) -> torch.Tensor:
    """Where E_n of the gradient is 0 on N(m, C): (d/m) Hᵀ(H μ − y) + λ σ² (C + σ² I)⁻¹ (μ − m) = 0."""
    n = case.truth[0].numel()
    identity = torch.eye(n, dtype=torch.float64)
    h = case.operator.forward(identity.reshape(n, *SHAPE)).T
    data = n / len(h) * h.T @ h
    prior = weight * sigma**2 * torch.linalg.inv(case.prior.covariances[0] + sigma**2 * identity)
    right = n / len(h) * case.y @ h + case.prior.means[0] @ prior
    return torch.linalg.solve(data + prior, right.T).T.reshape(case.truth.shape)


@pytest.mark.parametrize("sigma", [3.0, 0.3])
def test_gradient_vanishes_at_the_gaussians_stationary_point(sigma):
    """D is affine, so that n = 0 gives the mean over n."""
    case = problem(5, components=1)
    mu = stationary_point(case, sigma, weight=0.25)
    gradient = REDDiff().gradient(mu, sigma, case.y, case.operator, Denoiser(case.prior), torch.zeros_like(mu))
    assert gradient.abs().max() < 1e-9


def test_descent_reaches_the_gaussians_stationary_point():
    case = problem(5, images=2, components=1)
    method = REDDiff(learning_rate=0.01, schedule=lambda prior: [0.3] * 1500)
    answer, _ = case.restore(method)
    target = stationary_point(case, 0.3, weight=0.25)
    start = (case.operator.pinv(case.y) - target).square().mean()
    assert (answer - target).square().mean() < 0.01 * start


@pytest.mark.parametrize("operator", [BlockAverage((3, 8, 8), 4), Colorize((3, 8, 8))])
def test_data_term_is_weighed_by_the_measurements_size(operator):
    """A mean over the measurement is d/m times a mean over the image."""
    x = normal(1, torch.empty(2, 3, 8, 8)).float()
    y = operator.forward(x) + 1
    point = x.clone().requires_grad_()
    (mean,) = torch.autograd.grad(sum((y[i] - operator.forward(point)[i]).square().mean() / 2 for i in range(2)), point)
    ours = REDDiff(weight=0.0).gradient(x, 1.0, y, operator, lambda point, sigma: point, 0 * x)
    assert torch.allclose(ours, x[0].numel() * mean, atol=1e-5)


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
