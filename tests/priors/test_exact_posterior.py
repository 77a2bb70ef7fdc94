"""The exact posterior against textbook conditioning, quadrature and numerical search."""

from __future__ import annotations

import math

import pytest
import torch

from vml_bench import operators as ops
from vml_bench.priors.closed_form import GaussianMixturePrior, random_gaussian, random_mixture

SHAPE = (1, 2, 4)
N = 8


def measured(prior, operator, noise_std, images=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = prior.sample(images, generator)
    noise = torch.randn(operator.forward(truth).shape, generator=generator, dtype=torch.float64)
    return operator.measure(truth, noise_std, noise)


def dense(operator, n: int = N) -> torch.Tensor:
    """H as a matrix on flattened images."""
    identity = torch.eye(n, dtype=torch.float64).reshape(n, *operator.image_shape)
    return operator.forward(identity).flatten(1).T


@pytest.fixture
def mixture() -> GaussianMixturePrior:
    return random_mixture(SHAPE, 3, seed=2, spread=0.3)


@pytest.fixture
def projection() -> ops.RandomProjection:
    return ops.RandomProjection(SHAPE, 3, seed=1, dtype=torch.float64)


def information_form(prior, h, y, noise_std):
    """C = (Σ⁻¹ + HᵀH/σ_y²)⁻¹ and m = C(Σ⁻¹μ + Hᵀy/σ_y²), the other way round from the code's conditioning."""
    precision = torch.linalg.inv(prior.covariances[0])
    covariance = torch.linalg.inv(precision + h.T @ h / noise_std**2)
    return (prior.means[0] @ precision + y @ h / noise_std**2) @ covariance, covariance


@pytest.mark.parametrize("noise_std", [0.02, 0.3, 1.0])
def test_gaussian_conditioning(projection, noise_std):
    prior = random_gaussian(SHAPE, seed=3)
    y = measured(prior, projection, noise_std)
    posterior = prior.posterior(y, projection, noise_std)
    mean, covariance = information_form(prior, dense(projection), y, noise_std)
    assert torch.allclose(posterior.mean.flatten(1), mean, atol=1e-9)
    assert torch.allclose(posterior.covariances[:, 0], covariance.expand(5, N, N), atol=1e-9)
    assert torch.equal(posterior.map(), posterior.mean)
    x = posterior.mean + 0.1
    quadratic = 0.1**2 * torch.linalg.inv(covariance).sum() / 2
    assert torch.allclose(posterior.map_gap(x), quadratic.expand(5), atol=1e-8)


def test_gaussian_without_noise_is_the_limit(projection):
    prior = random_gaussian(SHAPE, seed=3)
    y = measured(prior, projection, 0.0)
    posterior = prior.posterior(y, projection, 0.0)
    mean, covariance = information_form(prior, dense(projection), y, 1e-5)
    assert torch.allclose(posterior.mean.flatten(1), mean, atol=1e-6)
    assert torch.allclose(posterior.covariances[0, 0], covariance, atol=1e-6)
    assert projection.residual(posterior.mean, y).max() < 1e-10
    assert (dense(projection) @ posterior.covariances[0, 0]).abs().max() < 1e-10


@pytest.mark.parametrize("noise_std", [0.02, 0.3])
def test_mixture_is_bayes_rule(mixture, projection, noise_std):
    """Parts (w, m, C) and log p(x) + log p(y|x) − log p(y) must give one and the same density."""
    y = measured(mixture, projection, noise_std)
    posterior = mixture.posterior(y, projection, noise_std)
    x = mixture.sample(5, torch.Generator().manual_seed(9))
    parts = torch.distributions.MultivariateNormal(posterior.means, posterior.covariances)
    expected = (posterior.weights.log() + parts.log_prob(x.flatten(1)[:, None])).logsumexp(1)
    assert torch.allclose(posterior.log_density(x), expected, atol=1e-8)
    h = dense(projection)
    marginals = h @ mixture.covariances @ h.T + noise_std**2 * torch.eye(3, dtype=torch.float64)
    evidence = torch.distributions.MultivariateNormal(mixture.means @ h.T, marginals).log_prob(y[:, None])
    joint = mixture.weights.log() + evidence
    assert torch.allclose(posterior.log_evidence, joint.logsumexp(1), atol=1e-9)
    assert torch.allclose(posterior.weights, joint.softmax(1), atol=1e-9)


def test_noiseless_density_integrates_to_one_over_the_solutions():
    prior = random_mixture((1, 1, 2), 3, seed=4)
    h = torch.tensor([[1.5, -0.7]], dtype=torch.float64)
    operator = ops.DenseOperator((1, 1, 2), h)
    y = measured(prior, operator, 0.0, images=1)
    posterior = prior.posterior(y, operator, 0.0)
    steps = torch.linspace(-8, 8, 16001, dtype=torch.float64)
    direction = torch.tensor([0.7, 1.5], dtype=torch.float64) / math.hypot(0.7, 1.5)
    line = (operator.pinv(y).flatten() + steps[:, None] * direction).reshape(-1, 1, 1, 2)
    repeated = prior.posterior(y.expand(16001, 1), operator, 0.0)
    density = repeated.log_density(line).exp()
    assert torch.trapezoid(density, steps).item() == pytest.approx(1, abs=1e-8)
    mean = torch.trapezoid(density[:, None] * line.flatten(1), steps, dim=0)
    assert torch.allclose(posterior.mean.flatten(), mean, atol=1e-8)
    away = line + torch.tensor([1.5, -0.7], dtype=torch.float64).reshape(1, 1, 1, 2)
    assert torch.allclose(repeated.log_density(away), repeated.log_density(line), atol=1e-9)


@pytest.mark.parametrize("noise_std", [0.0, 0.05, 0.5])
def test_map_is_stationary_and_nothing_is_higher(mixture, projection, noise_std):
    y = measured(mixture, projection, noise_std)
    posterior = mixture.posterior(y, projection, noise_std)
    x = posterior.map().requires_grad_()
    (gradient,) = torch.autograd.grad(posterior.log_density(x).sum(), x)
    assert gradient.abs().max() < 1e-8
    if noise_std == 0:
        assert projection.residual(x.detach(), y).max() < 1e-10
    top = posterior.log_density(posterior.map())
    starts = posterior.sample(6, torch.Generator().manual_seed(0))
    for start in starts.unbind(1):
        point = start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([point], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

        def loss(point=point, optimiser=optimiser):
            optimiser.zero_grad()
            value = -posterior.log_density(point).sum()
            value.backward()
            return value

        optimiser.step(loss)
        assert (posterior.log_density(point.detach()) <= top + 1e-8).all()


def test_map_takes_the_highest_of_two_modes():
    """Two equal components, unequal widths: the narrow one has less room and the higher peak."""
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double()
    covariances = torch.stack([0.01 * torch.eye(2), 0.04 * torch.eye(2)]).double()
    prior = GaussianMixturePrior(torch.tensor([0.5, 0.5]).double(), means, covariances, (1, 1, 2))
    operator = ops.DenseOperator((1, 1, 2), torch.tensor([[0.0, 1.0]]).double())
    posterior = prior.posterior(torch.zeros(1, 1).double(), operator, 0.1)
    assert torch.allclose(posterior.map().flatten(), torch.tensor([-1.0, 0.0]).double(), atol=1e-6)


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_samples_have_the_posteriors_moments(mixture, projection, noise_std):
    y = measured(mixture, projection, noise_std, images=2)
    posterior = mixture.posterior(y, projection, noise_std)
    samples = posterior.sample(20000, torch.Generator().manual_seed(0))
    assert samples.shape == (2, 20000, *SHAPE)
    assert torch.allclose(samples.mean(1), posterior.mean, atol=0.02)
    covariance = torch.einsum("bk,bkij->bij", posterior.weights, posterior.covariances)
    centred = posterior.means - posterior.mean.flatten(1)[:, None]
    covariance = covariance + torch.einsum("bk,bki,bkj->bij", posterior.weights, centred, centred)
    for image in range(2):
        assert torch.allclose(samples[image].flatten(1).T.cov(), covariance[image], atol=0.02)


TASKS = {
    "denoise": lambda shape: ops.Denoise(shape),
    "inpaint_half": lambda shape: ops.InpaintHalf(shape),
    "inpaint_random": lambda shape: ops.InpaintRandom(shape, 0.5).for_images(["a", "b", "c"], 0),
    "sr4": lambda shape: ops.BlockAverage(shape, 4),
    "colorize": lambda shape: ops.Colorize(shape),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("noise_std", [0.0, 0.1])
def test_tasks_and_masks_of_their_own(task, noise_std):
    """Image by image, a task's posterior is that of its rows as an explicit matrix."""
    shape = (3, 4, 4)
    prior = random_mixture(shape, 2, seed=0)
    operator = TASKS[task](shape).to(dtype=torch.float64)
    truth = prior.sample(3, torch.Generator().manual_seed(1))
    noise = torch.randn(operator.forward(truth).shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = operator.measure(truth, noise_std, noise)
    posterior = prior.posterior(y, operator, noise_std)
    v = operator.to_spectrum(torch.eye(48, dtype=torch.float64).reshape(48, *shape)).flatten(1)
    spectra = operator.singular_values.expand(3, *shape).flatten(1)
    for i in range(3):
        rows = (spectra[i, :, None] * v.T)[spectra[i] > 0]
        explicit = ops.DenseOperator(shape, rows)
        rows_y = operator.measurement_to_spectrum(y)[i].flatten()[spectra[i] > 0]
        expected = prior.posterior(rows_y[None], explicit, noise_std)
        assert torch.allclose(posterior.mean[i], expected.mean[0], atol=1e-7)
        assert torch.allclose(posterior.map()[i], expected.map()[0], atol=1e-7)
        assert torch.allclose(posterior.log_density(truth)[i], expected.log_density(truth[i : i + 1])[0], atol=1e-6)
