"""DiffPIR as published beside the authors' program: every x_t, and what it saves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from baselines.diffpir import DiffPIR, QuadraticSchedule, timesteps
from tests.baselines.programs import SHAPE, Program, files, operator_of, preserving, prior, trajectory
from tests.baselines.seen import Played
from vml_bench.denoiser import Denoiser
from vml_bench.operators import BlockAverage

FILES = files("diffpir")


def published(meta: dict) -> DiffPIR:
    """The method with a file's settings, as conf/method/published/diffpir.yaml has them."""
    return DiffPIR(
        weight=meta["lambda_"] / 4,
        zeta=meta["zeta"],
        schedule=QuadraticSchedule(meta["steps"]),
        noise_floor=0.002,
        start="measurement",
        clip=meta["clip_denoised"],
        answer="last_level",
    )


def rows(program: Program, method: DiffPIR) -> tuple[Tensor, Tensor]:
    """x_t of every level and the answer, both as in the file. The program draws thrice a step, and uses the third."""
    noise_std = 2 * program.meta["noise_level_model"]
    asked, restored = trajectory(method, program, operator_of(program), noise_std, list(program.noise[::3]), prior())
    return torch.stack([preserving(x, sigma) for x, sigma in asked]), restored


def furthest(program: Program, method: DiffPIR) -> float:
    """Largest difference to the program, over the whole trajectory and the answer."""
    ours, restored = rows(program, method)
    return max(float((ours - program.trajectory[: len(ours)]).abs().max()), distance(restored, program.output))


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_programs(name):
    program = Program(name)
    method = published(program.meta)
    ours, restored = rows(program, method)
    assert len(ours) == len(program.trajectory) - 1  # the program's last call of the network goes unused
    assert distance(ours, program.trajectory[:-1]) <= 1e-9
    assert distance(restored, program.trajectory[-1]) <= 1e-9
    assert distance(restored, program.output) <= 1e-9


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("formula", "least"), [({"start": "noise"}, 1e-3), ({"answer": "estimate"}, 5e-3), ({"weight": 7.0}, 1e-4)]
)
def test_each_option_is_needed(name, formula, least):
    """F8: the start, what is returned, and λ's unit."""
    program = Program(name)
    assert furthest(program, replace(published(program.meta), **formula)) > least


def test_the_floor_of_the_noise_matters_where_there_is_none():
    """F8: at σ_y = 0 the formula projects onto H x = y; the program leaves 0.001 on [0, 1], a small difference."""
    inpainting, deblurring = Program("diffpir_inpaint_plain"), Program("diffpir_deblur_plain")
    assert furthest(inpainting, replace(published(inpainting.meta), noise_floor=0.0)) > 1e-5
    assert furthest(deblurring, replace(published(deblurring.meta), noise_floor=0.0)) <= 1e-9


def test_clipping_matters():
    """F8: the program's network is clipped to [-1, 1] unless it is told not to."""
    program = Program("diffpir_inpaint_clip")
    assert furthest(program, replace(published(program.meta), clip=False)) > 0.01


def test_the_program_does_not_paste_seen_pixels_into_what_it_saves():
    program = Program("diffpir_inpaint_plain")
    _, restored = rows(program, published(program.meta))
    assert (program.mask * (restored - program.y)).abs().max() > 0.01


@pytest.mark.parametrize("levels", [2, 7, 20, 50, 100, 117, 345, 465, 500])
def test_levels_are_the_programs(levels):
    """ "quad" of main_ddpir.py; some counts of levels fall on whole timesteps, where rounding decides."""
    chosen = [int(t) for t in np.sqrt(np.linspace(0, 1000**2, levels))]
    chosen[-1] -= 1
    using = prior()
    ours = QuadraticSchedule(levels)(using)
    assert ours == pytest.approx([timesteps()[t] for t in chosen], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "task", "steps"),
    [
        ("diffpir_deblur_plain", "deblur_gauss_diffpir", 100),
        ("diffpir_inpaint_clip", "inpaint_random50", 20),
        ("diffpir_inpaint_clip", "inpaint_box", 20),
    ],
)
def test_the_configuration_has_the_programs_settings(cell_config, name, task, steps):
    config = cell_config("dataset=photos64", f"task={task}", "method=published/diffpir")
    meta = {**Program(name).meta, "clip_denoised": True, "steps": steps}
    assert instantiate(config.method.sampler) == published(meta)


def test_a_small_measurement_starts_enlarged():
    """×4 super-resolution: x starts at y, each pixel repeated, beside noise of σ_max."""
    operator, using = BlockAverage(SHAPE, 4, dtype=torch.float64), prior()
    y = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    seen: list[Tensor] = []

    class Watched(Denoiser):
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            seen.append(x)
            return super().__call__(x, sigma)

    method = replace(published(Program(FILES[0]).meta), schedule=QuadraticSchedule(2))
    method.restore(y, operator, 0.1, Watched(using), Played())
    sigma = min(timesteps(), key=lambda level: abs(level - 0.1))
    repeated = y.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)
    assert torch.allclose(seen[0], math.sqrt(1 + sigma**2) * repeated, atol=1e-12)
