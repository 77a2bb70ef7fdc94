"""The studies' own machinery: Newton's method starts and ends where it should; a table and a figure come of it."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch.func import grad

from vml_bench.studies import convergence, covariance
from vml_bench.studies.problems import problem, write


@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("name", ["vml", "vml_s"])
def test_minimiser_under_a_gaussian_is_the_map_at_every_level(name, sigma):
    case = problem((1, 2, 4), "denoise", 0.3, images=3, prior="gauss")
    start = case.truth + sigma * case.noise("start").randn_like(case.truth)
    loss = covariance.losses(case, sigma)[name]
    point, done = covariance.minimise(loss, start, case.y)
    assert done.all()
    assert torch.allclose(case.prior(point, sigma), case.posterior.map(), atol=1e-5)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("name", ["vml", "vml_s"])
def test_descent_starts_at_the_stationary_point_of_a_gaussian(name, sigma):
    """Under one component both losses have gradient 0 at its start, and D there is the posterior's mean."""
    case = problem((1, 4, 8), "random_projection", 0.3, images=3, prior="gauss")
    own, elsewhere = covariance.starts(case, sigma).unbind(1)
    loss = covariance.losses(case, sigma)[name]
    slope, steep = (grad(lambda x: loss(x, case.y).sum())(x) for x in (own, elsewhere))
    assert slope.norm() < 1e-9 * steep.norm()
    assert torch.allclose(case.prior(own, sigma), case.posterior.mean, atol=1e-9)


def test_minimise_leaves_saddles_and_images_alone():
    """Double wells with a saddle at the start's second coordinate, each image with a tilt of its own."""
    tilt = torch.tensor([[0.0], [0.3]]).double()

    def wells(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        a, b = x.flatten(1).unbind(1)
        return (a**2 - 1) ** 2 + (b - y[:, 0]) ** 2

    start = torch.tensor([[[[0.1, 3.0]]], [[[-0.1, 3.0]]]]).double()
    given = start.clone()
    point, done = covariance.minimise(wells, start, tilt)
    assert done.all()
    assert torch.equal(start, given)
    assert torch.allclose(point.flatten(1), torch.tensor([[1.0, 0.0], [-1.0, 0.3]]).double(), atol=1e-4)


def test_covariance_study_small(tmp_path, monkeypatch):
    monkeypatch.setattr(covariance, "SIGMAS", (0.1, 0.03))
    monkeypatch.setattr(covariance, "NOISE_STDS", (0.05, 0.3))
    summary = covariance.summarise(covariance.measure(2))
    assert summary[["noise_std", "sigma", "n"]].values.tolist() == [
        [0.05, 0.03, 2], [0.05, 0.1, 2], [0.3, 0.03, 2], [0.3, 0.1, 2],
    ]  # fmt: skip
    assert (summary.converged_vml == 1).all()
    assert (summary.nearby_gap_vml_s_median < 1e-6).all()
    write(tmp_path, "study", summary, covariance.draw(summary))
    assert pd.read_csv(tmp_path / "study.csv").shape == summary.shape
    assert (tmp_path / "study.png").stat().st_size > 10_000


def test_a_default_setting_is_measured():
    case = problem((1, 4, 8), "random_projection", 0.05, images=4)
    rows = {row["method"]: row for row in (
        convergence.measure(case, s) for s in convergence.settings() if s.sweep == "default"
    )}  # fmt: skip
    assert set(rows) == set(convergence.METHODS)
    assert rows["vml_fixed_point"]["vjp"] == 0
    assert rows["vml_map_pre"]["vjp"] == rows["vml_map_pre"]["nfe"] <= 100
    assert max(row["gap_median"] for row in rows.values()) <= convergence.REQUIRED
    assert all(row["diverged"] == 0 for row in rows.values())


def test_a_setting_changes_what_it_names_and_nothing_else():
    plain, changed = (
        convergence.Setting("vml_fixed_point", "x", changes).config for changes in ({}, {"move": "flow", "levels": 7})
    )
    assert changed == {**plain, "move": "flow", "schedule": {**plain["schedule"], "levels": 7}}
