"""Noise schedules: the decreasing levels σ_1 > … > σ_N that a sampler visits, chosen within a prior's range."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from vml_bench.errors import InputError


class NoiseRange(Protocol):
    """Anything that states between which σ it may be asked: a prior or a `Denoiser`."""

    sigma_min: float
    sigma_max: float


Schedule = Callable[[NoiseRange], list[float]]

MOST_LEVELS = 100_000
RHO = (0.1, 1e4)
"""ρ outside of which powers of σ leave double precision, or levels fall together; at 10⁴ they are as good as
geometric."""


@dataclass(frozen=True)
class EDMSchedule:
    """Levels evenly spaced in σ^(1/ρ) (Karras et al. 2022, arXiv:2206.00364, eq. 5).

    Attributes:
        levels: N ≥ 1, number of levels; a single one is the first.
        rho: ρ from 0.1 to 10⁴; 7 in the paper. Larger spends more levels at small σ.
        sigma_max, sigma_min: first and last level, narrowed to the prior's range; None takes the prior's own.

    Raises:
        InputError: a value that cannot be used, no σ left in the range, or one too narrow for so many levels.
    """

    levels: int = 20
    rho: float = 7.0
    sigma_max: float | None = None
    sigma_min: float | None = None

    def __post_init__(self) -> None:
        _require_whole("levels", self.levels, MOST_LEVELS)
        if not (_is_number(self.rho) and RHO[0] <= self.rho <= RHO[1]):
            raise InputError(
                f"schedule.rho={self.rho}", f"it must lie between {RHO[0]:g} and {RHO[1]:g}; the paper's value is 7"
            )
        for name in ("sigma_max", "sigma_min"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise InputError(f"schedule.{name}={value}", "it must be > 0, or null for the prior's own")

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


@dataclass(frozen=True)
class DDPMSchedule:
    """The levels σ(t) = sqrt((1 − ᾱ_t)/ᾱ_t) of a linear-β diffusion (Ho et al. 2020, arXiv:2006.11239, sec. 4).

    An evenly spaced subset of those timesteps whose σ lies within the prior's range. A σ that misses an end of it by
    less than 1 % counts as that end.

    Attributes:
        levels: N ≥ 1, number of levels; a single one is the smallest.
        beta_min, beta_max: β of the first and the last timestep, 0 < β_min ≤ β_max < 1.
        timesteps: T, number of timesteps of the diffusion.
        spacing: "linspace", from the last timestep to the first (ADM's respacing, used by DPS), or "leading",
            every (T // N)-th timestep from the first (DDIM, used by DDRM). Equal when N = T.

    Raises:
        InputError: a value that cannot be used, or more levels than timesteps in the prior's range.
    """

    levels: int = 1000
    beta_min: float = 1e-4
    beta_max: float = 0.02
    timesteps: int = 1000
    spacing: str = "linspace"

    def __post_init__(self) -> None:
        _require_whole("levels", self.levels, MOST_LEVELS)
        _require_whole("timesteps", self.timesteps, MOST_LEVELS)
        betas = (self.beta_min, self.beta_max)
        if not (all(map(_is_number, betas)) and 0 < self.beta_min <= self.beta_max < 1):
            raise InputError(f"schedule.beta_min={betas[0]}, beta_max={betas[1]}", "give 0 < beta_min ≤ beta_max < 1")
        if self.spacing not in ("linspace", "leading"):
            raise InputError(f"schedule.spacing='{self.spacing}' is unknown", "use linspace or leading")

    def __call__(self, prior: NoiseRange) -> list[float]:
        """The levels for a prior, largest first."""
        betas = torch.linspace(self.beta_min, self.beta_max, self.timesteps, dtype=torch.float64)
        alphas_bar = (1 - betas).cumprod(dim=0)
        sigmas = ((1 - alphas_bar) / alphas_bar).sqrt()
        sigmas = sigmas[(sigmas >= prior.sigma_min * 0.99) & (sigmas <= prior.sigma_max * 1.01)]
        sigmas = sigmas.clamp(prior.sigma_min, prior.sigma_max).unique()
        if len(sigmas) < self.levels:
            raise InputError(
                f"{self.levels} levels asked for, but only {len(sigmas)} timesteps lie within the prior's "
                f"{prior.sigma_min:g} … {prior.sigma_max:g}",
                f"set schedule.levels to {len(sigmas)} or less",
            )
        if self.spacing == "leading":
            chosen = torch.arange(self.levels) * (len(sigmas) // self.levels)
        else:
            chosen = torch.linspace(0, len(sigmas) - 1, self.levels, dtype=torch.float64).round().long()
        return sigmas[chosen].flip(0).tolist()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require_whole(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InputError(f"schedule.{name}={value}", f"it must be a whole number from 1 to {most}")


def _decreasing(levels: Sequence[float]) -> list[float]:
    """The levels, if each is smaller than the one before."""
    if not all(a > b for a, b in pairwise(levels)):
        raise InputError(
            f"{len(levels)} levels between {min(levels):g} and {max(levels):g} cannot be told apart",
            "set schedule.levels to fewer, or widen schedule.sigma_min and sigma_max",
        )
    return list(levels)
