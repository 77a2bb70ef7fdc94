"""DPS beside its authors' program: the trajectories of `golden/` whose names begin with dps, and single steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from baselines.dps import DPS
from tests.baselines.programs import Program, files, operator_of, preserving, prior, trajectory
from tests.baselines.seen import WithVariance, step
from tests.methods.problems import SHAPE as VECTOR
from tests.methods.problems import problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.schedule import DDPMSchedule

FILES = files("dps")
PUBLISHED = [name for name in FILES if name.endswith("published")]
EXACT = 1e-9


def as_program(program: Program) -> dict[str, object]:
    learned = "lower bound" not in program.meta["variance"]
    return {"clip": program.meta["clip_denoised"], "variance": "learned" if learned else "small"}


def difference(program: Program, y: Tensor | None = None, **options: object) -> float:
    """Largest difference over all x_t, in the variance-preserving frame, and the answer."""
    meta = program.meta
    program.y = program.y if y is None else y
    method = DPS(scale=meta["zeta"], schedule=DDPMSchedule(levels=meta["steps"]), **options)
    using = WithVariance(prior(), program.v)
    noises = [program.start, *program.noise]
    asked, answer = trajectory(method, program, operator_of(program), meta["sigma_y"], noises, using)
    ours = [preserving(x, sigma) for x, sigma in asked] + [answer]
    theirs = [program.start, *program.trajectory]
    assert len(ours) == len(theirs) == meta["steps"] + 1
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_programs(name):
    program = Program(name)
    assert difference(program, **as_program(program)) <= EXACT


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("formula", [{"clip": False}, {"variance": "small"}])
def test_each_option_is_needed_for_it(name, formula):
    program = Program(name)
    assert difference(program, **as_program(program) | formula) > 1e-3


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "mask" in name])
def test_so_is_the_noise_on_unseen_pixels(name):
    program = Program(name)
    seen_alone = operator_of(program).on_support(program.y)
    assert not seen_alone.equal(program.y)
    assert difference(program, seen_alone, **as_program(program)) > 1e-3


def programs_step(x_vp, alpha_bar, alpha_bar_next, y, operator, using, scale, z) -> Tensor:
    """One step of one image: clipped x̂_0, log variance between DDPM's two; with σ in no formula."""
    x_vp = x_vp.clone().requires_grad_()
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    denoised, v = using.with_variance(x_vp / math.sqrt(alpha_bar), sigma)
    x0_hat = denoised.clamp(-1, 1)
    beta = 1 - alpha_bar / alpha_bar_next
    mean = (
        math.sqrt(alpha_bar_next) * beta / (1 - alpha_bar) * x0_hat
        + math.sqrt(1 - beta) * (1 - alpha_bar_next) / (1 - alpha_bar) * x_vp
    )
    share = (v + 1) / 2
    smaller = beta * (1 - alpha_bar_next) / (1 - alpha_bar)
    noise = 0 if smaller == 0 else torch.exp((share * math.log(beta) + (1 - share) * math.log(smaller)) / 2) * z
    (gradient,) = torch.autograd.grad((y - operator.forward(x0_hat)).norm(), x_vp)
    return (mean + noise - scale * gradient).detach()


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(15.0, 9.0), (0.8, 0.5), (0.05, 0.02), (0.02, 0.0)])
def test_a_step_is_the_programs_on_any_operator(sigma, sigma_next, noise_std):
    case = problem(0, images=4, noise_std=noise_std)
    draw = torch.Generator().manual_seed(1)
    n, z = (torch.randn(case.truth.shape, generator=draw, dtype=torch.float64) for _ in range(2))
    using = WithVariance(case.prior, torch.rand(1, *VECTOR, generator=draw, dtype=torch.float64) * 2 - 1)
    x = (1.5 + 4 * sigma**2) * case.truth + sigma * n
    assert 0.01 < (case.prior(x, sigma).abs() > 1).double().mean() < 0.9, "nothing or all would be clipped"
    ours = step(
        DPS(scale=0.3, clip=True, variance="learned"), x, sigma, sigma_next, z, case.y, case.operator, noise_std, using
    )
    alpha_bar, alpha_bar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    for i in range(4):
        theirs = programs_step(
            math.sqrt(alpha_bar) * x[i : i + 1],
            *(alpha_bar, alpha_bar_next, case.y[i : i + 1], case.operator, using, 0.3, z[i : i + 1]),
        )
        assert torch.allclose(math.sqrt(alpha_bar_next) * ours[i : i + 1], theirs, atol=1e-9, rtol=0)


def test_the_learned_variance_costs_no_further_evaluation():
    case = problem(0)
    denoiser = Denoiser(WithVariance(case.prior, 0.5))
    noise = type("Zero", (), {"randn_like": staticmethod(torch.zeros_like)})
    DPS(schedule=DDPMSchedule(levels=5), variance="learned").restore(case.y, case.operator, 0.05, denoiser, noise)
    assert (denoiser.nfe, denoiser.vjps) == (5, 5)


def test_a_prior_without_it_is_refused_before_it_is_asked():
    case = problem(0)
    method = DPS(variance="learned")
    with pytest.raises(InputError, match=r"learned none; set method\.sampler\.variance=small"):
        method.check(case.prior)
    denoiser = Denoiser(case.prior)
    with pytest.raises(InputError, match="learned none"):
        method.restore(case.y, case.operator, 0.05, denoiser, None)
    assert denoiser.nfe == 0
    DPS().check(case.prior)
    method.check(WithVariance(case.prior, 0.0))
