"""DiffPIR: its step against the paper's formula, its law on a Gaussian prior against a recursion, its contract."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from baselines.diffpir import DiffPIR, QuadraticSchedule
from tests.baselines.seen import step
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator
from vml_bench.priors.closed_form import GaussianPrior

VARIANCE = 0.25  # of the isotropic Gaussian prior whose law is known coordinate by coordinate


def normal(seed: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def isotropic(images: int, noise_std: float):
    """N(0, VARIANCE I) measured once by singular values from 0 to 2, and that one y for many images."""
    prior = GaussianPrior(torch.zeros(32).double(), VARIANCE * torch.eye(32).double(), SHAPE)
    s = torch.cat([torch.zeros(8), torch.logspace(-1, 0.3, 24)]).double()
    operator = DenseOperator(SHAPE, torch.diag(s) @ torch.linalg.qr(normal(7, torch.empty(32, 32)))[0])
    truth = math.sqrt(VARIANCE) * normal(5, torch.empty(1, *SHAPE))
    y = operator.measure(truth, noise_std, normal(6, operator.forward(truth)))
    return prior, operator, y.expand(images, -1)


def step_as_published(x_vp, alpha_bar, alpha_bar_next, y, operator, prior, noise_std, weight, zeta, z):
    """Algorithm 1 of arXiv:2305.08995 with its data step solved densely, the network as a score."""
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    score = (math.sqrt(alpha_bar) * prior(x_vp / math.sqrt(alpha_bar), sigma) - x_vp) / (1 - alpha_bar)
    x0 = (x_vp + (1 - alpha_bar) * score) / math.sqrt(alpha_bar)
    rho = weight * noise_std**2 / sigma**2
    n = x_vp[0].numel()
    h = operator.forward(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).T
    right = (y @ h + rho * x0.flatten(1)).T
    x0_hat = torch.linalg.solve(h.T @ h + rho * torch.eye(n, dtype=torch.float64), right).T.reshape(x_vp.shape)
    eps_hat = (x_vp - math.sqrt(alpha_bar) * x0_hat) / math.sqrt(1 - alpha_bar)
    mixed = math.sqrt(1 - zeta) * eps_hat + math.sqrt(zeta) * z
    return math.sqrt(alpha_bar_next) * x0_hat + math.sqrt(1 - alpha_bar_next) * mixed


@pytest.mark.parametrize(("weight", "zeta"), [(1.75, 0.3), (0.25, 1.0)])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(15.0, 9.0), (0.8, 0.5), (0.05, 0.02), (0.02, 0.0)])
def test_step_is_the_papers(sigma, sigma_next, weight, zeta):
    case = problem(0, images=4)
    x = case.truth + sigma * normal(1, case.truth)
    z = normal(2, x)
    ours = step(DiffPIR(weight, zeta), x, sigma, sigma_next, z, case.y, case.operator, 0.05, case.prior)
    alpha_bar, alpha_bar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    paper = step_as_published(
        math.sqrt(alpha_bar) * x, alpha_bar, alpha_bar_next, case.y, case.operator, case.prior, 0.05, weight, zeta, z
    )
    assert torch.allclose(math.sqrt(alpha_bar_next) * ours, paper, atol=1e-6, rtol=0)


def test_noiseless_step_is_the_limit_and_the_answer_meets_the_measurement():
    case = problem(3, noise_std=0.0)
    x, z = case.truth + normal(1, case.truth), normal(2, case.truth)
    exact, near = (step(DiffPIR(), x, 1.0, 0.5, z, case.y, case.operator, std, case.prior) for std in (0.0, 1e-6))
    assert torch.allclose(exact, near, atol=1e-6)
    answer, _ = case.restore(DiffPIR())
    assert case.operator.residual(answer, case.y).max() < 1e-9


@pytest.mark.parametrize("zeta", [0.3, 1.0])
@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_law_on_a_gaussian_prior_is_the_recursions(noise_std, zeta):
    """In each spectral coordinate a step is affine in x and Gaussian, so that mean and variance follow by hand."""
    prior, operator, y = isotropic(512, noise_std)
    method = DiffPIR(weight=1.5, zeta=zeta, schedule=lambda prior: [10.0, 3.0, 1.0, 0.4, 0.15])
    answer = method.restore(y, operator, noise_std, Denoiser(prior), ImageNoise(0, map(str, range(512)), "method"))
    s, y_bar = operator.singular_values.flatten(), operator.measurement_to_spectrum(y[:1]).flatten()
    target = torch.where(s > 0, y_bar / s, 0)
    levels = method.schedule(prior)
    mean, variance = torch.zeros(32).double(), torch.full((32,), 1 + levels[0] ** 2).double()
    for sigma, sigma_next in pairwise([*levels, 0.0]):
        pull = torch.where(s > 0, s**2 / (s**2 + 1.5 * noise_std**2 / sigma**2), 0)
        keep = math.sqrt(1 - zeta) * sigma_next / sigma
        factor = (1 - keep) * (1 - pull) * VARIANCE / (VARIANCE + sigma**2) + keep
        mean = factor * mean + (1 - keep) * pull * target
        variance = factor**2 * variance + zeta * sigma_next**2
    c = operator.to_spectrum(answer).flatten(1)
    random = variance > 1e-12
    assert torch.allclose(c[:, ~random], mean[~random].expand(512, -1), atol=1e-9)
    assert random.sum() >= 8
    standard = ((c - mean) / variance.sqrt())[:, random]
    assert standard.mean(dim=0).abs().max() < 5 / math.sqrt(512)
    assert abs(standard.var() - 1) < 5 * math.sqrt(2 / standard.numel())


@pytest.mark.parametrize("levels", [20, 100])
def test_schedule_is_the_authors_quad_sequence(levels):
    alpha_bar, sigmas = 1.0, []
    for t in range(1000):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        sigmas.append(math.sqrt((1 - alpha_bar) / alpha_bar))
    sequence = [int(math.sqrt(i * 1e6 / (levels - 1))) for i in range(levels)]
    sequence[-1] -= 1
    ours = QuadraticSchedule(levels)(SimpleNamespace(sigma_min=sigmas[0], sigma_max=sigmas[-1]))
    assert ours == pytest.approx([sigmas[999 - j] for j in sequence])
    assert all(a > b for a, b in pairwise(ours))


def test_schedule_keeps_to_the_priors_range():
    levels = QuadraticSchedule(100)(SimpleNamespace(sigma_min=0.1, sigma_max=20.0))
    assert 19 < levels[0] <= 20
    assert 0.1 <= levels[-1] < 0.105
    assert all(a > b for a, b in pairwise(levels))


@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
def test_finite_and_counted(noise_std):
    case = problem(1, components=1, noise_std=noise_std)
    answer, denoiser = case.restore(DiffPIR())
    assert torch.isfinite(answer).all()
    assert (denoiser.nfe, denoiser.vjps) == (100, 0)


def test_residual_has_the_noises_scale_and_the_error_beats_pinv():
    case = problem(2, images=32)
    answer, _ = case.restore(DiffPIR())
    residual = case.operator.residual(answer, case.y).square().mean().sqrt() / (case.noise_std * math.sqrt(12))
    assert 0.3 < residual < 3
    error = (answer - case.truth).square().mean()
    assert error < 0.5 * (case.operator.pinv(case.y) - case.truth).square().mean()


def test_an_image_does_not_depend_on_its_batch():
    case = problem(4)
    together, _ = case.restore(DiffPIR())
    alone = DiffPIR().restore(
        case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), ImageNoise(0, ["5"], "method")
    )
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: DiffPIR(weight=0.0), "weight"),
        (lambda: DiffPIR(zeta=1.1), "zeta"),
        (lambda: DiffPIR(zeta=-0.1), "zeta"),
        (lambda: QuadraticSchedule(1), "levels"),
        (lambda: QuadraticSchedule(501)(SimpleNamespace(sigma_min=0.002, sigma_max=200.0)), "500 or less"),
    ],
)
def test_bad_hyperparameters_are_refused(make, names):
    with pytest.raises(InputError, match=names):
        make()
