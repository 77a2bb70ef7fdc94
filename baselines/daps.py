"""DAPS: decoupled annealing posterior sampling.

Zhang, Chu, Berner, Meng, Anandkumar, Song, "Improving diffusion inverse problem solving with decoupled noise
annealing" (arXiv:2407.01521, CVPR 2025), algorithm 1, in pixel space with Langevin dynamics or with what the authors
call Hamiltonian Monte Carlo, the same with momentum. Already in the variance-exploding frame. At each noise level σ_t

    x̂_0 by the probability-flow ODE from x_t,   x_0 ~ p(x_0 | x_t, y),   x_{t−1} = x_0 + σ_{t−1} n

where p(x_0 | x_t, y) is taken for exp(−‖x_0 − x̂_0‖²/(2 r_t²) − ‖y − H x_0‖²/(2 β_y²)) with r_t = σ_t, as in the
paper. For a linear H that is a Gaussian, independent in each coordinate of H's spectrum: the dynamics run there, and
`sampler="exact"`, this project's own, draws from it at once, which is the limit of ever more and smaller steps.

Protocol. The authors' code (zhangbingliang2019/DAPS, configs/task, cores/mcmc.py) sets τ = 0.01 in every task
whatever σ_y is (0.05 there) and divides ∇‖y − H x‖², not half of it, by τ²: its β_y is 0.01/√2. Its step η_0 is 1e-4
(5e-5 for box inpainting and motion deblurring), so 2 (1) β_y². Here η_0 counts in β_y², and is held at 1/L, with L =
1/r_t² + s_max²/β_y² each image's largest curvature, half the bound beyond which the dynamics diverge; theirs stands
at that bound where s_max = 1. Their β_y and their small, decaying steps are no detail: r_t = σ_t is far wider than
p(x_0 | x_t) while σ_t is large, and only steps too few to get there keep x_0 near x̂_0 where H is blind. With β_y = σ_y
and steps of 1/L, or with β_y = σ_y and the exact sampler, 20 levels lose 6 dB (×4 super-resolution of four 64×64 tuning
crops at σ_y = 0.05: 22.3 dB as theirs, 16.4 and 16.2 dB).

With momentum m (mc_algo: hmc there; velocity v, at first n) a step is v ← m v + √η s + √(2 (1 − m)) n, x ← x + √η v,
s the score: no Metropolis test, and Langevin's step at m = 0. A step goes about 1/(1 − m) times as far, so fewer do.
Theirs (pixel_hmc in configs/task), as (steps, η_0 in β_y², δ, m): ×4 super-resolution (12, 2.1, 0.012, 0.9), random
inpainting (11, 0.71, 0.015, 0.8), box inpainting (84, 0.23, 0.014, 0.003), Gaussian blur (82, 0.81, 0.011, 0.1), motion
blur (96, 0.74, 0.01, 0.11). Steps of at most 1/L are stable at any m: the bound is 2 (1 + m)/L.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.schedule import EDMSchedule, Schedule

LIKELIHOOD_STD = 0.01 / math.sqrt(2)
"""The authors' β_y on [-1, 1], and the least there is where β_y follows σ_y: σ_y = 0 is an ordinary case."""


