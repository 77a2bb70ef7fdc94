"""DDRM beside its authors' program, over whole trajectories: the files of `golden/` whose names begin with ddrm."""

from __future__ import annotations

import pytest
import torch

from baselines.ddrm import DDRM
from tests.baselines.programs import (
    SHAPE,
    Program,
    files,
    operator_of,
    prior,
    rounded_grey,
    step_differences,
)
from tests.baselines.seen import Played, Recorder
from vml_bench.denoiser import Denoiser
from vml_bench.operators import GaussianBlur, SpectralOperator
from vml_bench.schedule import DDPMSchedule

FILES = files("ddrm")
EXACT = 1e-9
ROUNDED_WEIGHTS = 5e-4
"""Colour: the program sees 0.3333 R + 0.3334 G + 0.3333 B, this project the mean."""
AS_PROGRAM = {"last_step": "denoised", "null_direction": "measurement", "unit_start": True}


def differences(program: Program, operator: SpectralOperator, **options) -> list[float]:
    """Largest difference of each x_t from the program's, in the variance-preserving frame; that of the answer last."""
    meta = program.meta
    schedule = DDPMSchedule(levels=meta["steps"], spacing="leading")
    method = DDRM(eta=meta["eta"], eta_b=meta["eta_b"], schedule=schedule, **options)
    noises = [operator.to_spectrum(noise) for noise in (program.start, *program.noise)]
    return step_differences(method, program, operator, meta["sigma_0"], noises)


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_programs(name: str) -> None:
    program = Program(name)
    allowed = ROUNDED_WEIGHTS if program.meta["task"] == "color" else EXACT
    assert max(differences(program, operator_of(program), **AS_PROGRAM)) <= allowed


@pytest.mark.parametrize("name", [name for name in FILES if "color" in name])
def test_rounded_weights_are_all_that_differs_in_colour(name: str) -> None:
    assert max(differences(Program(name), rounded_grey(), **AS_PROGRAM)) <= EXACT


@pytest.mark.parametrize("name", FILES)
def test_equations_start_otherwise_and_without_noise_end_otherwise(name: str) -> None:
    program = Program(name)
    first, *_, last = differences(program, operator_of(program))
    assert first > 1e-4
    assert (last > 0.01) == (program.meta["sigma_0"] == 0)


@pytest.mark.parametrize("name", [name for name in FILES if "deblur" in name])
def test_true_blurs_are_not_the_programs(name: str) -> None:
    program = Program(name)
    assert max(differences(program, operator_of(program, scrambled=False), **AS_PROGRAM)) > 0.1


@pytest.mark.parametrize("scrambled", [True, False])
def test_measured_noise_is_the_direction_where_a_blur_has_been_cut(scrambled: bool) -> None:
    """The steps of the program in the null space, by hand: no file has a blur with singular values under 0.03."""
    operator = GaussianBlur(
        SHAPE, 9, (1.0, 20.0), None, "zero", True, zero_below=0.03, dtype=torch.float64, scrambled=scrambled
    )
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = operator.measure(torch.zeros_like(noise), 0.1, noise)
    unseen = (operator.singular_values == 0).expand_as(noise)
    assert unseen.any()
    reached = {}
    for direction in ("network", "measurement"):
        recorder = Recorder(prior())
        method = DDRM(eta=0.6, null_direction=direction, schedule=lambda _: [3.0, 1.0])
        method.restore(y, operator, 0.1, Denoiser(recorder), Played(noise))  # no fresh noise
        (x, sigma), (x_next, sigma_next) = recorder.asked
        moved = operator.to_spectrum(x_next - prior()(x, sigma))
        reached[direction] = moved[unseen] / (sigma_next * 0.8)
        epsilon = operator.to_spectrum(x - prior()(x, sigma))[unseen] / sigma
        assert torch.allclose(reached[direction], epsilon, atol=1e-9) == (direction == "network")
    of_y = (operator.u_vertical.mT @ noise @ operator.u_horizontal)[unseen]
    assert torch.allclose(reached["measurement"], of_y, atol=1e-9)


@pytest.mark.parametrize("task", ["sr4", "inp", "deblur_gauss"])
def test_measured_noise_changes_nothing_where_every_measured_value_counts(task: str) -> None:
    program = Program(f"ddrm_{task}_0.1")
    options = {"last_step": "denoised", "unit_start": True, "null_direction": "network"}
    assert max(differences(program, operator_of(program), **options)) <= EXACT
