"""DDNM and DDNM+ against the authors' formulas and against what a Gaussian prior makes of them, in float64."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from baselines.ddnm import DDNM, visits
from tests.baselines.seen import step
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator, InpaintRandom
from vml_bench.priors.closed_form import GaussianPrior, random_mixture
from vml_bench.schedule import DDPMSchedule

SMALL = (1, 2, 4)
TRAVEL = DDNM(travel_length=3, travel_repeat=2, schedule=DDPMSchedule(20))


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class OneStream:
    """Noise for a whole batch from one generator: fast, where images need no streams of their own."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def randn_like(self, x: torch.Tensor) -> torch.Tensor:
        return torch.randn(x.shape, generator=self.generator, dtype=x.dtype)


def spectral_case(noise_std: float):
    """Singular values from 0 to 2, so that every case of DDNM+ occurs at once."""
    s = torch.cat([torch.zeros(8), torch.logspace(-3, 0.3, 24)]).double()
    operator = DenseOperator(SHAPE, torch.diag(s) @ torch.linalg.qr(normal(7, 32, 32))[0])
    prior = random_mixture(SHAPE, 3, seed=4)
    truth = prior.sample(3, torch.Generator().manual_seed(5))
    return operator, prior, truth, operator.measure(truth, noise_std, normal(6, 3, 32))


def ddnm_plus_factors(s, a, sigma_t, noise_std, eta):
    """λ, and the weights of n and of ε, of one singular value in the variance-preserving frame; the case's name."""
    if s == 0:
        return 1.0, sigma_t * eta, sigma_t * math.sqrt(1 - eta**2), "unobserved"
    if sigma_t < a * noise_std / s:
        return s * sigma_t * math.sqrt(1 - eta**2) / (a * noise_std), sigma_t * eta, 0.0, "noisy y"
    return 1.0, math.sqrt(sigma_t**2 - (a * noise_std / s) ** 2), 0.0, "clean y"


def ddnm_step_as_published(x_vp, alpha_bar, alpha_bar_next, y, operator, noise_std, prior, eta, n):
    """DDNM (eq. 13-14) or DDNM+ (eq. 17-19) of one image; n is a spectrum. Also the cases that occurred."""
    x0 = prior(x_vp / math.sqrt(alpha_bar), math.sqrt((1 - alpha_bar) / alpha_bar))
    eps = (x_vp - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar)
    a, sigma_t = math.sqrt(alpha_bar_next), math.sqrt(1 - alpha_bar_next)
    null_to_range = operator.pinv(operator.forward(x0)) - operator.pinv(y)
    if noise_std == 0:
        noise = sigma_t * (eta * operator.from_spectrum(n) + math.sqrt(1 - eta**2) * eps)
        return a * (x0 - null_to_range) + noise, {"exact y"}
    factors = [ddnm_plus_factors(s, a, sigma_t, noise_std, eta) for s in operator.singular_values.flatten().tolist()]
    lam, of_n, of_eps = (
        torch.tensor(column, dtype=torch.float64).reshape(SHAPE) for column in list(zip(*factors, strict=True))[:3]
    )
    corrected = x0 - operator.from_spectrum(lam * operator.to_spectrum(null_to_range))
    noise = operator.from_spectrum(of_n * n + of_eps * operator.to_spectrum(eps))
    return a * corrected + noise, {factor[3] for factor in factors}


@pytest.mark.parametrize("eta", [0.85, 0.0, 1.0])
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(10.0, 4.0), (0.6, 0.3), (0.05, 0.02), (0.02, 0.0)])
def test_step_is_the_papers(sigma, sigma_next, noise_std, eta):
    operator, prior, truth, y = spectral_case(noise_std)
    x, n = truth + sigma * normal(1, *truth.shape), normal(2, *truth.shape)
    ours = step(DDNM(eta), x, sigma, sigma_next, n, y, operator, noise_std, prior)
    a, a_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    for i in range(3):
        one = slice(i, i + 1)
        paper, cases = ddnm_step_as_published(
            math.sqrt(a) * x[one], a, a_next, y[one], operator, noise_std, prior, eta, n[one]
        )
        assert torch.allclose(math.sqrt(a_next) * ours[one], paper, atol=1e-6, rtol=0)
    if noise_std == 0.05 and sigma_next in (0.3, 0.02):
        assert cases == {"unobserved", "noisy y"} | ({"clean y"} if sigma_next > 0.025 else set())


def authors_times(steps: int, length: int, repeat: int) -> list[int]:
    """The schedule of functions/svd_ddnm.py, in words: count down from `steps` − 1; on reaching a multiple of
    `length`, climb `length` steps as often as `repeat` − 1 times. Climbs are listed by their ends, for each step of a
    climb noises the same D afresh."""
    left = {j: repeat - 1 for j in range(0, steps - length, length)}
    times, t = [steps - 1], steps - 1
    while t > 0 or left.get(t, 0) > 0:
        if left.get(t, 0) > 0:
            left[t] -= 1
            t += length
        else:
            t -= 1
        times.append(t)
    return times


