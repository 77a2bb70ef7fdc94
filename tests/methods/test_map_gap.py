"""How near the VML methods come to the exact MAP of a Gaussian mixture (design, section 4)."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from tests.methods.problems import problem
from vml_bench.methods import VMLMAP, VMLFixedPoint, VMLMAPPreconditioned
from vml_bench.schedule import EDMSchedule

METHODS = {
    "fixed 20x5": VMLFixedPoint(inner_steps=5, schedule=EDMSchedule(20)),
    "pre 20x5": VMLMAPPreconditioned(inner_steps=5, schedule=EDMSchedule(20)),
    "pre 50x1": VMLMAPPreconditioned(inner_steps=1, schedule=EDMSchedule(50)),
    "plain 20x5": VMLMAP(inner_steps=5, schedule=EDMSchedule(20)),
    "fixed 20x5 renoise": VMLFixedPoint(inner_steps=5, move="renoise", schedule=EDMSchedule(20)),
    "pre 20x5 renoise": VMLMAPPreconditioned(inner_steps=5, move="renoise", schedule=EDMSchedule(20)),
}


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