@dataclass(frozen=True)
class DAPS:
    """Anneals samples of p(x_0 | x_t, y), each level's free of the last one's path.

    `ode_steps` network evaluations a level, no vector-Jacobian product; Langevin steps ask no network.

    Attributes:
        ode_steps: Euler steps of the probability-flow ODE; 5 in configs/sampler/edm_daps.yaml.
        ode_sigma_min: σ at which the ODE ends and x is taken for x̂_0; 0.01 there.
        sampler: "langevin" (the paper's) or "exact" (ours) for x_0. The exact one has no steps to set.
        langevin_steps: Langevin steps a level; 100 in configs/task.
        step_size: η_0 in units of β_y²: 2, or 1 for box inpainting and motion deblurring.
        step_decay: δ, the share of η_0 left at the end: η_t = η_0 (δ + (1 − δ) t/T); 0.01 in configs/task.
        likelihood_std: β_y on [-1, 1]; the authors' by default. None takes σ_y, or the authors' where that is less.
        momentum: m of the Langevin steps, in [0, 1); 0 is Langevin dynamics, more the authors' HMC.
        schedule: noise levels; theirs are 200 of EDM's from 100 to 0.1 (1,000 evaluations), narrowed to the prior's
            range. The default, 20, makes 100 evaluations.

    Raises:
        InputError: a hyperparameter outside its range.
    """

    ode_steps: int = 5
    ode_sigma_min: float = 0.01
    sampler: str = "langevin"
    langevin_steps: int = 100
    step_size: float = 2.0
    step_decay: float = 0.01
    likelihood_std: float | None = LIKELIHOOD_STD
    momentum: Annotated[float, AsBefore(0.0)] = 0.0
    schedule: Schedule = field(default_factory=lambda: EDMSchedule(20, sigma_max=100.0, sigma_min=0.1))

    def __post_init__(self) -> None:
        for name, value in (("ode_steps", self.ode_steps), ("langevin_steps", self.langevin_steps)):
            if value < 1:
                raise InputError(f"method.sampler.{name}={value}", "it must be 1 or more")
        if self.sampler not in ("langevin", "exact"):
            raise InputError(f"method.sampler.sampler='{self.sampler}' is unknown", "use langevin or exact")
        if not self.ode_sigma_min > 0:
            raise InputError(f"method.sampler.ode_sigma_min={self.ode_sigma_min}", "it must be > 0")
        if not self.step_size > 0:
            raise InputError(f"method.sampler.step_size={self.step_size}", "it must be > 0; the authors' is 2")
        if not 0 <= self.momentum < 1:
            raise InputError(f"method.sampler.momentum={self.momentum}", "it must be at least 0 and less than 1")
        if not 0 < self.step_decay <= 1:
            raise InputError(f"method.sampler.step_decay={self.step_decay}", "it must be > 0 and at most 1")
        if self.likelihood_std is not None and not self.likelihood_std > 0:
            raise InputError(f"method.sampler.likelihood_std={self.likelihood_std}", "it must be > 0, or null for σ_y")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at σ_max n.

        Raises:
            InputError: the schedule goes below `ode_sigma_min`.
        """
        levels = self.schedule(denoiser)
        std = self.likelihood_std or max(noise_std, LIKELIHOOD_STD)
        x = levels[0] * rng.randn_like(operator.adjoint(y))
        for passed, (sigma, sigma_next) in enumerate(pairwise([*levels, 0.0])):
            x0_hat = self.flow(x, sigma, denoiser)
            if self.sampler == "exact":
                x0 = draw(x0_hat, y, operator, sigma, std, rng)
            else:
                step = self.step_size * (1 - (1 - self.step_decay) * passed / len(levels))
                x0 = langevin(x0_hat, y, operator, sigma, std, step, self.langevin_steps, rng, self.momentum)
            x = x0 + sigma_next * rng.randn_like(x0) if sigma_next > 0 else x0
        return x

    def flow(self, x: Tensor, sigma: float, denoiser: Denoiser) -> Tensor:
        """x̂_0: Euler steps x ← D + (σ'/σ)(x − D) on EDM's levels from σ to `ode_sigma_min`, (B, C, H, W)."""
        levels = EDMSchedule(self.ode_steps + 1, sigma_max=sigma, sigma_min=self.ode_sigma_min)(denoiser)
        for a, b in pairwise(levels):
            denoised = denoiser(x, a)
            x = denoised + (b / a) * (x - denoised)
        return x


def langevin(
    x0_hat: Tensor,
    y: Tensor,
    operator: SpectralOperator,
    prior_std: float,
    likelihood_std: float,
    step_size: float,
    steps: int,
    rng: ImageNoise,
    momentum: float = 0.0,
) -> Tensor:
    """x ← x + η [(x̂_0 − x)/r² + Hᵀ(y − H x)/β_y²] + sqrt(2η) n from x̂_0 (algorithm 1), in the spectrum of H.

    Args:
        x0_hat: x̂_0, (B, C, H, W).
        y: (B, *measurement).
        operator: H.
        prior_std: r > 0.
        likelihood_std: β_y > 0.
        step_size: η in units of β_y²; held at 1/(1/r² + s_max²/β_y²), s_max each image's own.
        steps: number of steps.
        rng: source of n, drawn in the spectrum.
        momentum: m of the velocity, which is what x moves by over √η.

    Returns:
        x_0, (B, C, H, W).
    """
    s = operator.singular_values
    s_max = s.flatten(-3).amax(dim=-1)[..., None, None, None]
    curvature = 1 / prior_std**2 + (s_max / likelihood_std).square()
    eta = (1 / curvature).clamp(max=step_size * likelihood_std**2)
    centre, y_bar = operator.to_spectrum(x0_hat), operator.measurement_to_spectrum(y)
    x = centre
    move = eta.sqrt() * rng.randn_like(x) if momentum else 0.0
    for _ in range(steps):
        score = (centre - x) / prior_std**2 + s * (y_bar - s * x) / likelihood_std**2
        move = momentum * move + eta * score + (2 * (1 - momentum) * eta).sqrt() * rng.randn_like(x)
        x = x + move
    return operator.from_spectrum(x)


def draw(
    x0_hat: Tensor, y: Tensor, operator: SpectralOperator, prior_std: float, likelihood_std: float, rng: ImageNoise
) -> Tensor:
    """x_0 from the Gaussian that `langevin` runs towards: its mean is H's proximal point; arguments as there."""
    mean = operator.prox(x0_hat, y, likelihood_std, step=prior_std**2)
    precision = 1 / prior_std**2 + (operator.singular_values / likelihood_std).square()
    return mean + operator.from_spectrum(precision.rsqrt() * rng.randn_like(x0_hat))