@pytest.mark.parametrize("length", [1, 2, 3, 10])
@pytest.mark.parametrize("repeat", [1, 2, 3])
def test_time_travel_is_the_authors(length, repeat):
    for steps in (1, 2, 7, 10, 20):
        assert [steps - 1 - k for k in visits(steps, length, repeat)] == authors_times(steps, length, repeat)
    assert list(visits(5, length=2, repeat=2)) == [0, 1, 2, 0, 1, 2, 3, 4, 2, 3, 4]


@pytest.mark.parametrize("method", [DDNM(), DDNM(schedule=DDPMSchedule(20)), TRAVEL])
def test_without_noise_the_measurement_is_met(method):
    case = problem(3, components=1, noise_std=0.0)
    answer, _ = case.restore(method)
    assert case.operator.residual(answer, case.y).max() < 1e-12


def recursion(levels, s, y_bar, noise_std, eta):
    """Mean and variance of a spectral coordinate at the end, for the prior N(0, 1), in plain numbers."""
    mean, variance = 0.0, 1 + levels[0] ** 2
    for sigma, sigma_next in pairwise([*levels, 0.0]):
        d, kept = 1 / (1 + sigma**2), math.sqrt(1 - eta**2) * sigma_next
        if s > 0 and noise_std <= s * sigma_next:
            of_x, of_y, fresh = 0.0, 1 / s, sigma_next**2 - (noise_std / s) ** 2
            of_x, fresh = (kept * (1 - d) / sigma, (eta * sigma_next) ** 2) if noise_std == 0 else (of_x, fresh)
        elif s > 0:
            share = kept * s / noise_std
            of_x, of_y, fresh = (1 - share) * d, share / s, (eta * sigma_next) ** 2
        else:
            of_x, of_y, fresh = d + kept * (1 - d) / sigma, 0.0, (eta * sigma_next) ** 2
        mean, variance = of_x * mean + of_y * y_bar, of_x**2 * variance + fresh
    return mean, variance


@pytest.mark.parametrize("noise_std", [0.0, 0.05, 0.5])
def test_on_a_gaussian_it_follows_its_recursion(noise_std):
    """4,000 samples: a mean errs by std/√4000, a variance by √(2/4000)."""
    operator = DenseOperator(SMALL, torch.diag(torch.tensor([0, 0, 0.02, 0.1, 0.5, 1, 1.5, 2]).double()))
    prior = GaussianPrior(torch.zeros(8).double(), torch.eye(8).double(), SMALL)
    y = operator.measure(normal(3, 1, *SMALL), noise_std, normal(4, 1, 8))
    method = DDNM(schedule=DDPMSchedule(40))
    samples = method.restore(y.expand(4000, -1), operator, noise_std, Denoiser(prior), OneStream(0))
    c, y_bar = operator.to_spectrum(samples).flatten(1), operator.measurement_to_spectrum(y).flatten()
    for i, s in enumerate(operator.singular_values.flatten().tolist()):
        mean, variance = recursion(method.schedule(prior), s, float(y_bar[i]), noise_std, 0.85)
        assert abs(c[:, i].mean() - mean) < 5 * math.sqrt(variance / 4000) + 1e-12
        assert abs(c[:, i].var() - variance) < 5 * math.sqrt(2 / 4000) * variance + 1e-12


@pytest.mark.parametrize(("method", "nfe"), [(DDNM(), 100), (TRAVEL, 20 + 6 * 3)])
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
@pytest.mark.parametrize("own_masks", [False, True])
def test_finite_and_counted(method, nfe, noise_std, own_masks):
    case = problem(1, noise_std=noise_std)
    operator = case.operator
    if own_masks:
        operator = InpaintRandom(SHAPE, ratio=0.6, dtype=torch.float64).for_images("abcdefgh", 0)
    y = operator.measure(case.truth, noise_std, normal(3, *operator.forward(case.truth).shape))
    denoiser = Denoiser(case.prior)
    answer = method.restore(y, operator, noise_std, denoiser, OneStream(0))
    assert torch.isfinite(answer).all()
    assert (answer - case.truth).square().mean() < 2 * case.truth.square().mean()  # twice: a sample, not a mean
    assert (denoiser.nfe, denoiser.vjps) == (nfe, 0)


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
@pytest.mark.parametrize("method", [DDNM(schedule=DDPMSchedule(20)), TRAVEL])
def test_an_image_does_not_depend_on_its_batch(method, noise_std):
    case = problem(4, noise_std=noise_std)
    together, _ = case.restore(method)
    alone = method.restore(case.y[5:6], case.operator, noise_std, Denoiser(case.prior), ImageNoise(0, ["5"], "method"))
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize("bad", [{"eta": 1.1}, {"eta": -0.1}, {"travel_length": 0}, {"travel_repeat": 0}])
def test_bad_hyperparameters_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        DDNM(**bad)
