"""ΠGDM and TMPD against their papers' formulas and against posteriors that are known exactly, in float64."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from baselines.pigdm import PiGDM
from baselines.tmpd import TMPD, shortened
from tests.baselines.seen import step
from tests.methods.problems import SHAPE, Problem, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import BlockAverage, DenseOperator, InpaintRandom, RandomProjection
from vml_bench.priors.closed_form import GaussianPrior, random_gaussian, random_mixture
from vml_bench.schedule import DDPMSchedule, EDMSchedule

N = math.prod(SHAPE)
SMALL = (1, 2, 4)
SIGMAS = [(15.0, 9.0), (0.8, 0.5), (0.05, 0.02), (0.02, 0.0)]
SHORT = DDPMSchedule(10)
METHODS = [
    PiGDM(schedule=SHORT),
    PiGDM(adaptive_weight=False, schedule=SHORT),
    TMPD(schedule=SHORT),
    TMPD(covariance="full", schedule=SHORT),
]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class OneStream:
    """Noise for a whole batch from one generator: fast, where images need no streams of their own."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def randn_like(self, x: torch.Tensor) -> torch.Tensor:
        return torch.randn(x.shape, generator=self.generator, dtype=x.dtype)


def matrix_of(operator) -> torch.Tensor:
    """H as an (M, n) matrix."""
    n = math.prod(operator.image_shape)
    return operator.forward(torch.eye(n, dtype=torch.float64).reshape(n, *operator.image_shape)).flatten(1).T


def graded_operator() -> DenseOperator:
    """Singular values from 0 to 2."""
    s = torch.cat([torch.zeros(8), torch.logspace(-3, 0.3, 24)]).double()
    return DenseOperator(SHAPE, torch.diag(s) @ torch.linalg.qr(normal(7, N, N))[0])


def smooth_prior() -> GaussianPrior:
    """Neighbours are alike, as in images: row sums of covariances do not cancel."""
    i = torch.arange(N, dtype=torch.float64)
    return GaussianPrior(0.1 * normal(3, N), 0.25 * torch.exp(-(i[:, None] - i).abs() / 4), SHAPE)


def measured(operator, prior, noise_std: float, images: int = 3):
    truth = prior.sample(images, torch.Generator().manual_seed(5))
    y = operator.forward(truth)
    return truth, operator.measure(truth, noise_std, normal(6, *y.shape))


def vp(x_vp: torch.Tensor, alpha_bar: float, prior):
    """x̂_0 and ε̂ of one image in the variance-preserving frame, and ∂x̂_0/∂x_vp as an (n, n) matrix."""

    def x0_hat(flat: torch.Tensor) -> torch.Tensor:
        sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
        return prior(flat.reshape(1, *SHAPE) / math.sqrt(alpha_bar), sigma).flatten()

    jacobian = torch.autograd.functional.jacobian(x0_hat, x_vp)
    x0 = x0_hat(x_vp)
    return x0, (x_vp - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar), jacobian


def ddim(alpha_bar: float, alpha_bar_next: float, eta: float) -> tuple[float, float]:
    """c_1 and c_2 of DDIM (arXiv:2010.02502, eq. 12 and 16)."""
    c1 = eta * math.sqrt((1 - alpha_bar / alpha_bar_next) * (1 - alpha_bar_next) / (1 - alpha_bar))
    return c1, math.sqrt(1 - alpha_bar_next - c1**2)


