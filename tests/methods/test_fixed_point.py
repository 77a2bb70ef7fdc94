"""When x ← x + η d converges, at which rate, and where it does not (docstring of `vml_fixed_point`)."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.methods.problems import problem
from vml_bench.denoiser import Denoiser
from vml_bench.methods import VMLMAPPreconditioned
from vml_bench.methods.loop import preconditioned_direction
from vml_bench.operators import DenseOperator, SpectralOperator
from vml_bench.priors.closed_form import GaussianMixturePrior, GaussianPrior, random_mixture

SMALL = (1, 1, 3)


def iterate(case: tuple, x: Tensor, eta: float, steps: int) -> list[Tensor]:
    """x and its successors under x ← x + η d; case is (prior, operator, y, σ_y, σ)."""
    prior, operator, y, noise_std, sigma = case
    path = [x]
    for _ in range(steps):
        x = x + eta * preconditioned_direction(x, prior(x, sigma), y, operator, noise_std, sigma)
        path.append(x)
    return path


def reflections(case: tuple, x: Tensor) -> tuple[Tensor, Tensor]:
    """R = I − 2W and S = I − 2J at one image x, as matrices."""
    prior, operator, _, noise_std, sigma = case
    n = x.numel()
    identity = torch.eye(n, dtype=torch.float64)
    h = operator.forward(identity.reshape(n, *x.shape[1:])).T
    w = h.T @ torch.linalg.inv(h @ h.T + noise_std**2 / sigma**2 * torch.eye(len(h)).double()) @ h
    return identity - 2 * w, identity - 2 * prior.covariance(x, sigma)[0] / sigma**2


def step_jacobian(case: tuple, x: Tensor, eta: float) -> Tensor:
    """I − ηA, A = (I + RS)/2."""
    r, s = reflections(case, x)
    identity = torch.eye(len(r), dtype=torch.float64)
    return identity - eta * (identity + r @ s) / 2


def small_case(seed: int, components: int, sigma: float, noise_std: float) -> tuple:
    """Three dimensions, two random measurements of one image."""
    prior = random_mixture(SMALL, components, seed)
    generator = torch.Generator().manual_seed(seed)
    operator = DenseOperator(SMALL, torch.randn(2, 3, generator=generator, dtype=torch.float64))
    return prior, operator, operator.forward(prior.sample(1, generator)), noise_std, sigma


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_the_step_is_douglas_rachfords(noise_std):
    case = problem(0, images=4, noise_std=noise_std)
    x = case.truth + 0.3
    denoised = case.prior(x, 0.3)
    d = preconditioned_direction(x, denoised, case.y, case.operator, noise_std, 0.3)
    splitting = case.operator.prox(2 * denoised - x, case.y, noise_std, 0.3**2) - denoised
    assert torch.allclose(d, splitting, atol=1e-10)


@pytest.mark.parametrize("noise_std", [0.0, 0.1])
@pytest.mark.parametrize("eta", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("components", [1, 3])
def test_stated_jacobian_is_the_steps(components, eta, noise_std):
    case = small_case(1, components, 0.4, noise_std)
    x = torch.full((1, *SMALL), 0.2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: iterate(case, z, eta, 1)[1], x).reshape(3, 3)
    assert torch.allclose(jacobian, step_jacobian(case, x, eta), atol=1e-10)


@pytest.mark.parametrize("eta", [1.0, 1.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("components", [1, 3])
def test_errors_shrink_at_the_predicted_rate(components, seed, eta):
    """Along the slowest eigenvector of I − ηA at the fixed point, by its eigenvalue's modulus a step, to 1e-3."""
    case = small_case(seed, components, 0.4, 0.1)
    fixed = iterate(case, torch.zeros(1, *SMALL, dtype=torch.float64), eta, 3000)[-1]
    assert torch.allclose(iterate(case, fixed, eta, 1)[1], fixed, atol=1e-12)
    eigenvalues, eigenvectors = torch.linalg.eig(step_jacobian(case, fixed, eta))
    slowest = int(eigenvalues.abs().argmax())
    assert eigenvalues[slowest].abs() < 1
    start = fixed + 1e-4 * eigenvectors[:, slowest].real.reshape(fixed.shape)
    path = iterate(case, start, eta, 12)
    along = [torch.linalg.solve(eigenvectors, (x - fixed).flatten().to(eigenvectors))[slowest].abs() for x in path]
    assert float(along[-1] / along[0]) ** (1 / 12) == pytest.approx(float(eigenvalues[slowest].abs()), abs=1e-3)


