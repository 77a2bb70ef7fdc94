"""ProxiMAP: the recursion against the gradient descent it is and the prox it converges to; the loop around it."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.lmaps import LMAPS
from baselines.proximap import ProxiMAP, proximap
from tests.baselines.seen import step
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.priors.closed_form import random_gaussian, random_mixture
from vml_bench.schedule import EDMSchedule


def normal(seed: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def score(prior, x: torch.Tensor, sigma: float) -> torch.Tensor:
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_density(x, sigma).sum(), x)
    return gradient


@pytest.mark.parametrize(("noise", "power", "weight_power"), [("vanishing", 1, 0), ("matched", 2, 1)])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_recursion_is_gradient_descent_on_smoothed_objectives(steps, noise, power, weight_power):
    """Proposition 1 of arXiv:2507.15397, with the score by autograd; "matched" has τ/(k + 1) for its weight τ."""
    sigma = 0.4
    prior = random_mixture(SHAPE, 3, seed=1, sigma_min=1e-6)
    z = prior.sample(4, torch.Generator().manual_seed(0))
    z = z + sigma * normal(1, z)
    x, tau = z, sigma**2
    for k in range(steps - 1):
        pull = tau / (k + 1) ** weight_power * score(prior, x, math.sqrt(tau / (k + 1) ** power))
        x = x - ((x - z) - pull) / (k + 2)
    last = math.sqrt(tau / steps**power)
    expected = x + last**2 * score(prior, x, last)
    ours = proximap(Denoiser(prior), z, sigma, steps, noise)
    assert torch.allclose(ours, expected, atol=1e-9, rtol=0)


def gaussian_prox_errors(all_steps: list[int]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """‖x_K − prox_{−τ ln p}(z)‖ of the vanishing recursion, of each image, and ‖z − prox‖, for a Gaussian prior."""
    sigma = 0.5
    prior = random_gaussian(SHAPE, seed=2, decay=2.0, sigma_min=1e-9)
    z = prior.sample(3, torch.Generator().manual_seed(0))
    z = z + sigma * normal(1, z)
    mean, precision = prior.means[0], prior.precisions[0]
    system = torch.eye(32).double() + sigma**2 * precision
    prox = torch.linalg.solve(system, (z.flatten(1) + sigma**2 * (precision @ mean)).T).T
    errors = []
    for steps in all_steps:
        denoised = proximap(Denoiser(prior), z, sigma, steps, "vanishing")
        iterate = steps / (steps + 1) * denoised + z / (steps + 1)
        errors.append((iterate.flatten(1) - prox).norm(dim=1))
    return errors, (z.flatten(1) - prox).norm(dim=1)


def test_converges_to_the_prox_within_the_published_bound():
    """Theorem 1 of arXiv:2507.15397; the third derivative of a Gaussian's ln p, and with it M, is 0."""
    all_steps = [1, 3, 10, 100, 1000]
    errors, distance = gaussian_prox_errors(all_steps)
    for steps, error in zip(all_steps, errors, strict=True):
        assert (error <= (math.log(steps) + 7) / (steps + 1) * distance).all()
    assert (errors[-1] < 0.15 * errors[-2]).all()
    assert (errors[-1] < 0.01 * distance).all()


def test_one_step_is_the_denoiser():
    prior = random_mixture(SHAPE, 3, seed=1)
    z = normal(0, prior.sample(2, torch.Generator().manual_seed(0)))
    assert torch.equal(proximap(Denoiser(prior), z, 0.3, 1), prior(z, 0.3))


def test_never_asks_below_sigma_min():
    asked = []

    class Recorder:
        sigma_min = 0.1

        def __call__(self, x, sigma):
            asked.append(sigma)
            return x

    proximap(Recorder(), torch.zeros(1, *SHAPE), 0.4, 6)
    assert asked == pytest.approx([0.4, 0.2, 0.4 / 3, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("fresh", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(15.0, 9.0), (0.8, 0.5), (0.02, 0.0)])
def test_step_is_diffpirs_in_the_variance_preserving_frame(sigma, sigma_next, fresh):
    """Algorithm 1 of arXiv:2305.08995, its denoiser replaced; the data step solved as a dense linear system."""
    case = problem(0, images=3)
    penalty, steps = 2.5, 3
    x, n = case.truth + sigma * normal(1, case.truth), normal(2, case.truth)
    alpha_bar, alpha_bar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    x_0 = proximap(Denoiser(case.prior), x, sigma, steps).flatten(1)
    h = case.operator.forward(torch.eye(32).double().reshape(32, *SHAPE)).T
    rho = penalty * case.noise_std**2 * alpha_bar / (1 - alpha_bar)
    x_0 = torch.linalg.solve(h.T @ h + rho * torch.eye(32).double(), (case.y @ h + rho * x_0).T).T.reshape(x.shape)
    epsilon = (math.sqrt(alpha_bar) * x - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
    noise = math.sqrt(1 - fresh) * epsilon + math.sqrt(fresh) * n
    x_vp_next = math.sqrt(alpha_bar_next) * x_0 + math.sqrt(1 - alpha_bar_next) * noise
    method = ProxiMAP(inner_steps=steps, late=1.0, penalty=penalty, fresh=fresh)
    ours = step(method, x, sigma, sigma_next, n, case.y, case.operator, case.noise_std, case.prior, start_std=sigma)
    assert torch.allclose(math.sqrt(alpha_bar_next) * ours, x_vp_next, atol=1e-6, rtol=0)


def test_plain_plug_and_play_with_fresh_noise_is_lmaps_at_its_bound():
    case = problem(3)
    schedule = EDMSchedule(15)
    plain, _ = case.restore(ProxiMAP(late=0.0, schedule=schedule))
    local, _ = case.restore(LMAPS(prior_std=math.inf, schedule=schedule))
    assert torch.allclose(plain, local, atol=1e-10)


@pytest.mark.parametrize(("late", "nfe"), [(0.0, 12), (0.5, 6 + 6 * 4), (1.0, 12 * 4)])
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
def test_finite_counted_and_true_to_a_noiseless_measurement(noise_std, late, nfe):
    case = problem(1, noise_std=noise_std)
    answer, denoiser = case.restore(ProxiMAP(inner_steps=4, late=late, schedule=EDMSchedule(12)))
    assert torch.isfinite(answer).all()
    assert (denoiser.nfe, denoiser.vjps) == (nfe, 0)
    if noise_std == 0:
        assert case.operator.residual(answer, case.y).max() < 1e-9


@pytest.mark.parametrize("noise", ["matched", "vanishing"])
@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_error_beats_pinv(noise_std, noise):
    case = problem(2, images=32, components=1, noise_std=noise_std)
    answer, _ = case.restore(ProxiMAP(noise=noise))
    error = (answer - case.truth).square().mean()
    assert error < 0.8 * (case.operator.pinv(case.y) - case.truth).square().mean()


def test_an_image_does_not_depend_on_its_batch():
    case = problem(4)
    method = ProxiMAP(schedule=EDMSchedule(12))
    together, _ = case.restore(method)
    noise = ImageNoise(0, ["5"], "method")
    alone = method.restore(case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), noise)
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [("inner_steps", 0), ("late", 1.5), ("noise", "constant"), ("penalty", 0.0), ("fresh", -0.1)],
)
def test_bad_hyperparameters_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        ProxiMAP(**{field: value})
