"""The mode-seeking loss against the divergence it is said to be, its gradient and its probed covariance terms."""

from __future__ import annotations

import math

import pytest
import torch

from tests.methods.problems import SHAPE, Problem, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.methods import VMLMAP, vml_loss
from vml_bench.methods.loop import preconditioned_direction
from vml_bench.methods.loss import (
    covariance_terms,
    estimate_covariance_terms,
    loss_constant,
    simplified_gradient,
    simplified_loss,
)
from vml_bench.noise import ImageNoise
from vml_bench.operators import Denoise, DenseOperator, InpaintRandom
from vml_bench.priors.closed_form import GaussianMixturePrior, GaussianPrior

IDS = ["a", "b", "c"]


def state(seed: int, sigma: float, components: int = 3, noise_std: float = 0.05) -> tuple[Problem, torch.Tensor]:
    case = problem(seed, images=3, components=components, noise_std=noise_std)
    noise = torch.randn(case.truth.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return case, case.truth + sigma * noise


def arguments(case: Problem, x: torch.Tensor, sigma: float) -> tuple:
    return x, sigma, case.y, case.operator, case.noise_std, case.prior


@pytest.mark.parametrize("noise_std", [1e-3, 0.05, 0.3])
@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_loss_is_the_divergence_of_two_gaussians(sigma, noise_std):
    case, x = state(0, sigma, components=1, noise_std=noise_std)
    p_mean, p_covariance = case.prior(x, sigma).flatten(1), case.prior.covariance(x, sigma)
    q_mean, q_covariance = case.posterior.means[:, 0], case.posterior.covariances[:, 0]
    shift = (q_mean - p_mean)[..., None]
    trace = torch.linalg.solve(q_covariance, p_covariance).diagonal(dim1=1, dim2=2).sum(dim=1)
    distance = (shift.mT @ torch.linalg.solve(q_covariance, shift)).flatten()
    expected = (trace - x[0].numel() + distance + q_covariance.logdet() - p_covariance.logdet()) / 2
    assert torch.allclose(vml_loss(*arguments(case, x, sigma)), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("noise_std", [0.05, 0.4])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0])
def test_loss_is_the_divergence_of_two_mixtures_by_quadrature(sigma, noise_std):
    prior = GaussianMixturePrior(
        torch.tensor([0.3, 0.7]).double(),
        torch.tensor([[-0.6], [0.5]]).double(),
        torch.tensor([[[0.04]], [[0.09]]]).double(),
        (1, 1, 1),
    )
    operator = DenseOperator((1, 1, 1), torch.tensor([[0.8]], dtype=torch.float64))
    x, y = torch.tensor([[[[0.1]]], [[[-1.2]]]]).double(), torch.tensor([[0.3], [-0.5]]).double()
    grid = torch.linspace(-4, 4, 40001, dtype=torch.float64)
    step = grid[1] - grid[0]
    prior_log = prior.log_density(grid.reshape(-1, 1, 1, 1))
    p_log = prior_log - (x.reshape(2, 1) - grid) ** 2 / (2 * sigma**2)
    q_log = prior_log - (y - 0.8 * grid) ** 2 / (2 * noise_std**2)
    p_log, q_log = (log - (log + math.log(step)).logsumexp(dim=1, keepdim=True) for log in (p_log, q_log))
    expected = (p_log.exp() * (p_log - q_log)).sum(dim=1) * step
    loss = vml_loss(x, sigma, y, operator, noise_std, prior)
    assert torch.allclose(loss, expected, rtol=1e-8, atol=1e-8)
    assert (loss >= 0).all()


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_loss_is_the_divergence_of_two_mixtures_by_sampling(sigma):
    """32 dimensions, 1,000 samples of each image: within 4 standard errors."""
    case, x = state(1, sigma)
    denoising = case.prior.posterior(x, Denoise(SHAPE, torch.float64), sigma)
    samples = denoising.sample(1000, torch.Generator().manual_seed(1))
    terms = torch.stack([denoising.log_density(s) - case.posterior.log_density(s) for s in samples.unbind(1)])
    error = (vml_loss(*arguments(case, x, sigma)) - terms.mean(dim=0)).abs()
    assert (error < 4 * terms.std(dim=0) / math.sqrt(len(terms))).all()


