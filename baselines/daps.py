"""DAPS: decoupled annealing posterior sampling.

Zhang, Chu, Berner, Meng, Anandkumar, Song, "Improving diffusion inverse problem solving with decoupled noise
annealing" (arXiv:2407.01521, CVPR 2025), algorithm 1, in pixel space with Langevin dynamics or with what the authors
call Hamiltonian Monte Carlo, the same with momentum. Already in the variance-exploding frame. At each noise level σ_t

    x̂_0 by the probability-flow ODE from x_t,   x_0 ~ p(x_0 | x_t, y),   x_{t−1} = x_0 + σ_{t−1} n

where p(x_0 | x_t, y) is taken for exp(−‖x_0 − x̂_0‖²/(2 r_t²) − ‖y − H x_0‖²/(2 β_y²)) with r_t = σ_t, as in the
paper. The flow takes Euler steps x ← D + (σ'/σ)(x − D) on EDM's levels, and Langevin dynamics start at x̂_0:

    x ← x + η_t [(x̂_0 − x)/r_t² + Hᵀ(y − H x)/β_y²] + sqrt(2 η_t) n

For a linear H the target is a Gaussian, independent in each coordinate of H's spectrum: the dynamics run there, and
`sampler="exact"`, this project's own, draws from it at once, which is the limit of ever more and smaller steps.

Protocol. The authors' program (zhangbingliang2019/DAPS, configs/task, cores/mcmc.py) sets τ = 0.01 in every task
whatever σ_y is (0.05 there) and divides ∇‖y − H x‖², not half of it, by τ²: its β_y is 0.01/√2. Its step η_0 is 1e-4
(5e-5 for box inpainting and motion deblurring), so 2 (1) β_y². Here η_0 counts in β_y², and is held at 1/L, with L =
1/r_t² + s_max²/β_y² each image's largest curvature, half the bound beyond which the dynamics diverge. Theirs is not
held, and stands at that bound where s_max = 1. Their β_y and their small, decaying steps are no detail: r_t = σ_t is
far wider than p(x_0 | x_t) while σ_t is large, and only steps too few to get there keep x_0 near x̂_0 where H is blind.
With β_y = σ_y and steps of 1/L, or with β_y = σ_y and the exact sampler, 20 levels lose 6 dB (×4 super-resolution of
four 64×64 tuning crops at σ_y = 0.05: 22.3 dB as theirs, 16.4 and 16.2 dB).

With momentum m (mc_algo: hmc there; velocity v, at first n) a step is v ← m v + √η s + √(2 (1 − m)) n, x ← x + √η v,
s the score: no Metropolis test, and Langevin's step at m = 0. A step goes about 1/(1 − m) times as far, so fewer do.
Steps of at most 1/L are stable at any m: the bound is 2 (1 + m)/L.

As published: conf/method/published/daps.yaml and daps_hmc.yaml, with what the program has per task.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.schedule import EDMSchedule, Schedule
from vml_bench.settings import settings

LIKELIHOOD_STD = 0.01 / math.sqrt(2)
"""The authors' β_y on [-1, 1], and the least there is where β_y follows σ_y: σ_y = 0 is an ordinary case."""


