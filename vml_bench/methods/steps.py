"""What the VML methods share: hyperparameters, the start, the preconditioned direction, the move between levels.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from vml_bench.denoiser import JACOBIANS, Denoiser
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.schedule import EDMSchedule, Schedule


@dataclass(frozen=True)
class InnerLoop:
    """The hyperparameters of every VML method: K steps of size η at each noise level, then the move to the next.

    Attributes:
        inner_steps: K, steps at each noise level.
        step_size: η; 1 is the method's full step.
        move: to the next level by "stationary", "flow" or "renoise"; see `next_level`.
        start: at σ_max from "noise", the "centre" or the "pinv"; see `starting_point`.
        schedule: noise levels; 20 of EDM's by default.

    Raises:
        InputError: a hyperparameter outside its range.
    """

    inner_steps: int = 5
    step_size: float = 1.0
    move: str = "stationary"
    start: str = "noise"
    schedule: Schedule = field(default_factory=EDMSchedule)

    def __post_init__(self) -> None:
        if self.inner_steps < 1:
            raise InputError(f"method.sampler.inner_steps={self.inner_steps}", "it must be 1 or more")
        if not self.step_size > 0:
            raise InputError(f"method.sampler.step_size={self.step_size}", "it must be > 0; 1 is the full step")
        if self.move not in ("stationary", "flow", "renoise"):
            raise InputError(f"method.sampler.move='{self.move}' is unknown", "use stationary, flow or renoise")
        if self.start not in ("noise", "centre", "pinv"):
            raise InputError(f"method.sampler.start='{self.start}' is unknown", "use noise, centre or pinv")


@dataclass(frozen=True)
class JacobianLoop(InnerLoop):
    """An inner loop whose steps are products with the network's Jacobian J.

    Attributes:
        jacobian: how a product is had: "reverse", Jᵀ v by a vector-Jacobian product, or "forward_difference", J v by
            one more network evaluation and no activation memory; see `Denoiser.vjp`.
    """

    jacobian: Annotated[str, AsBefore("reverse")] = "reverse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jacobian not in JACOBIANS:
            raise InputError(f"method.sampler.jacobian='{self.jacobian}' is unknown", f"use {' or '.join(JACOBIANS)}")


def starting_point(
    start: str, sigma: float, y: Tensor, operator: SpectralOperator, noise_std: float, rng: ImageNoise
) -> Tensor:
    """x_t at the first level, (B, C, H, W).

    Args:
        start: "noise", x = σ n as a sampler starts; "centre", x = 0, the middle of [-1, 1]; or "pinv", the
            pseudo-inverse of y, regularised, argmin_z ‖z‖²/(2σ²) + ‖y − H z‖²/(2σ_y²): what one full step from the
            centre comes to where D is the centre still, as it nearly is at large σ, and without an evaluation. Noise
            in the null space of H decides the mode if the steps cannot remove it before the modes part (`vml_map_pre`).
        sigma: σ_1, the first level.
        y: (B, *measurement).
        operator: H.
        noise_std: σ_y ≥ 0.
        rng: source of n.
    """
    centre = torch.zeros_like(operator.adjoint(y))
    if start == "noise":
        return sigma * rng.randn_like(centre)
    return operator.prox(centre, y, noise_std, step=sigma**2) if start == "pinv" else centre


def preconditioned_direction(
    x: Tensor, denoised: Tensor, y: Tensor, operator: SpectralOperator, noise_std: float, sigma: float
) -> Tensor:
    """d = −P [ (x − D)/σ² − Hᵀ(y − H D)/σ_y² ] with P = (HᵀH/σ_y² + I/σ²)⁻¹, in the spectrum of H.

    Where s = 0 it is D̄ − x̄; at σ_y = 0 and s > 0 it is (ȳ − s D̄)/s.

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
    s = operator.singular_values
    x_bar, d_bar, y_bar = operator.to_spectrum(x), operator.to_spectrum(denoised), operator.measurement_to_spectrum(y)
    observed = s > 0
    weight = torch.where(observed, s.square() * sigma**2 + noise_std**2, 1)
    informed = (noise_std**2 * (d_bar - x_bar) + sigma**2 * s * (y_bar - s * d_bar)) / weight
    return operator.from_spectrum(torch.where(observed, informed, d_bar - x_bar))


def next_level(
    x: Tensor, denoised: Tensor, sigma: float, sigma_next: float, move: str, denoiser: Denoiser, rng: ImageNoise
) -> Tensor:
    """Take x_t from σ to σ_next; to 0 at the end, where the answer is D.

    A stationary point of VML_S is x = D + σ² g with g = Hᵀ(H D − y)/σ_y², so that where D has settled, "stationary"
    lands on the next level's stationary point (exactly, if the prior is Gaussian: its D is the MAP at every σ). "flow"
    scales x − D by σ_next/σ, as a sample's is, and leaves the inner steps that offset to undo. Both reuse D of the last
    inner step and cost no evaluation. Re-noising forgets x_t, and so must evaluate D where x_t has arrived.

    Args:
        x: x_t after the inner steps, (B, C, H, W).
        denoised: D of the last inner step, (B, C, H, W).
        sigma, sigma_next: σ > σ_next ≥ 0.
        move: "stationary", x ← D + (σ_next/σ)²(x − D); "flow", the probability-flow step (Euler)
            x ← D + (σ_next/σ)(x − D); or "renoise", x ← D + σ_next n.
        denoiser: D.
        rng: source of n.
    """
    if sigma_next == 0:
        return denoised
    if move == "renoise":
        return denoiser(x, sigma) + sigma_next * rng.randn_like(x)
    return denoised + (sigma_next / sigma) ** (2 if move == "stationary" else 1) * (x - denoised)
