"""The VML methods' directions, counts and contract."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.baselines.seen import path
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.methods import VMLMAP, VMLFixedPoint, VMLMAPPreconditioned
from vml_bench.methods.loop import preconditioned_direction
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator
from vml_bench.schedule import EDMSchedule

SHORT = EDMSchedule(6)
METHODS = [
    VMLMAP(inner_steps=2, schedule=SHORT),
    VMLMAPPreconditioned(inner_steps=2, schedule=SHORT),
    VMLFixedPoint(inner_steps=2, schedule=SHORT),
]


def matrix_of(operator: DenseOperator) -> torch.Tensor:
    """H as an (M, n) matrix, column by column."""
    n = operator.singular_values.numel()
    return operator.forward(torch.eye(n, dtype=torch.float64).reshape(n, *operator.image_shape)).T


def state(noise_std: float, sigma: float):
    case = problem(1, images=3, noise_std=noise_std)
    x = case.truth + sigma * torch.randn(case.truth.shape, generator=torch.Generator().manual_seed(0)).double()
    return case, x, case.prior(x, sigma)


def simplified_loss(case, x: torch.Tensor, sigma: float) -> torch.Tensor:
    """VML_S = −log p(x_t) − ‖D − x_t‖²/(2σ²) + ‖y − H D‖²/(2σ_y²) (design, section 4), summed over images."""
    denoised = case.prior(x, sigma)
    fit = (case.y - case.operator.forward(denoised)).square().sum() / (2 * case.noise_std**2)
    return -case.prior.log_density(x, sigma).sum() - (denoised - x).square().sum() / (2 * sigma**2) + fit


@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_plain_step_is_gradient_descent_on_the_loss(sigma):
    case, x, _ = state(0.05, sigma)
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(simplified_loss(case, point, sigma), point)
    curvature = 1 / sigma**2 + float(case.operator.singular_values.max()) ** 2 / case.noise_std**2
    _, d = VMLMAP().direction(x, sigma, case.y, case.operator, case.noise_std, Denoiser(case.prior))
    assert torch.allclose(d, -gradient / curvature, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_preconditioned_direction_is_the_matrix_formula(sigma):
    case, x, denoised = state(0.05, sigma)
    h = matrix_of(case.operator)
    precision = h.T @ h / case.noise_std**2 + torch.eye(h.shape[1], dtype=h.dtype) / sigma**2
    residual = case.y - denoised.flatten(1) @ h.T
    bracket = (x - denoised).flatten(1) / sigma**2 - residual @ h / case.noise_std**2
    expected = -torch.linalg.solve(precision, bracket.T).T.reshape(x.shape)
    d = preconditioned_direction(x, denoised, case.y, case.operator, case.noise_std, sigma)
    assert torch.allclose(d, expected, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_directions_without_noise_are_their_limits(method):
    case, x, _ = state(0.0, 0.3)
    exact, near = (
        method.direction(x, 0.3, case.y, case.operator, noise_std, Denoiser(case.prior))[1] for noise_std in (0.0, 1e-7)
    )
    assert torch.isfinite(exact).all()
    assert torch.allclose(exact, near, atol=1e-6)


def test_full_noiseless_step_meets_the_measurement():
    case, x, denoised = state(0.0, 0.3)
    d = preconditioned_direction(x, denoised, case.y, case.operator, 0.0, 0.3)
    assert case.operator.residual(denoised + d, case.y).max() < 1e-10


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
@pytest.mark.parametrize("method", METHODS)
def test_an_operator_that_measures_nothing_gives_no_nan(method, noise_std):
    case = problem(1, images=3)
    nothing = DenseOperator(SHAPE, torch.zeros(4, 32, dtype=torch.float64))
    noise = ImageNoise(0, "abc", "method")
    answer = method.restore(torch.zeros(3, 4).double(), nothing, noise_std, Denoiser(case.prior), noise)
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise_std", [0.0, 0.05, 1.0])
def test_counts_shape_and_finiteness(method, noise_std):
    case = problem(3, noise_std=noise_std)
    answer, denoiser = case.restore(method)
    assert answer.shape == case.truth.shape
    assert torch.isfinite(answer).all()
    assert denoiser.nfe == 6 * 2
    assert denoiser.vjps == (0 if isinstance(method, VMLFixedPoint) else 6 * 2)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_stays_single(method):
    case = problem(3)
    noise = ImageNoise(0, [str(i) for i in range(8)], "method")
    operator = case.operator.to(dtype=torch.float32)
    answer = method.restore(case.y.float(), operator, 0.05, Denoiser(case.prior), noise)
    exact, _ = case.restore(method)
    assert answer.dtype == torch.float32
    assert torch.allclose(answer, exact.float(), atol=2e-3)


@pytest.mark.parametrize("method", [*METHODS, VMLFixedPoint(2, move="renoise", schedule=SHORT)])
def test_an_image_does_not_depend_on_its_batch(method):
    case = problem(4)
    together, _ = case.restore(method)
    alone = method.restore(
        case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), ImageNoise(0, ["5"], "method")
    )
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize("move", ["stationary", "flow", "renoise"])
def test_moves(move):
    case, n, _ = state(0.05, 0.3)  # any numbers serve as noise
    given = case.y, case.operator, 0.05, case.prior
    x, reached, answer = path(VMLFixedPoint(1, move=move), [0.3, 0.1], [n, n + 1], *given)
    denoised = case.prior(x, 0.3)
    x = x + preconditioned_direction(x, denoised, case.y, case.operator, 0.05, 0.3)
    expected = {
        "flow": x + (0.1 - 0.3) * (x - denoised) / 0.3,
        "stationary": denoised + (x - denoised) / 9,
        "renoise": case.prior(x, 0.3) + 0.1 * (n + 1),
    }
    assert torch.allclose(reached, expected[move])
    assert torch.equal(answer, case.prior(reached, 0.1))


@pytest.mark.parametrize("method", METHODS)
def test_the_answer_is_d_of_the_last_step_or_of_where_that_arrived(method):
    case, n, _ = state(0.05, 0.3)  # any numbers serve as noise
    one = replace(method, inner_steps=1)
    x, answer = path(one, [0.3], [n], case.y, case.operator, 0.05, case.prior)
    _, d = one.direction(x, 0.3, case.y, case.operator, 0.05, Denoiser(case.prior))
    assert torch.equal(answer, case.prior(x, 0.3))
    *_, answer = path(replace(one, final_denoise=True), [0.3], [n], case.y, case.operator, 0.05, case.prior)
    assert torch.allclose(answer, case.prior(x + d, 0.3), atol=1e-12)
    _, counted = case.restore(replace(method, final_denoise=True))
    assert counted.nfe == 6 * 2 + 1


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_observed_coordinates_can_be_those_of_y_and_the_others_stay(method):
    case = problem(2, noise_std=0.0)
    plain, counted = case.restore(method)
    replaced, also = case.restore(replace(method, replace_observed=True))
    assert case.operator.residual(plain, case.y).min() > 1e-6
    assert case.operator.residual(replaced, case.y).max() < 1e-12
    moved = replaced - plain
    assert torch.allclose(case.operator.pinv(case.operator.forward(moved)), moved, atol=1e-12)
    assert (counted.nfe, counted.vjps) == (also.nfe, also.vjps)
    noisy = problem(2, noise_std=0.05)
    assert torch.equal(noisy.restore(method)[0], noisy.restore(replace(method, replace_observed=True))[0])


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_stationary_move_lands_on_the_next_stationary_point_of_a_gaussian(noise_std):
    case = problem(5, components=1, noise_std=noise_std)
    solution = case.posterior.map()
    pull = case.prior.precisions[0] @ (solution.flatten(1) - case.prior.means[0]).T
    here, there = (solution + sigma**2 * pull.T.reshape(solution.shape) for sigma in (0.3, 0.1))
    method = VMLFixedPoint(inner_steps=1)
    reached = path(method, [0.3, 0.1], [here / 0.3], case.y, case.operator, noise_std, case.prior)
    assert torch.allclose(torch.stack(reached), torch.stack([here, there, solution]), atol=1e-8)


def first_point(start: str, sigma: float, case, noise_std: float, *noise: torch.Tensor) -> torch.Tensor:
    """x_t at the first level, which is σ."""
    return path(VMLFixedPoint(1, start=start), [sigma], noise, case.y, case.operator, noise_std, case.prior)[0]


def test_starting_points():
    case, n, _ = state(0.05, 0.3)  # any numbers serve as noise
    assert torch.equal(first_point("noise", 20.0, case, 0.05, n), 20.0 * n)
    assert torch.equal(first_point("centre", 20.0, case, 0.05), torch.zeros_like(case.truth))


@pytest.mark.parametrize("noise_std", [0.0, 0.05, 0.5])
def test_the_start_from_the_pseudo_inverse_is_a_full_step_from_the_centre_with_the_centre_for_d(noise_std):
    case, _, _ = state(0.05, 0.3)
    centre = torch.zeros_like(case.truth)
    x = first_point("pinv", 2.0, case, noise_std)
    step = preconditioned_direction(centre, centre, case.y, case.operator, noise_std, 2.0)
    assert torch.allclose(x, step, atol=1e-12)
    if noise_std == 0:
        assert torch.allclose(x, case.operator.pinv(case.y), atol=1e-12)


@pytest.mark.parametrize("method", [VMLMAP, VMLMAPPreconditioned])
def test_forward_differences_restore_as_the_backward_pass_does_and_are_counted_as_evaluations(method):
    case = problem(2, images=6)
    schedule = EDMSchedule(20, sigma_max=10.0, sigma_min=0.02)
    reverse, counted = case.restore(method(start="centre", schedule=schedule))
    difference, also_counted = case.restore(method(start="centre", schedule=schedule, jacobian="forward_difference"))
    assert (counted.nfe, counted.vjps) == (100, 100)
    assert (also_counted.nfe, also_counted.vjps) == (200, 0)
    gaps = case.posterior.map_gap(reverse), case.posterior.map_gap(difference)
    assert torch.allclose(*gaps, rtol=0.05, atol=0.01)
    assert not torch.equal(reverse, difference)


@pytest.mark.parametrize("jacobian", ["backward", ""])
def test_an_unknown_jacobian_is_refused(jacobian):
    with pytest.raises(InputError, match="'reverse' or 'forward_difference'"):
        VMLMAPPreconditioned(jacobian=jacobian)
    case, x, _ = state(0.05, 0.3)
    with pytest.raises(InputError, match="use reverse or forward_difference"):
        Denoiser(case.prior).vjp(x, 0.3, jacobian)


@pytest.mark.parametrize("method", [VMLMAP, VMLMAPPreconditioned, VMLFixedPoint])
@pytest.mark.parametrize("bad", [{"inner_steps": 0}, {"step_size": 0.0}, {"move": "jump"}, {"start": "top"}])
def test_bad_hyperparameters_are_refused(method, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        method(**bad)
