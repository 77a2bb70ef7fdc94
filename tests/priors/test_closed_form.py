"""Closed-form priors: denoiser, covariance and density against one another and against quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vml_bench.configuration import config_dir
from vml_bench.contract import Prior
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.priors.closed_form import GaussianMixturePrior, GaussianPrior, random_gaussian, random_mixture

SHAPE = (1, 2, 3)
MIXTURE = random_mixture(SHAPE, 3, seed=0)
GAUSSIAN = random_gaussian(SHAPE, seed=1)


def points(sigma: float, prior: GaussianMixturePrior = MIXTURE, n: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x = prior.sample(n, generator)
    return x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)


@pytest.mark.parametrize("prior", [MIXTURE, GAUSSIAN])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 4.0])
def test_denoiser_is_tweedies(prior, sigma):
    x = points(sigma, prior).requires_grad_()
    (score,) = torch.autograd.grad(prior.log_density(x, sigma).sum(), x)
    assert torch.allclose(prior(x, sigma), x + sigma**2 * score, atol=1e-9)


@pytest.mark.parametrize("prior", [MIXTURE, GAUSSIAN])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 4.0])
def test_jacobian_is_covariance_over_variance(prior, sigma):
    x = points(sigma, prior, n=1)
    jacobian = torch.autograd.functional.jacobian(lambda v: prior(v, sigma), x).reshape(6, 6)
    covariance = prior.covariance(x, sigma)[0]
    assert torch.allclose(jacobian, covariance / sigma**2, atol=1e-8)
    assert torch.linalg.eigvalsh(covariance).min() > 0


def test_against_quadrature_in_one_dimension():
    weights, means = torch.tensor([0.3, 0.7]).double(), torch.tensor([[-0.8], [0.5]]).double()
    variances = torch.tensor([0.04, 0.2]).double()
    prior = GaussianMixturePrior(weights, means, variances[:, None, None], (1, 1, 1))
    grid = torch.linspace(-8, 8, 40001, dtype=torch.float64)
    density = prior.log_density(grid.reshape(-1, 1, 1, 1)).exp()
    by_hand = sum(
        w * torch.exp(-((grid - m) ** 2) / (2 * v)) / torch.sqrt(2 * math.pi * v)
        for w, m, v in zip(weights, means[:, 0], variances, strict=True)
    )
    assert torch.allclose(density, by_hand, atol=1e-12)
    x, sigma = torch.tensor(0.1).double(), 0.4
    joint = density * torch.exp(-((x - grid) ** 2) / (2 * sigma**2)) / math.sqrt(2 * math.pi * sigma**2)
    evidence = torch.trapezoid(joint, grid)
    mean = torch.trapezoid(joint * grid, grid) / evidence
    variance = torch.trapezoid(joint * (grid - mean) ** 2, grid) / evidence
    image = x.reshape(1, 1, 1, 1)
    assert prior.log_density(image, sigma).item() == pytest.approx(evidence.log().item(), abs=1e-9)
    assert prior(image, sigma).item() == pytest.approx(mean.item(), abs=1e-9)
    assert prior.covariance(image, sigma).item() == pytest.approx(variance.item(), abs=1e-9)


def test_gaussian_denoiser_is_wieners():
    sigma, x = 0.3, points(0.3, GAUSSIAN)
    mean, covariance = GAUSSIAN.means[0], GAUSSIAN.covariances[0]
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(6, dtype=torch.float64))
    expected = mean + (x.flatten(1) - mean) @ gain.T
    assert torch.allclose(GAUSSIAN(x, sigma).flatten(1), expected, atol=1e-10)


def test_limits_of_sigma():
    x = points(0.5)
    assert torch.allclose(MIXTURE(x, 0.0), x)
    overall = (MIXTURE.weights[:, None] * MIXTURE.means).sum(0)
    assert torch.allclose(MIXTURE(x, 1e6).flatten(1), overall.expand(4, 6), atol=1e-5)


def test_sigma_of_its_own_for_each_image():
    x, sigmas = points(0.5), torch.tensor([0.01, 0.1, 1.0, 10.0])
    alone = torch.cat([MIXTURE(x[i : i + 1], float(sigmas[i])) for i in range(4)])
    assert torch.allclose(MIXTURE(x, sigmas), alone, atol=1e-7)


def test_single_precision_images_stay_single_and_lose_nothing():
    x = points(0.2)
    answer = MIXTURE(x.float(), 0.2)
    assert answer.dtype == torch.float32
    assert torch.allclose(answer, MIXTURE(x, 0.2).float(), atol=1e-6)


def test_samples_have_the_mixtures_moments():
    x = MIXTURE.sample(40000, torch.Generator().manual_seed(0)).flatten(1)
    mean = (MIXTURE.weights[:, None] * MIXTURE.means).sum(0)
    centred = MIXTURE.means - mean
    covariance = (MIXTURE.weights[:, None, None] * (MIXTURE.covariances + centred[:, :, None] * centred[:, None])).sum(
        0
    )
    assert torch.allclose(x.mean(0), mean, atol=0.02)
    assert torch.allclose(x.T.cov(), covariance, atol=0.03)
    assert torch.equal(x[:3], MIXTURE.sample(40000, torch.Generator().manual_seed(0)).flatten(1)[:3])


def test_it_is_a_prior_and_the_denoiser_counts():
    assert isinstance(MIXTURE, Prior)
    denoiser, x = Denoiser(MIXTURE), points(0.3)
    assert torch.equal(denoiser(x, 0.3), MIXTURE(x, 0.3))
    denoised, pull_back = denoiser.vjp(x, 0.3)
    v = torch.ones_like(x)
    product = pull_back(v)
    expected = torch.einsum("bij,bj->bi", MIXTURE.covariance(x, 0.3), v.flatten(1)) / 0.3**2
    assert torch.allclose(denoised, MIXTURE(x, 0.3))
    assert torch.allclose(product.flatten(1), expected, atol=1e-9)
    assert (denoiser.nfe, denoiser.vjps) == (2, 1)
    assert not denoised.requires_grad


def test_factories_are_seeded():
    assert torch.equal(random_mixture(SHAPE, 2, seed=5).means, random_mixture(SHAPE, 2, seed=5).means)
    assert not torch.equal(random_mixture(SHAPE, 2, seed=5).means, random_mixture(SHAPE, 2, seed=6).means)
    spectrum = torch.linalg.eigvalsh(random_gaussian(SHAPE, seed=5, scale=0.4, decay=2.0).covariances[0]).flip(0)
    assert torch.allclose(spectrum, 0.16 / torch.arange(1, 7).double() ** 2)


@pytest.mark.parametrize(("name", "kind"), [("gauss", GaussianPrior), ("gmm", GaussianMixturePrior)])
def test_configs_build_the_priors(name, kind):
    config = OmegaConf.load(f"{config_dir()}/prior/{name}.yaml")
    prior = instantiate(config.model)
    assert config.name == name
    assert isinstance(prior, kind)
    assert prior(torch.zeros(2, *prior.image_shape), 0.5).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "names"),
    [
        ([0.5, 0.5], torch.zeros(2, 5), torch.eye(6).expand(2, 6, 6), "means"),
        ([0.5, 0.5], torch.zeros(2, 6), torch.eye(6).expand(1, 6, 6), "covariances"),
        ([0.5, 0.6], torch.zeros(2, 6), torch.eye(6).expand(2, 6, 6), "weights"),
        ([-0.5, 1.5], torch.zeros(2, 6), torch.eye(6).expand(2, 6, 6), "weights"),
        ([0.5, 0.5], torch.zeros(2, 6), torch.zeros(2, 6, 6), "eigenvalue"),
    ],
)
def test_bad_parameters_are_refused(weights, means, covariances, names):
    with pytest.raises(InputError, match=names):
        GaussianMixturePrior(torch.tensor(weights), means, covariances, SHAPE)
    with pytest.raises(InputError, match="components"):
        random_mixture(SHAPE, 0, seed=0)
