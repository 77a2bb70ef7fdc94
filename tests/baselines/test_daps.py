"""DAPS: its Langevin step against the paper's formula, its law on a Gaussian prior by hand, its contract."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from baselines.daps import DAPS
from tests.baselines.seen import Played
from tests.baselines.test_diffpir import VARIANCE, isotropic, normal
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator, InpaintRandom
from vml_bench.schedule import EDMSchedule

SHORT = EDMSchedule(6, sigma_max=10.0, sigma_min=0.2)
METHODS = [DAPS(), DAPS(sampler="exact", likelihood_std=None), DAPS(langevin_steps=12, momentum=0.9)]


def many(images: int, purpose: str = "method") -> ImageNoise:
    return ImageNoise(0, map(str, range(images)), purpose)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("prior_std", "relative"), [(10.0, 0.05), (0.5, 0.05), (0.5, 50.0)])
def test_langevin_and_hmc_steps_are_the_papers(prior_std, relative, momentum):
    """arXiv:2407.01521, algorithm 1, with autograd's gradient, in pixels; η held where it would diverge."""
    case = problem(0, images=4)
    std = 0.05
    method = DAPS(1, langevin_steps=3, step_size=relative, likelihood_std=std, momentum=momentum)
    method = replace(method, schedule=lambda prior: [prior_std])
    ours = method.restore(case.y, case.operator, std, Denoiser(case.prior), many(4))
    eta = min(relative * std**2, 1 / (1 / prior_std**2 + float(case.operator.singular_values.max()) ** 2 / std**2))
    rng = many(4)
    x = prior_std * rng.randn_like(case.truth)
    denoised = case.prior(x, prior_std)
    x = x0_hat = denoised + 0.01 / prior_std * (x - denoised)
    velocity = case.operator.from_spectrum(rng.randn_like(x)) if momentum else torch.zeros_like(x)
    for _ in range(3):
        x = x.clone().requires_grad_()
        log_target = -(x - x0_hat).square().sum() / (2 * prior_std**2)
        log_target = log_target - (case.y - case.operator.forward(x)).square().sum() / (2 * std**2)
        (score,) = torch.autograd.grad(log_target, x)
        noise = case.operator.from_spectrum(rng.randn_like(x))
        velocity = momentum * velocity + math.sqrt(eta) * score + math.sqrt(2 * (1 - momentum)) * noise
        x = (x + math.sqrt(eta) * velocity).detach()
    assert torch.allclose(ours, x, atol=1e-6, rtol=0)


def gaussian_target(operator, y, x0_hat, prior_std, std):
    """Mean and variance of exp(−‖x − x̂_0‖²/2r² − ‖y − H x‖²/2β²) by a dense solve, in pixels and in the spectrum."""
    n = x0_hat[0].numel()
    h = operator.forward(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).T
    covariance = torch.linalg.inv(torch.eye(n, dtype=torch.float64) / prior_std**2 + h.T @ h / std**2)
    mean = (x0_hat.flatten(1) / prior_std**2 + y @ h / std**2) @ covariance
    return mean, covariance


class Certain:
    """A denoiser that knows x_0, whatever x_t is."""

    sigma_min, sigma_max, image_shape = 1e-9, 80.0, SHAPE

    def __init__(self, x_0: torch.Tensor) -> None:
        self.x_0 = x_0

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return self.x_0