def pigdm_as_published(x_vp, alpha_bar, alpha_bar_next, y, h, noise_std, prior, eta, z, adaptive):
    """Algorithm 1 with eq. 7 (r² = 1 − ᾱ), or the conditional score of eq. 7 in DDIM as it stands."""
    x0, eps, jacobian = vp(x_vp, alpha_bar, prior)
    r2 = 1 - alpha_bar
    covariance = r2 * h @ h.T + noise_std**2 * torch.eye(len(h), dtype=h.dtype)
    score = jacobian.T @ h.T @ torch.linalg.pinv(covariance, hermitian=True, rtol=1e-12) @ (y - h @ x0)
    c1, c2 = ddim(alpha_bar, alpha_bar_next, eta)
    if adaptive:
        return math.sqrt(alpha_bar_next) * x0 + c1 * z + c2 * eps + math.sqrt(alpha_bar) * r2 * score
    eps = eps - math.sqrt(1 - alpha_bar) * score
    x0 = (x_vp - math.sqrt(1 - alpha_bar) * eps) / math.sqrt(alpha_bar)
    return math.sqrt(alpha_bar_next) * x0 + c1 * z + c2 * eps


def tmpd_as_published(x_vp, alpha_bar, alpha_bar_next, y, h, noise_std, prior, z, row_sum):
    """KPDDPM and KPDDPMplus of the authors' code: DDPM's posterior (arXiv:2006.11239, eq. 7) at the moved x̂_0."""
    x0, _, jacobian = vp(x_vp, alpha_bar, prior)
    m, v, v_next = math.sqrt(alpha_bar), 1 - alpha_bar, 1 - alpha_bar_next
    moment = h @ jacobian @ h.T
    moment = torch.diag(moment.sum(dim=0)) if row_sum else moment
    moment = moment + noise_std**2 / (v / m) * torch.eye(len(h), dtype=h.dtype)
    x0 = x0 + jacobian.T @ h.T @ torch.linalg.pinv(moment, hermitian=True, rtol=1e-12) @ (y - h @ x0)
    alpha = alpha_bar / alpha_bar_next
    mean = math.sqrt(alpha) * v_next / v * x_vp + math.sqrt(alpha_bar_next) * (1 - alpha) / v * x0
    return mean + math.sqrt((1 - alpha) * v_next / v) * z


def assert_steps_agree(method, published, operator, prior, noise_std, sigma, sigma_next):
    truth, y = measured(operator, prior, noise_std)
    x = truth + sigma * normal(1, *truth.shape)
    z, h = normal(2, *truth.shape), matrix_of(operator)
    ours = step(method, x, sigma, sigma_next, z, y, operator, noise_std, prior)
    a, a_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    for i in range(len(x)):
        x_vp = math.sqrt(a) * x[i].flatten()
        paper = published(x_vp, a, a_next, y[i].flatten(), h, noise_std, prior, z=z[i].flatten())
        assert torch.allclose(math.sqrt(a_next) * ours[i].flatten(), paper, atol=1e-6, rtol=0)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("noise_std", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), SIGMAS)
def test_pigdm_step_is_the_papers(sigma, sigma_next, noise_std, adaptive):
    for eta in (1.0, 0.4):

        def published(*args, eta=eta, **keywords):
            return pigdm_as_published(*args, eta=eta, adaptive=adaptive, **keywords)

        method = PiGDM(eta, adaptive)
        assert_steps_agree(
            method, published, graded_operator(), random_mixture(SHAPE, 3, 4), noise_std, sigma, sigma_next
        )