def test_loss_is_the_sum_of_its_parts():
    case, x = state(2, 0.3)
    parts = [f(*arguments(case, x, 0.3)) for f in (simplified_loss,)]
    parts += [covariance_terms(x, 0.3, case.operator, case.noise_std, case.prior)]
    parts += [loss_constant(0.3, case.y, case.operator, case.noise_std, case.prior)]
    assert torch.allclose(sum(parts), vml_loss(*arguments(case, x, 0.3)), rtol=1e-12)


@pytest.mark.parametrize("noise_std", [1e-3, 0.05, 0.3])
@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_gradient_is_autograds_and_the_methods_own(sigma, noise_std):
    case, x = state(3, sigma, noise_std=noise_std)
    point = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(simplified_loss(*arguments(case, point, sigma)).sum(), point)

    def agrees(gradient: torch.Tensor) -> bool:
        return bool((gradient - expected).abs().max() <= 1e-10 * expected.abs().max())

    problem_ = (case.y, case.operator, noise_std)
    assert agrees(simplified_gradient(x, sigma, *problem_, Denoiser(case.prior)))

    denoised, vjp = Denoiser(case.prior).vjp(x, sigma)
    curvature = 1 / sigma**2 + float(case.operator.singular_values.max()) ** 2 / noise_std**2
    assert agrees(-curvature * VMLMAP().direction(x, sigma, *problem_, Denoiser(case.prior))[1])

    d = case.operator.to_spectrum(preconditioned_direction(x, denoised, *problem_, sigma))
    precision = case.operator.singular_values.square() / noise_std**2 + 1 / sigma**2
    assert agrees(-vjp(case.operator.from_spectrum(precision * d)))


def masked(case: Problem) -> InpaintRandom:
    return InpaintRandom(case.truth.shape[1:], 0.5, dtype=torch.float64).for_images(IDS, 0)


@pytest.mark.parametrize("noise_std", [0.05, 0.3])
@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("masks", [False, True])
def test_probed_covariance_terms_are_exact_within_their_standard_error(sigma, noise_std, masks):
    case, x = state(4, sigma, noise_std=noise_std)
    operator = masked(case) if masks else case.operator
    denoiser = Denoiser(case.prior)
    rng = ImageNoise(0, IDS, "probe")
    estimate = estimate_covariance_terms(x, sigma, operator, noise_std, denoiser, rng, probes=256)
    exact = covariance_terms(x, sigma, operator, noise_std, case.prior)
    assert (denoiser.nfe, denoiser.vjps) == (1, 256)
    assert ((estimate.value - exact).abs() < 4 * estimate.standard_error).all()
    assert (estimate.standard_error < 0.2 * exact.abs() + 1).all()


def test_exact_covariance_terms_are_the_two_traces():
    case, x = state(5, 0.3)
    covariance = case.prior.covariance(x, 0.3)
    matrix = case.operator.forward(torch.eye(32, dtype=torch.float64).reshape(32, *SHAPE)).T
    observed = (matrix @ covariance @ matrix.T).diagonal(dim1=1, dim2=2).sum(dim=1)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)
    expected = observed / (2 * case.noise_std**2) - trace / (2 * 0.3**2)
    assert torch.allclose(covariance_terms(x, 0.3, case.operator, case.noise_std, case.prior), expected, rtol=1e-10)


def test_two_probes_are_exact_where_the_spectrum_diagonalises_the_covariance():
    prior = GaussianPrior(torch.zeros(32).double(), torch.diag(torch.linspace(0.1, 1, 32).double()), SHAPE)
    x, operator = torch.ones(3, *SHAPE, dtype=torch.float64), Denoise(SHAPE, torch.float64)
    estimate = estimate_covariance_terms(x, 0.4, operator, 0.1, Denoiser(prior), ImageNoise(0, IDS, "probe"), probes=2)
    assert torch.allclose(estimate.value, covariance_terms(x, 0.4, operator, 0.1, prior), rtol=1e-10)
    assert estimate.standard_error.max() < 1e-9


def test_what_has_no_finite_answer_is_refused():
    case, x = state(6, 0.3, noise_std=0.0)
    with pytest.raises(InputError, match="noise_std"):
        vml_loss(*arguments(case, x, 0.3))
    rng = ImageNoise(0, IDS, "probe")
    with pytest.raises(InputError, match="probes"):
        estimate_covariance_terms(x, 0.3, case.operator, 0.1, Denoiser(case.prior), rng, probes=1)