@pytest.mark.parametrize("sampler", ["exact", "langevin", "hmc"])
def test_samplers_have_the_targets_mean_and_covariance(sampler):
    """The exact one within its Monte Carlo error; Langevin with many small steps likewise, beside its bias ηL/2."""
    _, operator, y = isotropic(1024, 0.2)
    x0_hat = normal(1, torch.empty(1, *SHAPE)).expand(1024, -1, -1, -1)
    method = DAPS(
        ode_sigma_min=1e-9,
        sampler="exact" if sampler == "exact" else "langevin",
        langevin_steps=200,
        step_size=0.02,
        likelihood_std=0.4,
        momentum=0.5 if sampler == "hmc" else 0.0,
        schedule=lambda prior: [0.5],
    )
    x0 = method.restore(y, operator, 0.2, Certain(x0_hat), many(1024))
    mean, covariance = gaussian_target(operator, y[:1], x0_hat[:1], 0.5, 0.4)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (x0.flatten(1) - mean).T, upper=False)
    assert whitened.mean(dim=1).abs().max() < 5 / math.sqrt(1024)
    identity = torch.eye(32, dtype=torch.float64)
    assert (torch.cov(whitened) - identity).abs().max() < 5 * math.sqrt(2 / 1024) + (0.06 if sampler != "exact" else 0)


def seven_steps(eta, curvature, momentum):
    """What seven steps leave of x − target, and the variance they add, from powers of the pair (x − target, move)."""
    one = torch.ones_like(curvature)
    step = torch.stack(
        [torch.stack([1 - eta * curvature, momentum * one]), torch.stack([-eta * curvature, momentum * one])]
    ).permute(2, 0, 1)
    powers = [torch.linalg.matrix_power(step, k) for k in range(8)]
    noise = 2 * (1 - momentum) * eta * sum((power[:, 0].sum(dim=1)) ** 2 for power in powers[:7])
    return powers[7][:, 0, 0], noise + eta * powers[7][:, 0, 1] ** 2


@pytest.mark.parametrize("schedule", [SHORT, lambda prior: [0.5]])
@pytest.mark.parametrize("sampler", ["langevin", "hmc", "exact"])
@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_law_on_a_gaussian_prior_is_the_recursions(sampler, noise_std, schedule):
    """In each spectral coordinate all three moves are affine in x and Gaussian: mean and variance by hand."""
    prior, operator, y = isotropic(512, noise_std)
    momentum = 0.8 if sampler == "hmc" else 0.0
    name = "exact" if sampler == "exact" else "langevin"
    method = DAPS(sampler=name, langevin_steps=7, momentum=momentum, likelihood_std=None, schedule=schedule)
    answer = method.restore(y, operator, noise_std, Denoiser(prior), many(512))
    s, y_bar = operator.singular_values.flatten(), operator.measurement_to_spectrum(y[:1]).flatten()
    levels, std = schedule(prior), max(noise_std, 0.01 / math.sqrt(2))
    mean, variance = torch.zeros(32).double(), torch.full((32,), levels[0] ** 2).double()
    for i, (sigma, sigma_next) in enumerate(pairwise([*levels, 0.0])):
        for a, b in pairwise(EDMSchedule(6, sigma_max=sigma, sigma_min=0.01)(prior)):
            factor = b / a + (1 - b / a) * VARIANCE / (VARIANCE + a**2)
            mean, variance = factor * mean, factor**2 * variance
        curvature = 1 / sigma**2 + s**2 / std**2
        target = (mean / sigma**2 + s * y_bar / std**2) / curvature
        if sampler == "exact":
            left, noise = torch.zeros(32).double(), 1 / curvature
        else:
            eta = min(2 * (1 - 0.99 * i / len(levels)) * std**2, 1 / float(curvature.max()))
            left, noise = seven_steps(eta, curvature, momentum)
        mean = target + left * (mean - target)
        variance = (left + (1 - left) / (sigma**2 * curvature)) ** 2 * variance + noise + sigma_next**2
    standard = (operator.to_spectrum(answer).flatten(1) - mean) / variance.sqrt()
    assert standard.mean(dim=0).abs().max() < 5 / math.sqrt(512)
    assert abs(standard.var() - 1) < 5 * math.sqrt(2 / standard.numel())


