"""The study of outer loops: the smoothed posterior and its mode, and the table that comes of it."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from vml_bench.denoiser import Denoiser
from vml_bench.methods.loss import simplified_gradient, simplified_loss
from vml_bench.studies import outer_loops
from vml_bench.studies.problems import problem, write


@pytest.mark.parametrize("sigma", [0.02, 0.3, 2.0])
@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_smoothing_changes_nothing_under_a_gaussian(noise_std, sigma):
    case = problem((1, 2, 4), "inpaint_random", noise_std, images=3, prior="gauss")
    mode = outer_loops.smoothed_mode(case, sigma)
    assert torch.allclose(mode, case.posterior.map(), atol=1e-6)
    energies = [outer_loops.smoothed_energy(case, z, sigma) for z in (case.truth, mode)]
    assert torch.allclose(energies[0] - energies[1], case.posterior.map_gap(case.truth), atol=1e-6)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
def test_the_smoothed_energy_is_the_loss_that_vml_map_descends(sigma):
    case = problem((1, 1, 32), "random_projection", 0.3, images=4)
    x = case.truth + sigma * case.noise("start").randn_like(case.truth)
    expected = simplified_loss(x, sigma, case.y, case.operator, 0.3, case.prior)
    assert torch.allclose(outer_loops.smoothed_energy(case, case.prior(x, sigma), sigma), expected, atol=1e-6)


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_nothing_near_the_smoothed_mode_is_lower(noise_std):
    case = problem((1, 1, 32), "inpaint_random", noise_std, images=4)
    mode = outer_loops.smoothed_mode(case, 0.9)
    assert mode.isfinite().all()
    assert case.posterior.map_gap(mode).max() > 1e-3  # it is not the MAP
    least = outer_loops.smoothed_energy(case, mode, 0.9)
    for seed in range(5):
        near = mode + 0.03 * torch.randn(mode.shape, generator=torch.Generator().manual_seed(seed)).double()
        assert (outer_loops.smoothed_energy(case, near, 0.9) > least).all()


def test_vml_map_is_at_rest_at_the_smoothed_mode():
    case = problem((1, 1, 32), "random_projection", 0.3, images=4)
    sigma = 0.4
    mode = outer_loops.smoothed_mode(case, sigma)
    x = mode + sigma**2 * case.operator.adjoint(case.y - case.operator.forward(mode)) / 0.3**2
    assert torch.allclose(case.prior(x, sigma), mode, atol=1e-6)
    assert simplified_gradient(x, sigma, case.y, case.operator, 0.3, Denoiser(case.prior)).abs().max() < 1e-5


@pytest.mark.parametrize("loop", outer_loops.LOOPS, ids=lambda loop: loop.title)
def test_a_split_costs_what_it_is_said_to_cost(loop):
    case = problem((1, 1, 32), "random_projection", 0.3, images=2)
    levels, steps = next(iter(loop.splits(100)))
    row = outer_loops.measure(
        case, loop.config(levels, steps), lambda sigma: outer_loops.smoothed_mode(case, sigma, steps=20)
    )
    spent = row["nfe"] + row["vjp"]
    assert spent == levels * (loop.per_step * steps + loop.per_level) + loop.after
    assert abs(spent / 100 - 1) <= outer_loops.NEAR


def test_the_table_has_the_best_split_of_each_budget(tmp_path, monkeypatch):
    places = [("gmm_vector", "random_projection", 0.0), ("close", "random_projection", 0.3)]
    monkeypatch.setattr(outer_loops, "PLACES", places)
    monkeypatch.setattr(outer_loops, "BUDGETS", (20, 50))
    monkeypatch.setattr(outer_loops, "INNER_STEPS", (1, 3))
    table = outer_loops.run(2)
    best = outer_loops.best_splits(table)
    for _, row in best.iterrows():
        same = table[(table.prior == row.prior) & (table.method == row.method) & (table.budget == row.budget)]
        assert row.gap_map == same.gap_map.min()
    assert (table.gap_map > -1e-6).all()
    text = outer_loops.to_markdown(table)
    assert {loop.title for loop in outer_loops.LOOPS if not loop.after} <= {
        line.split(" | ")[0].strip("| ") for line in text.splitlines()
    }
    write(tmp_path, "outer_loops", table, outer_loops.draw(table))
    assert len(pd.read_csv(tmp_path / "outer_loops.csv")) == len(table)
