"""DAPS as published beside the authors' program: x_t, x_0 after the ODE and x_0 after the chain at every level."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from baselines.daps import DAPS
from tests.baselines.programs import SHAPE, Program, files, operator_of, prior, trajectory
from tests.baselines.seen import Played
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.operators import BlockAverage
from vml_bench.schedule import EDMSchedule

FILES = files("daps")
ASKED_DOWN_TO = 0.005
"""Smallest σ of the programs' network; below the end of the ODE, 0.01."""


def published(meta: dict) -> DAPS:
    """The method with a file's settings, as conf/method/published/daps*.yaml has them."""
    levels = EDMSchedule(meta["annealing_steps"] + 1, sigma_max=meta["sigma_max"], sigma_min=meta["sigma_min"])
    return DAPS(
        ode_steps=meta["ode_steps"],
        langevin_steps=meta["mcmc_steps"],
        step_size=meta["lr"] / (meta["tau"] ** 2 / 2),
        step_decay=meta["lr_min_ratio"],
        momentum=meta["momentum"],
        visit_last_level=False,
        stable_steps=False,
        schedule=levels,
    )


def noises(program: Program, operator) -> list[Tensor]:
    """What the program drew, start first; the chains' in the spectrum, where ours run."""
    meta = program.meta
    drawn = program.noise.unflatten(0, (meta["annealing_steps"], -1))
    chains = [[*(operator.to_spectrum(n) for n in level[:-1]), level[-1]] for level in drawn]
    return [program.start, *(n for level in chains for n in level)]


def rows(program: Program, method: DAPS) -> tuple[Tensor, Tensor]:
    """(levels, 3, B, C, H, W): x_t, x_0 after the ODE, x_0 after the chain, as in the file; and the answer.

    x_t is where the prior is first asked at a level. The ODE's end is one Euler step behind the last x asked there,
    and the chain's end is the next x_t without its fresh noise.
    """
    operator, using = operator_of(program), prior(ASKED_DOWN_TO)
    asked, restored = trajectory(method, program, operator, program.meta["sigma_y"], noises(program, operator), using)
    levels = [asked[i : i + method.ode_steps] for i in range(0, len(asked), method.ode_steps)]
    fresh = program.noise.unflatten(0, (len(levels), -1))[:, -1]
    chain_ends = [b[0][0] - b[0][1] * n for (_, b), n in zip(pairwise(levels), fresh, strict=False)]
    ode_ends = []
    for level in levels:
        x, sigma = level[-1]
        denoised = using(x, sigma)
        ode_ends.append(denoised + 0.01 / sigma * (x - denoised))
    seen = zip([level[0][0] for level in levels], ode_ends, [*chain_ends, restored], strict=True)
    return torch.stack([torch.stack(row) for row in seen]), restored


@pytest.mark.parametrize("name", FILES)
def test_every_level_is_the_programs(name):
    program = Program(name)
    ours, restored = rows(program, published(program.meta))
    assert ours.shape == program.trajectory.shape
    assert torch.allclose(ours, program.trajectory, atol=1e-9, rtol=0)
    assert torch.allclose(restored, program.output, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", FILES)
def test_it_visits_the_programs_levels(name):
    program = Program(name)
    asked = published(program.meta).schedule(prior(ASKED_DOWN_TO))[:-1]
    assert asked == pytest.approx(program.sigmas[:-1].tolist(), rel=1e-12)


@pytest.mark.parametrize("name", FILES)
def test_levels_that_reach_the_last_point_lead_elsewhere(name):
    """F6: the paper's reading, N levels of which the last is σ_min, is another trajectory."""
    program = Program(name)
    method = published(program.meta)
    levels = replace(method.schedule, levels=program.meta["annealing_steps"])
    ours, _ = rows(program, replace(method, visit_last_level=True, schedule=levels))
    assert (ours - program.trajectory).abs().max() > 0.1


def test_the_step_decays_over_one_level_more_than_is_visited():
    """F6: with the program's levels but t/N in place of t/(N + 1), the answer is another one."""
    program = Program(FILES[0])
    method = published(program.meta)
    visited = method.schedule(prior(ASKED_DOWN_TO))[:-1]
    ours, _ = rows(program, replace(method, visit_last_level=True, schedule=lambda _: visited))
    assert (ours - program.trajectory).abs().max() > 1e-3


def test_held_steps_lead_elsewhere_where_the_programs_are_larger():
    """F6: a mask has s_max = 1, where the program's first step is twice 1/L; under a bicubic mean it is below 1/L."""
    mask, bicubic = map(Program, ("daps_mask_langevin", "daps_sr4_bicubic_langevin"))
    held, _ = rows(mask, replace(published(mask.meta), stable_steps=True))
    assert (held - mask.trajectory).abs().max() > 1e-2
    held, _ = rows(bicubic, replace(published(bicubic.meta), stable_steps=True))
    assert torch.allclose(held, bicubic.trajectory, atol=1e-9, rtol=0)


def test_the_published_levels_end_where_the_program_does():
    """200 levels: the last that is visited is σ = 0.106, not 0.1."""
    method = published({**Program(FILES[0]).meta, "annealing_steps": 200})
    assert method.schedule(prior(ASKED_DOWN_TO))[-2] == pytest.approx(0.10604018929603103, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "choice", "task", "settings"),
    [
        ("daps_sr4_bicubic_hmc", "daps_hmc", "sr4_bicubic", {}),
        ("daps_sr4_bicubic_langevin", "daps", "sr4_bicubic", {"mcmc_steps": 100}),
        ("daps_mask_langevin", "daps", "inpaint_random_daps", {"mcmc_steps": 100}),
        ("daps_mask_langevin", "daps", "inpaint_box_daps", {"mcmc_steps": 100, "lr": 5e-5}),
        ("daps_mask_langevin", "daps", "deblur_motion", {"mcmc_steps": 100, "lr": 5e-5}),
    ],
)
def test_the_configuration_has_the_programs_settings(cell_config, name, choice, task, settings):
    """The file's settings, but for the 200 levels of 5 ODE steps and 100 Langevin steps of the published runs."""
    config = cell_config("dataset=photos64", f"task={task}", f"method=published/{choice}")
    built = instantiate(config.method.sampler)
    expected = published({**Program(name).meta, "annealing_steps": 200, "ode_steps": 5, **settings})
    assert (built.step_size, built.likelihood_std) == pytest.approx((expected.step_size, 0.01 / math.sqrt(2)))
    assert built == replace(expected, step_size=built.step_size, likelihood_std=built.likelihood_std)


def test_a_single_level_that_is_not_visited_is_refused():
    method = DAPS(visit_last_level=False, schedule=EDMSchedule(1))
    operator = BlockAverage(SHAPE, 4, dtype=torch.float64)
    with pytest.raises(InputError, match="one level has none before its last"):
        method.restore(torch.zeros(1, 3, 2, 2).double(), operator, 0.05, Denoiser(prior()), None)


def test_it_asks_the_network_as_often_as_the_program():
    program = Program(FILES[0])
    operator, denoiser = operator_of(program), Denoiser(prior(ASKED_DOWN_TO))
    drawn = Played(*noises(program, operator))
    published(program.meta).restore(program.y, operator, program.meta["sigma_y"], denoiser, drawn)
    assert denoiser.nfe == program.meta["annealing_steps"] * program.meta["ode_steps"]
