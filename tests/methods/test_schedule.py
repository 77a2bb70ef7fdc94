"""Noise schedules."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest

from vml_bench.errors import InputError
from vml_bench.schedule import DDPMSchedule, EDMSchedule

PRIOR = SimpleNamespace(sigma_min=0.002, sigma_max=80.0)


def decreasing(levels: list[float]) -> bool:
    return all(a > b for a, b in pairwise(levels))


def test_edm_is_the_papers_equation():
    levels = EDMSchedule(18, rho=7.0)(PRIOR)
    for i, sigma in enumerate(levels):
        root = 80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))
        assert math.isclose(sigma, root**7, rel_tol=1e-9)
    assert decreasing(levels)


@pytest.mark.parametrize("levels", [1, 2, 20])
def test_edm_keeps_to_the_range(levels):
    sigmas = EDMSchedule(levels, sigma_max=1000.0, sigma_min=0.01)(PRIOR)
    assert len(sigmas) == levels
    assert sigmas[0] == pytest.approx(80.0)
    assert max(sigmas) <= 80.0
    assert min(sigmas) >= 0.01


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("levels", [1, 20, 100])
def test_ddpm_levels_are_timesteps_in_the_range(spacing, levels):
    sigmas = DDPMSchedule(levels, spacing=spacing)(PRIOR)
    all_sigmas, alpha_bar = [], 1.0
    for t in range(1000):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        all_sigmas.append(math.sqrt((1 - alpha_bar) / alpha_bar))
    assert len(sigmas) == levels
    assert decreasing(sigmas)
    assert max(sigmas) <= 80
    assert all(min(abs(sigma / s - 1) for s in all_sigmas) < 1e-2 for sigma in sigmas)


def test_ddpm_over_its_own_range_is_the_whole_diffusion():
    wide = SimpleNamespace(sigma_min=0.01, sigma_max=158.0)
    full = DDPMSchedule(1000)(wide)
    assert full[-1] == pytest.approx(0.01, rel=1e-3)
    assert full[0] == pytest.approx(157.4, rel=1e-2)
    assert DDPMSchedule(20, spacing="leading")(wide) == pytest.approx(full[::-1][::50][::-1])
    assert DDPMSchedule(20)(wide)[0] == full[0]


@pytest.mark.parametrize(("levels", "last"), [(20, 0.173), (50, 0.0762), (100, 0.0436)])
def test_trailing_levels_are_the_last_timestep_and_every_s_th_before_it_down_to_s(levels, last):
    wide = SimpleNamespace(sigma_min=0.01, sigma_max=158.0)
    full = DDPMSchedule(1000)(wide)  # the timesteps 1000, 999, …, 1
    stride = 1000 // levels
    chosen = DDPMSchedule(levels, spacing="trailing")(wide)
    assert chosen == [full[1000 - timestep] for timestep in range(1000, 0, -stride)]
    assert chosen[-1] == pytest.approx(last, rel=2e-3)


@pytest.mark.parametrize("levels", [20, 50, 100])
def test_trailing_levels_end_at_the_same_sigma_where_a_prior_starts_lower(levels):
    wide, narrow = SimpleNamespace(sigma_min=0.01, sigma_max=158.0), SimpleNamespace(sigma_min=0.002, sigma_max=20.0)
    schedule = DDPMSchedule(levels, spacing="trailing")
    assert schedule(narrow)[-1] == schedule(wide)[-1]
    assert schedule(narrow)[0] == pytest.approx(20.0, rel=0.01)
    assert schedule(SimpleNamespace(sigma_min=0.5, sigma_max=20.0))[-1] == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: EDMSchedule(0), "levels"),
        (lambda: EDMSchedule(rho=0.0), "rho"),
        (lambda: EDMSchedule(sigma_min=100.0)(PRIOR), "sigma_min"),
        (lambda: DDPMSchedule(0), "levels"),
        (lambda: DDPMSchedule(spacing="odd"), "spacing"),
        (lambda: DDPMSchedule(1001)(PRIOR), "levels"),
    ],
)
def test_bad_schedules_are_refused(make, names):
    with pytest.raises(InputError, match=names):
        make()