def test_flow_ends_near_the_flows_exact_end():
    """For N(0, c I) the probability-flow ODE takes x at σ to x sqrt((c + σ_end²)/(c + σ²)). H = 0, no noise."""
    prior, _, _ = isotropic(1, 0.0)
    x = normal(3, torch.empty(2, *SHAPE))
    silent = DenseOperator(SHAPE, torch.zeros(4, 32).double())
    method = DAPS(ode_steps=2000, sampler="exact", schedule=lambda prior: [5.0])
    end = method.restore(torch.zeros(2, 4).double(), silent, 0.0, Denoiser(prior), Played(x / 5, 0 * x))
    assert torch.allclose(end, x * math.sqrt((VARIANCE + 1e-4) / (VARIANCE + 25)), rtol=1e-2, atol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
def test_finite_and_counted(method, noise_std):
    case = problem(1, components=1, noise_std=noise_std)
    answer, denoiser = case.restore(method)
    assert torch.isfinite(answer).all()
    assert (denoiser.nfe, denoiser.vjps) == (100, 0)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_default_step_is_stable_for_any_operator(scale):
    operator = DenseOperator(SHAPE, scale * normal(3, torch.empty(12, 32)))
    case = problem(1, components=1)
    y = operator.measure(case.truth, 0.05, normal(4, operator.forward(case.truth)))
    answer = DAPS(schedule=SHORT).restore(y, operator, 0.05, Denoiser(case.prior), many(8))
    assert answer.abs().max() < 10


def test_masks_of_their_own_for_each_image():
    case = problem(1, images=3, components=1)
    operator = InpaintRandom(SHAPE, ratio=0.5).for_images(["a", "b", "c"], 0).to(dtype=torch.float64)
    y = operator.measure(case.truth, 0.05, normal(4, case.truth))
    for sampler in ("langevin", "exact"):
        answer = DAPS(sampler=sampler).restore(y, operator, 0.05, Denoiser(case.prior), many(3))
        assert answer.shape == case.truth.shape
        assert (operator.residual(answer, y) < 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_error_beats_pinv(method):
    case = problem(2, images=32)
    answer, _ = case.restore(method)
    error = (answer - case.truth).square().mean()
    assert error < 0.8 * (case.operator.pinv(case.y) - case.truth).square().mean()


@pytest.mark.parametrize("sampler", ["langevin", "exact"])
def test_residual_has_the_noises_scale_where_the_likelihood_has(sampler):
    case = problem(2, images=32)
    answer, _ = case.restore(DAPS(sampler=sampler, likelihood_std=None))
    residual = case.operator.residual(answer, case.y).square().mean().sqrt() / (case.noise_std * math.sqrt(12))
    assert 0.3 < residual < 3


@pytest.mark.parametrize(("noise_std", "std"), [(0.0, 0.01 / math.sqrt(2)), (0.05, 0.05)])
def test_the_likelihoods_std_follows_the_measurements_down_to_the_authors(noise_std, std):
    case = problem(2, noise_std=noise_std)
    following, _ = case.restore(DAPS(sampler="exact", likelihood_std=None))
    assert torch.equal(following, case.restore(DAPS(sampler="exact", likelihood_std=std))[0])
    assert torch.equal(following, case.restore(DAPS(sampler="exact"))[0]) == (noise_std == 0)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_does_not_depend_on_its_batch(method):
    case = problem(4)
    together, _ = case.restore(method)
    alone = method.restore(
        case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), ImageNoise(0, ["5"], "method")
    )
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"ode_steps": 0}, "ode_steps"),
        ({"ode_sigma_min": 0.0}, "ode_sigma_min"),
        ({"sampler": "gibbs"}, "sampler"),
        ({"langevin_steps": 0}, "langevin_steps"),
        ({"step_size": 0.0}, "step_size"),
        ({"step_decay": 0.0}, "step_decay"),
        ({"momentum": 1.0}, "momentum"),
        ({"likelihood_std": 0.0}, "likelihood_std"),
    ],
)
def test_bad_hyperparameters_are_refused(options, names):
    with pytest.raises(InputError, match=names):
        DAPS(**options)


def test_levels_below_the_odes_end_are_refused():
    with pytest.raises(InputError, match="noise level"):
        problem(0).restore(DAPS(schedule=EDMSchedule(5)))
