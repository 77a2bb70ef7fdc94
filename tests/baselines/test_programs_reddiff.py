"""RED-diff as published beside the authors' program: μ after every step of Adam, and what it saves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from baselines.reddiff import REDDiff
from tests.baselines.programs import Program, files, operator_of, prior, trajectory
from tests.baselines.seen import Played
from vml_bench.denoiser import Denoiser
from vml_bench.schedule import DDPMSchedule

FILES = files("reddiff")


def published(meta: dict) -> REDDiff:
    """The method with a file's settings, as conf/method/published/reddiff.yaml has them."""
    return REDDiff(
        weight=meta["grad_term_weight"],
        learning_rate=meta["lr"],
        schedule=DDPMSchedule(meta["steps"], spacing="leading"),
        batch_in_mean=meta["batch"],
        clip_start=False,
        apply_last_step=False,
    )


def rows(program: Program, method: REDDiff) -> tuple[Tensor, Tensor]:
    """μ before every step, and the answer. The program draws in pairs, and uses the second of each."""
    noises = list(program.noise[1::2])
    sigma_0 = program.meta["sigma_0"]
    asked, restored = trajectory(method, program, operator_of(program), sigma_0, list(noises), prior())
    return torch.stack([x - sigma * n for (x, sigma), n in zip(asked, noises, strict=False)]), restored


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_programs(name):
    program = Program(name)
    method = published(program.meta)
    before, restored = rows(program, replace(method, apply_last_step=True))
    assert len(before) == program.meta["steps"]
    assert distance(before[0], operator_of(program).pinv(program.y)) <= 1e-9
    assert distance(before[1:], program.trajectory[:-1]) <= 1e-9
    assert distance(restored, program.trajectory[-1]) <= 1e-9
    assert distance(rows(program, method)[1], program.output) <= 1e-9


@pytest.mark.parametrize("name", FILES)
def test_what_is_saved_is_from_before_the_last_step(name):
    """F2: the last step of Adam is worth a difference of its own."""
    program = Program(name)
    assert distance(rows(program, replace(published(program.meta), apply_last_step=True))[1], program.output) > 1e-3


@pytest.mark.parametrize("name", FILES)
def test_adams_epsilon_counts_in_the_programs_units(name):
    """F2: with the formula's ε, or with another batch's, the steps are others."""
    program = Program(name)
    method = published(program.meta)
    assert distance(rows(program, replace(method, batch_in_mean=None))[1], program.output) > 1e-6
    assert distance(rows(program, replace(method, batch_in_mean=200))[1], program.output) > 1e-5


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("sr4", {"grad_term_weight": 1.0, "lr": 0.1, "steps": None, "batch": 20}),  # sample_batch.sh: all 1,000
        ("inpaint_box", {"grad_term_weight": 0.25, "lr": 0.5, "steps": 100, "batch": 10}),  # README.md
    ],
)
def test_the_configuration_has_the_programs_settings(cell_config, task, settings):
    config = cell_config("dataset=photos64", f"task={task}", "method=published/reddiff")
    assert instantiate(config.method.sampler) == published(settings)


def test_the_start_is_not_clipped():
    """F2: where H⁺ y passes [-1, 1] the program starts there all the same."""
    program = Program("reddiff_sr4_0.1")
    bright = 9 * program.y
    operator, schedule = operator_of(program), DDPMSchedule(1)
    method = replace(published(program.meta), schedule=schedule)
    start = method.restore(bright, operator, 0.1, Denoiser(prior()), Played())
    assert torch.equal(start, operator.pinv(bright))
    assert start.abs().max() > 1
    clipped = replace(method, clip_start=True).restore(bright, operator, 0.1, Denoiser(prior()), Played())
    assert torch.equal(clipped, start.clamp(-1, 1))


def test_an_image_depends_on_the_batch_that_is_stated_not_on_the_one_that_is_run():
    program = Program("reddiff_in2_0")
    method = published(program.meta)
    together, _ = rows(program, method)
    noises = [n[:1] for n in program.noise[1::2]]
    alone = method.restore(program.y[:1], operator_of(program), 0.0, Denoiser(prior()), Played(*noises))
    assert torch.allclose(alone, rows(program, method)[1][:1], atol=1e-12)
    assert len(together) == program.meta["steps"] - 1  # the evaluation for the unused step is left out
