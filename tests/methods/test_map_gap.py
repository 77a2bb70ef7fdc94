"""How near the VML methods come to the exact MAP of a Gaussian mixture (design, section 4)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.methods.problems import Problem, problem
from vml_bench.configuration import config_dir
from vml_bench.methods import VMLMAP, VMLFixedPoint, VMLMAPPreconditioned
from vml_bench.noise import ImageNoise
from vml_bench.schedule import EDMSchedule

METHODS = {
    "fixed 20x5": VMLFixedPoint(inner_steps=5, move="flow", schedule=EDMSchedule(20)),
    "pre 20x5": VMLMAPPreconditioned(inner_steps=5, move="flow", schedule=EDMSchedule(20)),
    "pre 50x1": VMLMAPPreconditioned(inner_steps=1, move="flow", schedule=EDMSchedule(50)),
    "plain 20x5": VMLMAP(inner_steps=5, move="flow", schedule=EDMSchedule(20)),
    "fixed 20x5 renoise": VMLFixedPoint(inner_steps=5, move="renoise", schedule=EDMSchedule(20)),
    "pre 20x5 renoise": VMLMAPPreconditioned(inner_steps=5, move="renoise", schedule=EDMSchedule(20)),
    "fixed 20x5 stationary": VMLFixedPoint(inner_steps=5, schedule=EDMSchedule(20)),
    "pre 20x5 stationary": VMLMAPPreconditioned(inner_steps=5, schedule=EDMSchedule(20)),
    "plain 20x5 stationary": VMLMAP(inner_steps=5, schedule=EDMSchedule(20)),
}
SHAPES = {"3x8x8": (3, 8, 8), "1x4x8": (1, 4, 8)}
IDS = [str(i) for i in range(16)]


@cache
def median_gap(name: str) -> float:
    """Median over 64 images: 4 mixtures and operators, 16 images each, σ_y = 0.05, σ from 20 to 0.002."""
    gaps = []
    for seed in range(4):
        case = problem(seed, images=16)
        answer, _ = case.restore(METHODS[name], seed)
        gaps.append(case.posterior.map_gap(answer))
    return float(torch.cat(gaps).median())


@pytest.mark.parametrize(("name", "bound"), [("fixed 20x5", 0.05), ("pre 20x5", 0.1), ("pre 50x1", 0.5)])
def test_gap_is_closed(name, bound):
    assert 0 <= median_gap(name) <= bound


def test_order_of_methods():
    order = ["fixed 20x5", "pre 20x5", "pre 50x1", "plain 20x5"]
    gaps = [median_gap(name) for name in order]
    assert gaps == sorted(gaps), dict(zip(order, gaps, strict=True))
    assert 1 < median_gap("plain 20x5") < 10


@pytest.mark.parametrize("name", ["fixed 20x5", "pre 20x5"])
def test_renoising_never_closes_the_gap(name):
    assert median_gap(f"{name} renoise") > 20 * median_gap(name)


@pytest.mark.parametrize("name", ["fixed 20x5", "pre 20x5", "plain 20x5"])
def test_the_stationary_move_beats_the_flow(name):
    assert median_gap(f"{name} stationary") < median_gap(name) / 2


@cache
def oracle(shape: str, task: str, noise_std: float) -> Problem:
    """16 images of the mixture of conf/prior/gmm.yaml under a task of conf/task."""
    prior = instantiate(OmegaConf.load(config_dir() / "prior" / "gmm.yaml").model, image_shape=SHAPES[shape])
    operator = instantiate(OmegaConf.load(config_dir() / "task" / f"{task}.yaml").operator)
    operator = operator(SHAPES[shape], dtype=torch.float64).for_images(IDS, 0)
    truth = prior.sample(len(IDS), torch.Generator().manual_seed(0))
    y = operator.measure(truth, noise_std, ImageNoise(0, IDS, "measurement").randn_like(operator.forward(truth)))
    return Problem(prior, operator, noise_std, truth, y)


@pytest.mark.parametrize("method", ["vml_map_pre", "vml_fixed_point"])
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.3])
@pytest.mark.parametrize("task", ["random_projection", "sr4", "inpaint_random"])
@pytest.mark.parametrize("shape", SHAPES)
def test_default_configurations_close_the_gap(shape, task, noise_std, method):
    case = oracle(shape, task, noise_std)
    sampler = instantiate(OmegaConf.load(config_dir() / "method" / f"{method}.yaml").sampler)
    answer, denoiser = case.restore(sampler)
    gap = case.posterior.map_gap(answer)
    assert denoiser.nfe <= 100
    assert gap.min() >= -1e-6
    assert gap.median() <= 0.05


@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.3])
@pytest.mark.parametrize("task", ["random_projection", "sr4", "inpaint_random"])
@pytest.mark.parametrize("shape", SHAPES)
def test_from_the_pseudo_inverse_the_fixed_point_needs_36_evaluations_to_close_the_gap(shape, task, noise_std):
    case = oracle(shape, task, noise_std)
    config = OmegaConf.load(config_dir() / "method" / "vml_fixed_point_20.yaml").sampler
    config.inner_steps, config.schedule.levels = 3, 12
    answer, denoiser = case.restore(instantiate(config))
    assert (denoiser.nfe, denoiser.vjps) == (36, 0)
    assert case.posterior.map_gap(answer).median() <= 0.05


@pytest.mark.parametrize("method", [VMLFixedPoint(inner_steps=40), VMLMAPPreconditioned(inner_steps=60)])
def test_gap_vanishes_with_inner_steps_on_a_gaussian(method):
    case = problem(5, components=1)
    answer, _ = case.restore(method)
    assert case.posterior.map_gap(answer).max() < 1e-3
    assert torch.allclose(answer, case.posterior.map(), atol=2e-3)


@pytest.mark.parametrize("method", [METHODS["fixed 20x5"], METHODS["pre 20x5"]])
def test_noiseless_answer_fits_the_measurement_and_nears_the_map(method):
    case = problem(2, images=16, noise_std=0.0)
    answer, _ = case.restore(method)
    assert case.operator.residual(answer, case.y).max() < 0.05 * case.y.norm(dim=1).mean()
    assert case.posterior.map_gap(answer).median() < 0.1