@settings
class DAPS:
    """Anneals samples of p(x_0 | x_t, y), each level's free of the last one's path.

    `ode_steps` network evaluations per level, no vector-Jacobian product; Langevin steps ask no network.

    Attributes:
        ode_steps: Euler steps of the probability-flow ODE; 5 in configs/sampler/edm_daps.yaml.
        ode_sigma_min: σ at which the ODE ends and x is taken for x̂_0; 0.01 there.
        sampler: "langevin" (the paper's) or "exact" (this project's) for x_0. The exact one has no steps to set.
        langevin_steps: Langevin steps per level; 100 in configs/task.
        step_size: η_0 in units of β_y²: 2, or 1 for box inpainting and motion deblurring.
        step_decay: δ, the share of η_0 left at the end: η_t = η_0 (δ + (1 − δ) t/T); 0.01 in configs/task.
        likelihood_std: β_y on [-1, 1]; the authors' by default. None takes σ_y, or the authors' where that is less.
        momentum: m of the Langevin steps, in [0, 1); 0 is Langevin dynamics, more the authors' HMC.
        visit_last_level: False counts the schedule's last level in η_t but never visits it, as the authors' program
            does (sampler.py, cores/scheduler.py): their 200 levels are the first of 201, and the last is 0.106.
        stable_steps: True holds η_t at 1/L, which is this project's; False never does, as in cores/mcmc.py.
        schedule: noise levels; theirs are 200 of EDM's from 100 towards 0.1 (1,000 evaluations), narrowed to the
            prior's range. The default, 20, makes 100 evaluations.
    """

    ode_steps: PositiveInt = 5
    ode_sigma_min: PositiveFloat = 0.01
    sampler: Literal["langevin", "exact"] = "langevin"
    langevin_steps: PositiveInt = 100
    step_size: PositiveFloat = 2.0
    step_decay: Annotated[float, Field(gt=0, le=1)] = 0.01
    likelihood_std: PositiveFloat | None = LIKELIHOOD_STD
    momentum: Annotated[float, Field(ge=0, lt=1), AsBefore(0.0)] = 0.0
    visit_last_level: Annotated[bool, AsBefore(True)] = True
    stable_steps: Annotated[bool, AsBefore(True)] = True
    schedule: Schedule = field(default_factory=lambda: EDMSchedule(20, sigma_max=100.0, sigma_min=0.1))

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at σ_max n.

        Raises:
            InputError: the schedule goes below `ode_sigma_min`, or has no level to visit.
        """
        levels = self.schedule(denoiser)
        visited = levels if self.visit_last_level else levels[:-1]
        if not visited:
            raise InputError("a schedule of one level has none before its last", "set schedule.levels to 2 or more")
        beta = self.likelihood_std or max(noise_std, LIKELIHOOD_STD)
        x = levels[0] * rng.randn_like(operator.blank(y))
        for t, (sigma, sigma_next) in enumerate(pairwise([*visited, 0.0])):
            ode = EDMSchedule(self.ode_steps + 1, sigma_max=sigma, sigma_min=self.ode_sigma_min)(denoiser)
            for a, b in pairwise(ode):  # from x_t to x̂_0
                denoised = denoiser(x, a)
                x = denoised + (b / a) * (x - denoised)
            if self.sampler == "exact":
                precision = 1 / sigma**2 + (operator.singular_values / beta).square()  # of p(x_0 | x_t, y)
                mean = operator.prox(x, y, beta, step=sigma**2)
                x = mean + operator.from_spectrum(precision.rsqrt() * rng.randn_like(x))
            else:
                x = self._langevin(x, sigma, t / len(levels), beta, y, operator, rng)
            if sigma_next > 0:
                x = x + sigma_next * rng.randn_like(x)
        return x

    @property
    def needs_operator(self) -> Kind:
        """The exact sampler needs a spectrum; Langevin steps need gradients alone."""
        return "spectral" if self.sampler == "exact" else "differentiable"

    def _langevin(
        self, x_0: Tensor, sigma: float, passed: float, beta: float, y: Tensor, operator: Operator, rng: Noise
    ) -> Tensor:
        """Steps on p(x_0 | x_t, y) from x̂_0 (B, C, H, W); with a spectrum in it, where H is a diagonal."""
        pull = datum_gradient(y, operator)
        start = operator.to_spectrum(x_0) if operator.kind == "spectral" else x_0
        steepest = operator.linearized(x_0).squared_norm(x_0)  # s_max²
        eta = self._eta(passed, beta, 1 / sigma**2 + steepest / beta**2)
        move = eta.sqrt() * rng.randn_like(x_0) if self.momentum else 0.0
        x = start
        for _ in range(self.langevin_steps):
            score = (start - x) / sigma**2 + pull(x) / beta**2
            fresh = (2 * (1 - self.momentum) * eta).sqrt() * rng.randn_like(x)
            move = self.momentum * move + eta * score + fresh
            x = x + move
        return operator.from_spectrum(x) if operator.kind == "spectral" else x

    def _eta(self, passed: float, beta: float, curvature: Tensor) -> Tensor:
        """η_t of each image, (1, 1, 1) or (B, 1, 1, 1).

        Args:
            passed: t/T, the share of levels that are done.
            beta: β_y.
            curvature: L, the largest of p(x_0 | x_t, y).
        """
        eta = self.step_size * (1 - (1 - self.step_decay) * passed) * beta**2
        return curvature.reciprocal().clamp(max=eta) if self.stable_steps else torch.full_like(curvature, eta)


def datum_gradient(y: Tensor, operator: Operator) -> Callable[[Tensor], Tensor]:
    """x ↦ −∇ ½‖y − A(x)‖², (B, C, H, W) -> (B, C, H, W); of the spectrum of x where the operator has one."""
    if operator.kind == "spectral":
        s, y_bar = operator.singular_values, operator.measurement_to_spectrum(y)
        return lambda x: s * (y_bar - s * x)
    return lambda x: operator.linearized(x).adjoint(y - operator.forward(x))
