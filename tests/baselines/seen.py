"""A method's steps, seen from outside: whole restores over few levels, with known noise and every x_t kept."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from vml_bench.denoiser import Denoiser


class Played:
    """A source of noise that gives out what it holds, in order, and zeros after that."""

    def __init__(self, *noises: Tensor) -> None:
        self.noises = list(noises)

    def randn_like(self, x: Tensor) -> Tensor:
        return self.noises.pop(0) if self.noises else torch.zeros_like(x)


class Recorder:
    """A prior that keeps each (x_t, σ) at which it is asked."""

    def __init__(self, prior) -> None:
        self.prior, self.asked = prior, []
        self.sigma_min, self.sigma_max, self.image_shape = prior.sigma_min, prior.sigma_max, prior.image_shape

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.asked.append((x.detach(), sigma))
        return self.prior(x, sigma)

    @property
    def learned_variance(self) -> bool:
        return getattr(self.prior, "learned_variance", False)

    def with_variance(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        self.asked.append((x.detach(), sigma))
        return self.prior.with_variance(x, sigma)


class WithVariance:
    """A prior that has a learned variance too, the same v at every x and σ; shape (1, C, H, W) or a number."""

    learned_variance = True

    def __init__(self, prior, v: Tensor | float) -> None:
        self.prior, self.v = prior, torch.as_tensor(v, dtype=torch.float64)
        self.sigma_min, self.sigma_max, self.image_shape = prior.sigma_min, prior.sigma_max, prior.image_shape

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.prior(x, sigma)

    def with_variance(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        return self.prior(x, sigma), self.v.expand_as(x)


def path(method, levels, noises, y, operator, noise_std, prior) -> list[Tensor]:
    """x_t where each level is first asked, and the answer."""
    prior = Recorder(prior)
    restored = replace(method, schedule=lambda _: levels).restore(
        y, operator, noise_std, Denoiser(prior), Played(*noises)
    )
    return [next(x for x, sigma in prior.asked if sigma == level) for level in levels] + [restored]


def step(method, x, sigma, sigma_next, noise, y, operator, noise_std, prior, start_std=None) -> Tensor:
    """Where a method's first step, given its noise n, takes x from σ: to σ_next, or at 0 to the answer.

    The method starts at n times `start_std`, by default the √(1 + σ²) of variance-preserving papers.
    """
    start = x / (start_std or math.sqrt(1 + sigma**2))
    levels = [sigma, sigma_next] if sigma_next > 0 else [sigma]
    started, reached, *_ = path(method, levels, [start, noise], y, operator, noise_std, prior)
    assert torch.allclose(started, x, atol=1e-12)
    return reached
