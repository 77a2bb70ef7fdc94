"""ΠGDM as published beside NVlabs' program: every x_t, and the answer.

The mask's file was made without one branch of algos/pgdm.py, which a degradation named `in2…` takes and which sets the
seen pixels: `keep_measured`. It is therefore held to what it does, not to a file.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from baselines.pigdm import PiGDM
from tests.baselines.programs import Program, files, operator_of, preserving, prior, trajectory
from tests.baselines.seen import Played
from vml_bench.denoiser import Denoiser
from vml_bench.schedule import DDPMSchedule

FILES = files("pigdm")


def published(meta: dict) -> PiGDM:
    """The method with a file's settings, as conf/method/published/pigdm.yaml has them for tasks without a mask."""
    return PiGDM(
        eta=meta["eta"],
        adaptive_weight="one",
        schedule=DDPMSchedule(meta["steps"], spacing="leading"),
        use_noise_std=False,
        start="pinv",
    )


def rows(program: Program, method: PiGDM) -> Tensor:
    """x_t of every level and the answer, as in the file."""
    operator, sigma_0 = operator_of(program), program.meta["sigma_0"]
    asked, restored = trajectory(method, program, operator, sigma_0, list(program.noise), prior())
    return torch.stack([*(preserving(x, sigma) for x, sigma in asked), restored])


def furthest(program: Program, method: PiGDM) -> float:
    """Largest difference to the program over the whole trajectory."""
    return float((rows(program, method) - program.trajectory).abs().max())


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_programs(name):
    program = Program(name)
    assert len(program.trajectory) == program.meta["steps"] + 1
    assert furthest(program, published(program.meta)) <= 1e-9


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "formula", [{"adaptive_weight": True}, {"adaptive_weight": False}, {"start": "noise"}, {"eta": 0.5}]
)
def test_each_option_is_needed(name, formula):
    """F10: the weight of the guidance and the start."""
    program = Program(name)
    assert furthest(program, replace(published(program.meta), **formula)) > 1e-3


def test_the_programs_guidance_ignores_the_noise_of_the_measurement():
    """F10: σ_y matters where it is not 0, and only there."""
    noisy, exact = Program("pigdm_sr4_0.1"), Program("pigdm_sr4_0")
    assert furthest(noisy, replace(published(noisy.meta), use_noise_std=True)) > 1e-3
    assert furthest(exact, replace(published(exact.meta), use_noise_std=True)) <= 1e-9


@pytest.mark.parametrize(("task", "masked"), [("sr4", False), ("deblur_gauss_ddrm", False), ("inpaint_box", True)])
def test_the_configuration_has_the_programs_settings(cell_config, task, masked):
    config = cell_config("dataset=photos64", f"task={task}", "method=published/pigdm")
    expected = published({"eta": 1.0, "steps": 100})
    assert instantiate(config.method.sampler) == replace(expected, keep_measured=masked)


def test_the_masks_file_was_made_without_setting_seen_pixels():
    """With the branch for `in2…` the program's answer would have y where the mask sees; its file has not."""
    program = Program("pigdm_in2_0")
    assert (program.mask * (program.trajectory[-1] - program.y)).abs().max() > 1e-3
    assert furthest(program, replace(published(program.meta), keep_measured=True)) > 1e-3


def test_seen_pixels_are_set_to_the_measurement_at_every_step():
    """algos/pgdm.py, `in2`: there x' is y and the step's noise, part of it still D's, and no guidance."""
    program = Program("pigdm_in2_0")
    operator, using = operator_of(program), prior()
    method = replace(published(program.meta), keep_measured=True)
    asked, restored = trajectory(method, program, operator, 0.0, list(program.noise), using)
    for ((x, sigma), (x_next, sigma_next)), n in zip(
        pairwise([*asked, (restored, 0.0)]), program.noise[1:], strict=True
    ):
        share = (sigma_next / sigma) ** 2
        epsilon = (x - using(x, sigma)) / sigma
        seen = program.y + sigma_next * (math.sqrt(share) * epsilon + math.sqrt(1 - share) * n)
        assert torch.allclose(program.mask * x_next, program.mask * seen, atol=1e-10, rtol=0)


def test_unseen_pixels_are_guided_as_ever():
    """Setting the seen pixels changes no other pixel of a step."""
    program = Program("pigdm_in2_0")
    operator, using = operator_of(program), prior()
    kept, free = (
        trajectory(
            replace(published(program.meta), keep_measured=keep), program, operator, 0.0, list(program.noise), using
        )[0][1][0]
        for keep in (True, False)
    )
    assert torch.allclose((1 - program.mask) * kept, (1 - program.mask) * free, atol=1e-12)
    assert (program.mask * (kept - free)).abs().max() > 1e-3


@pytest.mark.parametrize("name", FILES)
def test_what_is_kept_is_the_measurement(name):
    """The answer of `keep_measured` has H x = y, whatever the operator."""
    program = Program(name)
    method = replace(published(program.meta), keep_measured=True)
    restored = method.restore(program.y, operator_of(program), 0.0, Denoiser(prior()), Played(*program.noise))
    assert torch.allclose(operator_of(program).residual(restored, program.y), torch.zeros(2).double(), atol=1e-12)