@pytest.mark.parametrize(("s", "noise_std"), [(0.0, 0.1), (0.7, 0.1), (0.7, 0.0)])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_rate_of_a_coordinate(sigma, s, noise_std):
    """1 − ηa, a = (1 − w)(1 − j) + w j, and with the Jacobian 1 − η j a, where J and HᵀH commute: one dimension."""
    prior = GaussianPrior(torch.tensor([0.3]).double(), torch.tensor([[0.25]]).double(), (1, 1, 1))
    case = (prior, DenseOperator((1, 1, 1), torch.tensor([[s]]).double()), torch.ones(1, 1).double(), noise_std, sigma)
    j = 0.25 / (0.25 + sigma**2)
    w = s**2 * sigma**2 / (s**2 * sigma**2 + noise_std**2)
    x, y, z = (float(point) for point in iterate(case, torch.ones(1, 1, 1, 1).double(), 0.8, 2))
    a = (1 - w) * (1 - j) + w * j
    assert (z - y) / (y - x) == pytest.approx(1 - 0.8 * a, abs=1e-7)

    def preconditioned(point: Tensor) -> Tensor:
        _, d = VMLMAPPreconditioned().direction(point, sigma, case[2], case[1], noise_std, Denoiser(prior))
        return point + 0.8 * d

    x = torch.ones(1, 1, 1, 1).double()
    y = preconditioned(x)
    assert float((preconditioned(y) - y) / (y - x)) == pytest.approx(1 - 0.8 * j * a, abs=1e-7)


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_a_log_concave_prior_contracts_from_anywhere(sigma, eta):
    case = problem(3, images=1, components=1)
    stated = (case.prior, case.operator, case.y, case.noise_std, sigma)
    r, s = reflections(stated, case.truth)
    norms = [float(torch.linalg.matrix_norm(m, 2)) for m in (r, s, step_jacobian(stated, case.truth, eta))]
    assert norms[0] <= 1 + 1e-12
    assert norms[1] < 1
    assert norms[2] <= abs(1 - eta / 2) + eta / 2 * norms[0] * norms[1] + 1e-12
    path = iterate(stated, 100 + case.truth, eta, 50)
    steps = [float((b - a).norm()) for a, b in pairwise(path)]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(steps))


def between_two_modes(noise_std: float) -> tuple[SpectralOperator, tuple]:
    """Modes at ±1 of width 0.1, σ = 0.3, and the measurement 0, half-way."""
    prior = GaussianMixturePrior(
        torch.tensor([0.5, 0.5]).double(),
        torch.tensor([[-1.0], [1.0]]).double(),
        torch.full((2, 1, 1), 0.01).double(),
        (1, 1, 1),
    )
    operator = DenseOperator((1, 1, 1), torch.ones(1, 1).double())
    return prior, operator, torch.zeros(1, 1).double(), noise_std, 0.3


@pytest.mark.parametrize("noise_std", [0.0, 1e-3])
def test_an_improbable_measurement_between_modes_makes_the_full_step_cycle(noise_std):
    case = between_two_modes(noise_std)
    path = iterate(case, torch.full((1, 1, 1, 1), 0.2).double(), 1.0, 200)
    assert torch.allclose(path[-1], path[-3], atol=1e-9)
    assert torch.allclose(path[-1], -path[-2], atol=1e-3)
    assert path[-1].abs() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("noise_std", [0.0, 1e-3])
def test_a_step_below_the_stated_bound_mends_the_cycle(noise_std):
    case = between_two_modes(noise_std)
    middle = torch.zeros(1, 1, 1, 1).double()
    a = float(torch.linalg.eigvals(1 - step_jacobian(case, middle, 1.0)).abs().max())
    assert a > 2
    path = iterate(case, middle + 0.2, 1.8 / a, 400)
    assert path[-1].abs() < 1e-9
    assert case[0](path[-1], 0.3).abs() < 1e-8
    assert iterate(case, middle + 1e-6, 2.2 / a, 400)[-1].abs() > 1e-3
