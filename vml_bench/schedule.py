"""Noise schedules: the decreasing levels σ_1 > … > σ_N that a sampler visits, chosen within a prior's range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field, PositiveFloat

from vml_bench.errors import InputError
from vml_bench.settings import settings


class NoiseRange(Protocol):
    """Anything that states its range of σ: a prior or a `Denoiser`."""

    sigma_min: float
    sigma_max: float


Schedule = Callable[[NoiseRange], list[float]]

MOST_LEVELS = 100_000
Count = Annotated[int, Field(ge=1, le=MOST_LEVELS)]
RHO = (0.1, 1e4)
"""Outside this range of ρ, powers of σ leave double precision or levels coincide; 10⁴ is as good as geometric."""


@settings
class EDMSchedule:
    """Levels evenly spaced in σ^(1/ρ) (Karras et al. 2022, arXiv:2206.00364, eq. 5).

    Attributes:
        levels: N, number of levels; a single one is the first.
        rho: ρ; 7 in the paper. Larger spends more levels at small σ.
        sigma_max, sigma_min: first and last level, narrowed to the prior's range; None takes the prior's own.

    Raises:
        InputError: when called, if no σ is left in the range or the range is too narrow for so many levels.
    """

    levels: Count = 20
    rho: Annotated[float, Field(ge=RHO[0], le=RHO[1])] = 7.0
    sigma_max: PositiveFloat | None = None
    sigma_min: PositiveFloat | None = None

    def __call__(self, prior: NoiseRange) -> list[float]:
        """The levels for a prior, largest first."""
        high = min(prior.sigma_max, self.sigma_max or prior.sigma_max)
        low = max(prior.sigma_min, self.sigma_min or prior.sigma_min)
        if not 0 < low < high:
            raise InputError(
                f"no noise level lies between {low:g} and {high:g}",
                f"set schedule.sigma_min and sigma_max within the prior's {prior.sigma_min:g} … {prior.sigma_max:g}",
            )
        ramp = torch.linspace(0, 1, self.levels, dtype=torch.float64)
        ends = torch.tensor([high, low], dtype=torch.float64) ** (1 / self.rho)
        roots = torch.lerp(*ends, ramp)  # exact at both ends, also where ρ is small and they are far apart
        return _decreasing((roots**self.rho).clamp(low, high).tolist())


@settings
class DDPMSchedule:
    """The levels σ(t) = sqrt((1 − ᾱ_t)/ᾱ_t) of a linear-β diffusion (Ho et al. 2020, arXiv:2006.11239, sec. 4).

    An evenly spaced subset of those timesteps whose σ lies within the prior's range. A σ that misses an end of it by
    less than 1 % counts as that end.

    Attributes:
        levels: N, number of levels; a single one is the smallest, or with "trailing" the largest.
        beta_min, beta_max: β of the first and the last timestep, 0 < β_min ≤ β_max < 1.
        timesteps: T, number of timesteps of the diffusion.
        spacing: "linspace", from the last timestep to the first (ADM's respacing, used by DPS); "leading", every
            (T // N)-th timestep from the first (DDIM, used by DDRM); or "trailing", from the last timestep to
            number T // N, counted from 1 (MAP-GA's authors): 1000, 950, …, 50 of 20 levels, the last being σ = 0.17; of
            50 and 100 levels it is 0.076 and 0.044. A narrower range moves the first level only. Equal when N = T.

    Raises:
        InputError: β_min > β_max; when called, if the prior's range has fewer timesteps than levels.
    """

    levels: Count | None = 1000
    beta_min: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    beta_max: Annotated[float, Field(gt=0, lt=1)] = 0.02
    timesteps: Count = 1000
    spacing: Literal["linspace", "leading", "trailing"] = "linspace"

    def __post_init__(self) -> None:
        if self.beta_min > self.beta_max:
            raise InputError(
                f"schedule.beta_min={self.beta_min} is above beta_max={self.beta_max}", "give beta_min ≤ beta_max"
            )

    def __call__(self, prior: NoiseRange) -> list[float]:
        """The levels for a prior, largest first."""
        betas = torch.linspace(self.beta_min, self.beta_max, self.timesteps, dtype=torch.float64)
        alphas_bar = (1 - betas).cumprod(dim=0)
        sigmas = ((1 - alphas_bar) / alphas_bar).sqrt()
        lowest = sigmas[max(self.timesteps // (self.levels or self.timesteps), 1) - 1]  # of "trailing"
        sigmas = sigmas[(sigmas >= prior.sigma_min * 0.99) & (sigmas <= prior.sigma_max * 1.01)]
        sigmas = sigmas.clamp(prior.sigma_min, prior.sigma_max).unique()
        levels = self.levels or len(sigmas)
        if len(sigmas) < levels:
            raise InputError(
                f"{levels} levels asked for, but only {len(sigmas)} timesteps lie within the prior's "
                f"{prior.sigma_min:g} … {prior.sigma_max:g}",
                f"set schedule.levels to {len(sigmas)} or less",
            )
        if self.spacing == "leading":
            chosen = torch.arange(levels) * (len(sigmas) // levels)
        else:
            first = int(torch.searchsorted(sigmas, lowest)) if self.spacing == "trailing" else 0
            first = min(first, len(sigmas) - levels)  # as many timesteps as levels must be left
            chosen = torch.linspace(first, len(sigmas) - 1, levels, dtype=torch.float64).round().long()
        return sigmas[chosen].flip(0).tolist()


def _decreasing(levels: Sequence[float]) -> list[float]:
    """The levels, if each is smaller than the one before."""
    if not all(a > b for a, b in pairwise(levels)):
        raise InputError(
            f"{len(levels)} levels between {min(levels):g} and {max(levels):g} cannot be told apart",
            "set schedule.levels to fewer, or widen schedule.sigma_min and sigma_max",
        )
    return list(levels)
