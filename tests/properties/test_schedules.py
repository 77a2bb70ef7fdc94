"""Noise schedules: any options give decreasing levels within the range, or a refusal."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from baselines.diffpir import QuadraticSchedule
from vml_bench.errors import InputError
from vml_bench.schedule import MOST_LEVELS, RHO, DDPMSchedule, EDMSchedule, Schedule

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0, -1, True, None, "1", 1])
sigmas = st.floats(1e-8, 1e8)
ranges = (
    st.tuples(sigmas, sigmas)
    .map(sorted)
    .filter(lambda ends: ends[0] < ends[1])
    .map(lambda ends: SimpleNamespace(sigma_min=ends[0], sigma_max=ends[1]))
)
PHOTOS = SimpleNamespace(sigma_min=0.002, sigma_max=80.0)


def check(levels: list[float], count: int, prior: SimpleNamespace) -> None:
    assert len(levels) == count
    assert all(a > b for a, b in pairwise(levels))
    assert prior.sigma_min <= levels[-1] <= levels[0] <= prior.sigma_max


@settings(deadline=None, derandomize=True, max_examples=300)
@given(prior=ranges, levels=st.integers(1, 300), rho=st.floats(*RHO), narrower=st.booleans(), data=st.data())
@example(prior=PHOTOS, levels=300, rho=RHO[0], narrower=False, data=None)
@example(prior=PHOTOS, levels=300, rho=RHO[1], narrower=False, data=None)
@example(
    prior=SimpleNamespace(sigma_min=2784035.0, sigma_max=73182736.0), levels=2, rho=0.125, narrower=False, data=None
)
def test_edm_levels_fall_from_end_to_end(
    prior: SimpleNamespace, levels: int, rho: float, narrower: bool, data: st.DataObject | None
) -> None:
    high, low = prior.sigma_max, prior.sigma_min
    if narrower:
        high, low = (data.draw(st.none() | sigmas) for _ in range(2))
    schedule = EDMSchedule(levels, rho, high, low)
    first, last = min(prior.sigma_max, high or math.inf), max(prior.sigma_min, low or 0)
    try:
        sigma = schedule(prior)
    except InputError:
        assert not first > last * (1 + 1e-9)  # only a range that is empty, or as good as empty
        return
    check(sigma, levels, prior)
    assert sigma[0] == pytest.approx(first, rel=1e-9)
    if levels > 1:
        assert sigma[-1] == pytest.approx(last, rel=1e-6)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    prior=ranges,
    levels=st.integers(1, 1200),
    spacing=st.sampled_from(["linspace", "leading", "trailing"]),
    betas=st.tuples(st.floats(1e-6, 0.5), st.floats(1e-6, 0.5)).map(sorted),
    timesteps=st.integers(1, 1200),
)
@example(SimpleNamespace(sigma_min=0.002, sigma_max=10.0), 768, "linspace", [1e-4, 0.02], 1000)
@example(SimpleNamespace(sigma_min=0.002, sigma_max=10.0), 300, "trailing", [1e-4, 0.02], 1000)
def test_ddpm_levels_fall_within_the_range(
    prior: SimpleNamespace, levels: int, spacing: str, betas: list[float], timesteps: int
) -> None:
    schedule = DDPMSchedule(levels, *betas, timesteps, spacing)
    try:
        sigma = schedule(prior)
    except InputError as refusal:
        available = int(str(refusal).split("but only ")[1].split()[0])
        assume(available)
        sigma, levels = DDPMSchedule(available, *betas, timesteps, spacing)(prior), available
        assert available < schedule.levels  # what it offers instead works
    check(sigma, levels, prior)


def test_no_two_timesteps_become_the_same_end_of_the_range() -> None:
    """σ_1 = 10.02 and 10.09 are both within 1 % of a prior that ends at 10."""
    prior = SimpleNamespace(sigma_min=0.002, sigma_max=10.0)
    with pytest.raises(InputError, match="but only") as refusal:
        DDPMSchedule(1000)(prior)
    count = int(str(refusal.value).split("but only ")[1].split()[0])
    check(DDPMSchedule(count)(prior), count, prior)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(levels=st.integers(2, 500), sigma_max=st.floats(0.5, 150))
def test_quadratic_levels_are_within_the_range(levels: int, sigma_max: float) -> None:
    prior = SimpleNamespace(sigma_min=0.002, sigma_max=sigma_max)
    try:
        sigma = QuadraticSchedule(levels)(prior)
    except InputError:
        return
    assert len(sigma) == levels
    assert all(a >= b for a, b in pairwise(sigma))
    assert prior.sigma_min <= sigma[-1] <= sigma[0] <= prior.sigma_max


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    kind=st.sampled_from([EDMSchedule, DDPMSchedule]),
    options=st.dictionaries(
        st.sampled_from(
            ["levels", "rho", "sigma_max", "sigma_min", "beta_min", "beta_max", "timesteps", "spacing"],
        ),
        numbers,
        max_size=3,
    ),
)
def test_any_option_gives_levels_or_a_refusal(kind: type, options: dict[str, object]) -> None:
    known = {name: value for name, value in options.items() if name in kind.__dataclass_fields__}
    try:
        schedule: Schedule = kind(**known)
        levels = schedule(PHOTOS)
    except InputError:
        return
    check(levels, schedule.levels, PHOTOS)


@pytest.mark.parametrize("levels", [0, -1, MOST_LEVELS + 1, 2.0, True, "20"])
def test_a_number_of_levels_that_is_none(levels: object) -> None:
    for kind in (EDMSchedule, DDPMSchedule):
        with pytest.raises(InputError, match="levels="):
            kind(levels)


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_no_number_of_levels_is_every_timestep_in_the_range(spacing: str) -> None:
    levels = DDPMSchedule(None, spacing=spacing)(PHOTOS)
    assert levels == DDPMSchedule(len(levels), spacing=spacing)(PHOTOS)
    with pytest.raises(InputError, match=f"set schedule.levels to {len(levels)} or less"):
        DDPMSchedule(len(levels) + 1, spacing=spacing)(PHOTOS)