@pytest.mark.parametrize("noise_std", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(("sigma", "sigma_next"), SIGMAS)
def test_tmpd_step_is_the_papers(sigma, sigma_next, noise_std):
    def full(*args, **keywords):
        return tmpd_as_published(*args, row_sum=False, **keywords)

    def row_sum(*args, **keywords):
        return tmpd_as_published(*args, row_sum=True, **keywords)

    case = (noise_std, sigma, sigma_next)
    assert_steps_agree(TMPD(covariance="full"), full, graded_operator(), random_gaussian(SHAPE, 4), *case)
    assert_steps_agree(TMPD(), row_sum, BlockAverage(SHAPE, 2, dtype=torch.float64), smooth_prior(), *case)


def exact_mean(x, sigma, y, operator, noise_std, prior) -> torch.Tensor:
    """E[x_0 | x_t, y] for a Gaussian prior, (B, n): D and Cov[x_0 | x_t] conditioned on y."""
    h, d, c = matrix_of(operator), prior(x, sigma).flatten(1), prior.covariance(x, sigma)
    moment = h @ c @ h.T + noise_std**2 * torch.eye(len(h), dtype=h.dtype)
    innovation = (y.flatten(1) - d @ h.T)[..., None]
    return d + (c @ h.T @ torch.linalg.pinv(moment, hermitian=True, rtol=1e-13) @ innovation)[..., 0]


def diagonal_case():
    """H and the prior's covariance diagonal in the same basis: H Cov Hᵀ is its own diagonal."""
    operator = DenseOperator(SMALL, torch.diag(torch.tensor([0, 0, 0.5, 0.8, 1, 1.2, 1.5, 2]).double()))
    return operator, GaussianPrior(0.3 * normal(8, 8), torch.diag(torch.linspace(0.1, 1, 8).double()), SMALL)


def standard_case():
    """The prior N(0, I), on which ΠGDM's p(x_0 | x_t) is exact."""
    operator, _ = diagonal_case()
    return operator, GaussianPrior(torch.zeros(8).double(), torch.eye(8).double(), SMALL)


def general_case():
    """No basis in which both are diagonal."""
    return RandomProjection(SMALL, 4, 0, dtype=torch.float64), random_gaussian(SMALL, 4)


EXACT = [
    (PiGDM(adaptive_weight=False, schedule=EDMSchedule(200)), standard_case),
    (TMPD(schedule=EDMSchedule(200)), diagonal_case),
    (TMPD(covariance="full", schedule=EDMSchedule(200)), general_case),
]


@pytest.mark.parametrize(("method", "case"), EXACT)
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
@pytest.mark.parametrize("sigma", [9.0, 0.5, 0.01])
def test_on_gaussians_the_guided_mean_is_exact(method, case, noise_std, sigma):
    """The step to σ = 0 ends at E[x_0 | x_t, y]."""
    operator, prior = case()
    truth, y = measured(operator, prior, noise_std)
    x = truth + sigma * normal(1, *truth.shape)
    ours = step(method, x, sigma, 0.0, torch.zeros_like(x), y, operator, noise_std, prior).flatten(1)
    assert torch.allclose(ours, exact_mean(x, sigma, y, operator, noise_std, prior), atol=1e-8)


@pytest.mark.parametrize(("method", "case"), EXACT)
def test_on_gaussians_samples_are_the_posteriors(method, case):
    """2,000 samples in 8 dimensions: a mean errs by 0.022 of its std, a variance by 3 %, a covariance by 6 %.

    200 levels add to that: they leave the variances about 5 % too small.
    """
    operator, prior = case()
    _, y = measured(operator, prior, 0.3, images=1)
    samples = method.restore(y.expand(2000, -1), operator, 0.3, Denoiser(prior), OneStream(1)).flatten(1)
    posterior = prior.posterior(y, operator, 0.3)
    covariance = posterior.covariances[0, 0]
    errors = (samples.mean(0) - posterior.mean.flatten()) / covariance.diagonal().sqrt()
    assert errors.abs().max() < 0.12
    assert abs((samples.var(0) / covariance.diagonal()).mean() - 1) < 0.08
    assert torch.linalg.norm(samples.T.cov() - covariance) < 0.15 * torch.linalg.norm(covariance)


def pigdm_recursion(levels, s: float, y_bar: float, noise_std: float) -> tuple[float, float]:
    """Mean and variance of a spectral coordinate under algorithm 1 (η = 1) and the prior N(0, 1), in plain numbers."""
    mean, variance = 0.0, 1 + levels[0] ** 2
    for sigma, sigma_next in pairwise([*levels, 0.0]):
        d, kept = 1 / (1 + sigma**2), (sigma_next / sigma) ** 2
        r2 = sigma**2 * d
        gain = math.sqrt(1 + sigma_next**2) * d * r2 * s / (r2 * s**2 + noise_std**2)
        slope = d + kept * (1 - d) - gain * s * d
        mean, variance = slope * mean + gain * y_bar, slope**2 * variance + sigma_next**2 * (1 - kept)
    return mean, variance


def test_pigdm_as_published_follows_its_recursion_and_overweighs_y_as_levels_are_added():
    """On N(0, I) algorithm 1 shrinks the spread of what is observed, to 0 in the limit, around y itself."""
    operator, prior = standard_case()
    _, y = measured(operator, prior, 0.5, images=1)
    few, many = DDPMSchedule(50)(prior), DDPMSchedule(600)(prior)
    samples = PiGDM().restore(y.expand(4000, -1), operator, 0.5, Denoiser(prior), OneStream(2))
    c, y_bar = operator.to_spectrum(samples).flatten(1), operator.measurement_to_spectrum(y).flatten()
    for i, s in enumerate(operator.singular_values.flatten().tolist()):
        mean, variance = pigdm_recursion(few, s, float(y_bar[i]), 0.5)
        assert abs(c[:, i].mean() - mean) < 5 * math.sqrt(variance / 4000)
        assert abs(c[:, i].var() / variance - 1) < 5 * math.sqrt(2 / 4000)
        if s > 0:
            exact_mean, exact_variance = s * y_bar[i] / (s**2 + 0.25), 0.25 / (s**2 + 0.25)
            mean_of_many, variance_of_many = pigdm_recursion(many, s, float(y_bar[i]), 0.5)
            assert variance_of_many < variance / 3 < exact_variance / 9
            assert abs(mean_of_many - y_bar[i] / s) < abs(mean_of_many - exact_mean) / 4


def masked(case: Problem) -> InpaintRandom:
    """A mask for each image: singular values of shape (B, C, H, W)."""
    return InpaintRandom(SHAPE, ratio=0.6, dtype=torch.float64).for_images([str(i) for i in range(len(case.y))], 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
@pytest.mark.parametrize("own_masks", [False, True])
def test_finite_and_counted(method, noise_std, own_masks):
    case = problem(1, noise_std=noise_std)
    operator = masked(case) if own_masks else case.operator
    y = operator.measure(case.truth, noise_std, normal(3, *operator.forward(case.truth).shape))
    denoiser = Denoiser(case.prior)
    answer = method.restore(y, operator, noise_std, denoiser, OneStream(0))
    assert torch.isfinite(answer).all()
    assert (answer - case.truth).square().mean() < 2 * case.truth.square().mean()  # twice: a sample, not a mean
    observed = int((operator.singular_values.reshape(-1, N) > 0).any(dim=0).sum())
    products = {"row_sum": 2, "full": observed + 1}.get(getattr(method, "covariance", None), 1)
    assert (denoiser.nfe, denoiser.vjps) == (10, 10 * products)


@pytest.mark.parametrize("method", [PiGDM(), TMPD(covariance="full", schedule=SHORT)])
def test_without_noise_the_measurement_is_met(method):
    """ΠGDM meets it up to what the last level, σ = 0.01 of the DDPM schedule, leaves open."""
    case = problem(3, components=1, noise_std=0.0)
    answer, _ = case.restore(method)
    assert case.operator.residual(answer, case.y).max() < (1e-9 if isinstance(method, TMPD) else 0.01)


def test_row_sums_that_cancel_do_not_diverge():
    """Random rows: without its guards the same run ends at 1e7."""
    case = problem(1, images=16, noise_std=0.0)
    answer, _ = case.restore(TMPD())
    assert (answer - case.truth).square().mean().sqrt() < 0.3


def test_a_correction_is_shortened_only_where_it_must_overshoot():
    operator = BlockAverage(SHAPE, 2, dtype=torch.float64)
    correction = normal(1, 3, *SHAPE)
    reach = operator.forward(correction)
    error = torch.stack([reach[0] / 1.9, reach[1] / 2.1, 0 * reach[2]])
    short = shortened(correction, error, operator)
    assert torch.equal(short[0], correction[0])
    assert torch.allclose(short[1], correction[1] / 2.1)
    assert short[2].abs().max() == 0


@pytest.mark.parametrize("method", METHODS)
def test_an_image_does_not_depend_on_its_batch(method):
    case = problem(4)
    operator = masked(case)
    y = operator.measure(case.truth, 0.05, normal(3, *case.truth.shape))
    noise = ImageNoise(0, [str(i) for i in range(8)], "method")
    together = method.restore(y, operator, 0.05, Denoiser(case.prior), noise)
    own = InpaintRandom(SHAPE, ratio=0.6, dtype=torch.float64).for_images(["5"], 0)
    alone = method.restore(y[5:6], own, 0.05, Denoiser(case.prior), ImageNoise(0, ["5"], "method"))
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(2.0, 0.5), (0.3, 0.05), (0.3, 0.0)])
def test_with_the_whole_noise_pigdm_steps_as_the_library_does(sigma, sigma_next):
    """x_0 = D + Jᵀ H⁺(y − H D), its observed coordinates replaced by those of y, x ← x_0 + σ_next n."""
    case = problem(4, noise_std=0.0)
    x, n = normal(1, *case.truth.shape), normal(2, *case.truth.shape)
    denoised, pull_back = Denoiser(case.prior).vjp(x, sigma)
    x_0 = denoised + pull_back(case.operator.pinv(case.y - case.operator.forward(denoised)))
    x_0 = x_0 + case.operator.pinv(case.y - case.operator.forward(x_0))
    method = PiGDM(eta=1.0, adaptive_weight="one", keep_measured=True, fresh_noise="whole")
    reached = step(method, x, sigma, sigma_next, n, case.y, case.operator, 0.0, case.prior)
    assert torch.allclose(reached, x_0 + sigma_next * n, atol=1e-9)


