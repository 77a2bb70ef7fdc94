"""One step of DPS and of DDRM against the papers' own formulas, written out here independently, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.ddrm import DDRM
from baselines.dps import DPS
from tests.baselines.seen import path, step
from tests.methods.problems import SHAPE, problem
from vml_bench.operators import DenseOperator
from vml_bench.priors.closed_form import random_mixture


def normal(seed: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dps_step_as_published(x_vp, alpha_bar, alpha_bar_next, y, operator, prior, scale, z):
    """Algorithm 1 of arXiv:2209.14687 for one image, with ᾱ_{i−1} = alpha_bar_next and the network as a score."""
    x_vp = x_vp.clone().requires_grad_()
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    score = (math.sqrt(alpha_bar) * prior(x_vp / math.sqrt(alpha_bar), sigma) - x_vp) / (1 - alpha_bar)
    x0_hat = (x_vp + (1 - alpha_bar) * score) / math.sqrt(alpha_bar)
    alpha = alpha_bar / alpha_bar_next
    beta = 1 - alpha
    posterior_std = math.sqrt(beta * (1 - alpha_bar_next) / (1 - alpha_bar))
    ancestral = (
        math.sqrt(alpha) * (1 - alpha_bar_next) / (1 - alpha_bar) * x_vp
        + math.sqrt(alpha_bar_next) * beta / (1 - alpha_bar) * x0_hat
        + posterior_std * z
    )
    (gradient,) = torch.autograd.grad(torch.linalg.norm(y - operator.forward(x0_hat)), x_vp)
    return (ancestral - scale * gradient).detach()


@pytest.mark.parametrize(("sigma", "sigma_next"), [(15.0, 9.0), (0.8, 0.5), (0.05, 0.02), (0.02, 0.0)])
def test_dps_step_is_the_papers(sigma, sigma_next):
    case = problem(0, images=4)
    x = case.truth + sigma * normal(1, case.truth)
    z = normal(2, x)
    ours = step(DPS(scale=0.3), x, sigma, sigma_next, z, case.y, case.operator, case.noise_std, case.prior)
    alpha_bar, alpha_bar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    for i in range(4):
        x_vp = math.sqrt(alpha_bar) * x[i : i + 1]
        paper = dps_step_as_published(
            x_vp, alpha_bar, alpha_bar_next, case.y[i : i + 1], case.operator, case.prior, 0.3, z[i : i + 1]
        )
        assert torch.allclose(math.sqrt(alpha_bar_next) * ours[i : i + 1], paper, atol=1e-6, rtol=0)


def test_dps_guidance_at_a_met_measurement_is_zero():
    case = problem(0, images=2)
    x = math.sqrt(1 + 0.3**2) * case.truth
    denoised = case.prior(x, 0.3)
    met = case.operator.forward(denoised)
    _, moved, _ = path(DPS(scale=5.0), [0.3, 0.1], [case.truth], met, case.operator, 0.0, case.prior)
    assert torch.allclose(moved, denoised + (x - denoised) / 9)


def spectral_case(noise_std: float):
    """Singular values from 0 to 2, so that every case of DDRM occurs at once."""
    s = torch.cat([torch.zeros(8), torch.logspace(-3, 0.3, 24)]).double()
    operator = DenseOperator(SHAPE, torch.diag(s) @ torch.linalg.qr(normal(7, torch.empty(32, 32)))[0])
    prior = random_mixture(SHAPE, 3, seed=4)
    truth = prior.sample(3, torch.Generator().manual_seed(5))
    return operator, prior, truth, operator.measure(truth, noise_std, normal(6, operator.forward(truth)))


def ddrm_mean_and_std(s, y_bar, x0_bar, x_bar, sigma, sigma_next, noise_std, eta, eta_b):
    """Equation 8 of arXiv:2201.11793 for one coordinate; y_bar is a coordinate of Σ†Uᵀy. Also the case's name."""
    kept = math.sqrt(1 - eta**2) * sigma_next
    if s == 0:
        return x0_bar + kept * (x_bar - x0_bar) / sigma, eta * sigma_next, "unobserved"
    if sigma_next < noise_std / s:
        return x0_bar + kept * (y_bar - x0_bar) / (noise_std / s), eta * sigma_next, "noisy y"
    variance = sigma_next**2 - (noise_std / s) ** 2 * eta_b**2
    return (1 - eta_b) * x0_bar + eta_b * y_bar, math.sqrt(variance), "clean y"


@pytest.mark.parametrize(("eta", "eta_b"), [(0.85, 1.0), (0.3, 0.6)])
@pytest.mark.parametrize("noise_std", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(10.0, 4.0), (0.6, 0.3), (0.05, 0.0)])
def test_ddrm_step_is_the_papers(sigma, sigma_next, noise_std, eta, eta_b):
    operator, prior, truth, y = spectral_case(noise_std)
    z = normal(2, truth)
    levels = [sigma, sigma_next] if sigma_next > 0 else [sigma]
    x, ours, *_ = path(DDRM(eta, eta_b), levels, [normal(1, truth), z], y, operator, noise_std, prior)
    ours = operator.to_spectrum(ours).flatten(1)
    s = operator.singular_values.flatten()
    y_bar = torch.where(s > 0, operator.measurement_to_spectrum(y).flatten(1) / s, 0)
    x_bar, x0_bar = operator.to_spectrum(x).flatten(1), operator.to_spectrum(prior(x, sigma)).flatten(1)
    cases = set()
    for b in range(3):
        for i in range(32):
            mean, std, name = ddrm_mean_and_std(
                float(s[i]), y_bar[b, i], x0_bar[b, i], x_bar[b, i], sigma, sigma_next, noise_std, eta, eta_b
            )
            cases.add(name)
            assert math.isclose(ours[b, i], mean + std * z.flatten(1)[b, i], abs_tol=1e-6)
    assert "unobserved" in cases
    if noise_std == 0.05 and sigma_next > 0:
        assert cases == {"unobserved", "noisy y", "clean y"}


@pytest.mark.parametrize("noise_std", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("sigma", [157.0, 0.5])
def test_ddrm_start_is_the_papers(sigma, noise_std):
    """Equation 7; where x_T is cleaner than y, which the paper excludes, the coordinate counts as unobserved."""
    operator, prior, truth, y = spectral_case(noise_std)
    z = normal(3, truth)
    start, _ = path(DDRM(), [sigma], [z], y, operator, noise_std, prior)
    start = operator.to_spectrum(start).flatten(1)
    s, y_bar = operator.singular_values.flatten(), operator.measurement_to_spectrum(y).flatten(1)
    for b in range(3):
        for i in range(32):
            mean, variance = 0.0, sigma**2
            if s[i] > 0 and noise_std / s[i] <= sigma:
                mean, variance = y_bar[b, i] / s[i], sigma**2 - float(noise_std / s[i]) ** 2
            assert math.isclose(
                start[b, i], mean + math.sqrt(variance) * z.flatten(1)[b, i], rel_tol=1e-9, abs_tol=1e-6
            )
