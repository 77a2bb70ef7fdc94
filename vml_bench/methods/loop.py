"""The loop that the VML methods share: steps along a direction at each noise level, then the move to the next.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import field
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.identity import AsBefore
from vml_bench.schedule import EDMSchedule, Schedule
from vml_bench.settings import settings


@settings
class InnerLoop(ABC):
    """At each noise level K steps x ← x + η d, the method's own `direction`; then the move to the next level.

    A stationary point of VML_S is x = D + σ² g with g = Hᵀ(y − H D)/σ_y². So where D has settled, the "stationary" move
    x ← D + (σ_next/σ)²(x − D) lands on the next level's stationary point (exactly, if the prior is Gaussian: its D is
    the MAP at every σ). "flow", x ← D + (σ_next/σ)(x − D), is the Euler step of the probability flow: it scales x − D
    as a sample's, and leaves the inner steps that offset to undo. Both reuse D of the last inner step and cost no
    evaluation. "renoise", x ← D + σ_next n, forgets x_t, and so must evaluate D where x_t has arrived.

    The start "noise" is σ n, a sampler's; "centre" is 0, the middle of [-1, 1]; "pinv" is the regularised
    pseudo-inverse argmin_z ‖z‖²/(2σ²) + ‖y − H z‖²/(2σ_y²): what one full step from the centre comes to if D is still
    the centre there, as it nearly is at large σ, without an evaluation. Noise in the null space of H decides the mode
    if the steps cannot remove it before the modes part (`vml_map_pre`).

    What the answer is. D(·, σ) is the proximal map of σ² φ_σ for some φ_σ wherever its Jacobian is symmetric and
    positive, so that where D has settled at the last level it minimises ‖y − H z‖²/(2σ_y²) + φ_σ(z). As σ → 0, φ_σ
    tends to −log p, and D to a mode of the posterior; at σ > 0, φ_σ is smoother, and D the mode of a smoothed
    posterior. (For a Gaussian prior φ_σ is −log p at every σ.) `vml_bench.studies.outer_loops` measures both.

    Attributes:
        inner_steps: K, steps at each noise level.
        step_size: η; 1 is the method's full step.
        move: from each level to the next; the answer is D of the last step.
        start: x_t at the first level.
        schedule: noise levels; 20 of EDM's by default.
        final_denoise: evaluate D once more after the last step, so that the answer is D of where it arrived.
        replace_observed: at σ_y = 0, put what y says in place of the answer's observed coordinates.
    """

    needs_operator: ClassVar[Kind] = "differentiable"

    inner_steps: PositiveInt = 5
    step_size: PositiveFloat = 1.0
    move: Literal["stationary", "flow", "renoise"] = "stationary"
    start: Literal["noise", "centre", "pinv"] = "noise"
    schedule: Schedule = field(default_factory=EDMSchedule)
    final_denoise: Annotated[bool, AsBefore(False)] = False
    replace_observed: Annotated[bool, AsBefore(False)] = False

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W) in [-1, 1], not clipped."""
        levels = self.schedule(denoiser)
        x = operator.blank(y)
        if self.start == "noise":
            x = levels[0] * rng.randn_like(x)
        elif self.start == "pinv":
            x = operator.prox(x, y, noise_std, step=levels[0] ** 2)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            for _ in range(self.inner_steps):
                denoised, d = self.direction(x, sigma, y, operator, noise_std, denoiser)
                x = x + self.step_size * d
            if sigma_next == 0:
                x = denoiser(x, sigma) if self.final_denoise else denoised
            elif self.move == "renoise":
                x = denoiser(x, sigma) + sigma_next * rng.randn_like(x)
            else:
                x = denoised + (sigma_next / sigma) ** (2 if self.move == "stationary" else 1) * (x - denoised)
        return operator.prox(x, y, 0.0, step=1.0) if self.replace_observed and noise_std == 0 else x

    @abstractmethod
    def direction(
        self, x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser
    ) -> tuple[Tensor, Tensor]:
        """D(x_t, σ), and d, along which a step from x_t goes; both (B, C, H, W)."""


@settings
class JacobianLoop(InnerLoop):
    """An inner loop whose directions are products with the network's Jacobian J.

    Attributes:
        jacobian: how products with J are computed: "reverse", Jᵀ v by a backward pass, or "forward_difference", J v by
            one more network evaluation, without activations in memory; see `Denoiser.vjp`.
    """

    jacobian: Annotated[Literal["reverse", "forward_difference"], AsBefore("reverse")] = "reverse"


def preconditioned_direction(
    x: Tensor, denoised: Tensor, y: Tensor, operator: Operator, noise_std: float, sigma: float
) -> Tensor:
    """d = −P [ (x − D)/σ² − Hᵀ(y − H D)/σ_y² ] with P = (HᵀH/σ_y² + I/σ²)⁻¹.

    In the spectrum of H, where s = 0 it is D̄ − x̄, and at σ_y = 0 and s > 0 it is (ȳ − s D̄)/s. Without a spectrum d is
    the δ that minimises ‖δ − (D − x)‖²/(2σ²) + ‖y − H D − H δ‖²/(2σ_y²), by conjugate gradients, exact to their
    tolerance. Where the operator A is not linear H is its Jacobian at D, and H D in the misfit A(D): Gauss and Newton's
    step. P drops A's second derivatives, but d = 0 where the bracket is, so the stationary points are exact.

    Args:
        x: x_t, (B, C, H, W).
        denoised: D(x_t, σ), (B, C, H, W).
        y: (B, *measurement).
        operator: H.
        noise_std: σ_y ≥ 0.
        sigma: σ > 0.

    Returns:
        (B, C, H, W).
    """
    if operator.kind != "spectral":
        jacobian, pull = operator.linearized(denoised), denoised - x
        misfit = y - operator.forward(denoised) - jacobian.forward(pull)
        return pull + jacobian.correct(misfit, noise_std, sigma**2)
    s = operator.singular_values
    x_bar, d_bar, y_bar = operator.to_spectrum(x), operator.to_spectrum(denoised), operator.measurement_to_spectrum(y)
    observed = s > 0
    weight = torch.where(observed, s.square() * sigma**2 + noise_std**2, 1)
    informed = (noise_std**2 * (d_bar - x_bar) + sigma**2 * s * (y_bar - s * d_bar)) / weight
    return operator.from_spectrum(torch.where(observed, informed, d_bar - x_bar))