def test_with_the_whole_noise_eta_shares_it_between_old_and_new():
    case = problem(4, noise_std=0.05)
    x, n = normal(1, *case.truth.shape), normal(2, *case.truth.shape)
    steps = [
        step(PiGDM(eta=eta, fresh_noise=kind), x, 0.3, 0.1, n, case.y, case.operator, 0.05, case.prior)
        for eta, kind in ((0.0, "ancestral"), (0.0, "whole"), (0.5, "ancestral"), (0.5, "whole"))
    ]
    assert torch.equal(steps[0], steps[1])
    epsilon = (x - case.prior(x, 0.3)) / 0.3
    shares = [0.25 * (1 - 1 / 9), 0.25]  # of the variance 0.1²: of the ancestral step's noise, and of the whole
    expected = [0.1 * ((math.sqrt(1 - s) - 1) * epsilon + math.sqrt(s) * n) for s in shares]
    for reached, moved in zip(steps[2:], expected, strict=True):
        assert torch.allclose(reached - steps[0], moved, atol=1e-9)


def test_a_pull_back_serves_again_only_while_retained():
    case = problem(0)
    denoiser = Denoiser(case.prior)
    _, pull_back = denoiser.vjp(case.truth, 0.3)
    first, second = pull_back(case.truth, retain=True), pull_back(case.truth)
    assert torch.equal(first, second)
    assert (denoiser.nfe, denoiser.vjps) == (1, 2)
    with pytest.raises(RuntimeError, match="second time"):
        pull_back(case.truth)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: PiGDM(eta=1.5), "eta"),
        (lambda: PiGDM(eta=-0.1), "eta"),
        (lambda: TMPD(covariance="diagonal"), "covariance"),
        (lambda: TMPD(floor=0.0), "floor"),
    ],
)
def test_bad_hyperparameters_are_refused(make, names):
    with pytest.raises(InputError, match=names):
        make()
