"""RED-diff: regularisation by a denoising diffusion.

Mardani, Song, Kautz, Vahdat, "A variational perspective on solving inverse problems with diffusion models"
(arXiv:2305.04391, ICLR 2024), algorithm 1, carried over to the variance-exploding frame. A posterior N(μ, 0) is fitted
by Adam to v ‖y − H μ‖²/2 + λ (σ_t/α_t) sg[ε_θ(x_t) − n]ᵀ μ with x_t = α_t μ + sqrt(1 − α_t²) n, σ_t/α_t the square
root of the inverse signal-to-noise ratio. Here x_t = μ + σ n, σ_t/α_t is σ, and ε_θ = (x_t − D)/σ, so that the
regulariser's gradient λ σ (ε_θ − n) is λ (μ − D(μ + σ n, σ)).

Both terms are means in the authors' code (NVlabs/RED-diff, algos/reddiff.py), over the m numbers of a measurement and
the d of an image. Adam does not see a common factor, so d/m is what remains of it, on the data term. (The code's means
run over the batch as well, which through Adam's 1e-8 makes an image depend on its batch; not here.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.schedule import DDPMSchedule, Schedule

ADAM_EPSILON = 1e-8
"""Kept from a division by 0; the authors' code leaves it at this default of Adam (arXiv:1412.6980)."""


@dataclass(frozen=True)
class REDDiff:
    """Adam on the image itself: one step a noise level, from the largest to the smallest, from H⁺ y.

    The start is clipped to [-1, 1], which is not the paper's: under a blur H⁺ carries noise to where the few steps of
    Adam, of one learning rate each, cannot fetch it back.

    One network evaluation a level, no vector-Jacobian product; σ_y is not used.

    Attributes:
        weight: λ, of the regulariser (`grad_term_weight`); 0.25 in _configs/algo/reddiff.yaml and the README, 1 in
            sample_batch.sh, all at σ_y = 0 and 256×256. What suits a σ_y grows with it.
        data_weight: v, of the measurement (`obs_weight`); 1. Only λ/v matters.
        learning_rate: of Adam; 0.1 in the configuration, 0.5 in the README's inpainting, both on [-1, 1].
        betas: of Adam; (0.9, 0.99).
        schedule: noise levels; 100 of 1,000 timesteps in the README, 1,000 in sample_batch.sh.

    Raises:
        InputError: a hyperparameter outside its range.
    """

    weight: float = 0.25
    data_weight: float = 1.0
    learning_rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=100, spacing="leading"))

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise InputError(f"method.sampler.weight={self.weight}", "it must be 0 or more; the paper's code has 0.25")
        for name, value in (("data_weight", self.data_weight), ("learning_rate", self.learning_rate)):
            if not value > 0:
                raise InputError(f"method.sampler.{name}={value}", "it must be > 0")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"method.sampler.betas={list(self.betas)}", "give two numbers in [0, 1), as [0.9, 0.99]")

    def restore(
        self, y: Tensor, operator: SpectralOperator, noise_std: float, denoiser: Denoiser, rng: ImageNoise
    ) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped; starts at H⁺ y."""
        mu, first, second = operator.pinv(y).clamp(-1, 1), 0.0, 0.0
        b1, b2 = self.betas
        for k, sigma in enumerate(self.schedule(denoiser), start=1):
            gradient = self.gradient(mu, sigma, y, operator, denoiser, rng.randn_like(mu))
            first = b1 * first + (1 - b1) * gradient
            second = b2 * second + (1 - b2) * gradient.square()
            mu = mu - self.learning_rate * (first / (1 - b1**k)) / ((second / (1 - b2**k)).sqrt() + ADAM_EPSILON)
        return mu

    def gradient(
        self, mu: Tensor, sigma: float, y: Tensor, operator: SpectralOperator, denoiser: Denoiser, noise: Tensor
    ) -> Tensor:
        """v (d/m) Hᵀ(H μ − y) + λ (μ − D(μ + σ n, σ)) with the given n: (B, C, H, W) -> (B, C, H, W)."""
        numbers = mu[0].numel() / y[0].numel()
        data = numbers * operator.adjoint(operator.forward(mu) - y)
        prior = mu - denoiser(mu + sigma * noise, sigma)
        return self.data_weight * data + self.weight * prior
