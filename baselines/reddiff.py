"""RED-diff: regularisation by a denoising diffusion.

Mardani, Song, Kautz, Vahdat, "A variational perspective on solving inverse problems with diffusion models"
(arXiv:2305.04391, ICLR 2024), algorithm 1, carried over to the variance-exploding frame. A posterior N(μ, 0) is fitted
by Adam to v ‖y − H μ‖²/2 + λ (σ_t/α_t) sg[ε_θ(x_t) − n]ᵀ μ with x_t = α_t μ + sqrt(1 − α_t²) n, σ_t/α_t the square
root of the inverse signal-to-noise ratio. Here x_t = μ + σ n, σ_t/α_t is σ, and ε_θ = (x_t − D)/σ, so that the
regulariser's gradient λ σ (ε_θ − n) is λ (μ − D(μ + σ n, σ)).

Both terms are means in the authors' program (NVlabs/RED-diff, algos/reddiff.py), over the batch and over the m numbers
of a measurement or the d of an image. Here the gradient is B d times theirs (B the batch), so d/m remains on the data
term. Adam does not see the common factor but for its ε = 1e-8, which in their units counts as 1e-8·B·d here: 0.002 for
one image of 256×256, 0.04 for a batch of 20. So their steps are shorter where gradients are small, and an image depends
on its batch; here ε is 1e-8 and it does not, unless `batch_in_mean` says so. Their program also saves μ from before the
last step, and does not clip the start. conf/method/published/reddiff.yaml sets these options.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.identity import AsBefore
from vml_bench.schedule import DDPMSchedule, Schedule
from vml_bench.settings import settings

ADAM_EPSILON = 1e-8
"""ε of Adam (arXiv:1412.6980), at its default."""
Decay = Annotated[float, Field(ge=0, lt=1)]


@settings
class REDDiff:
    """Adam on the image itself: one step per noise level, from the largest to the smallest, from H⁺ y.

    The start is clipped to [-1, 1], which is not the paper's: under a blur H⁺ carries noise to where the few steps of
    Adam, of one learning rate each, cannot fetch it back.

    One network evaluation per level, no vector-Jacobian product; σ_y is not used.

    Attributes:
        weight: λ, of the regulariser (`grad_term_weight`); 0.25 in _configs/algo/reddiff.yaml and the README, 1 in
            sample_batch.sh, all at σ_y = 0 and 256×256. What suits a σ_y grows with it.
        data_weight: v, of the measurement (`obs_weight`); 1. Only λ/v matters, but for Adam's ε.
        learning_rate: of Adam; 0.1 in the configuration, 0.5 in the README's inpainting, both on [-1, 1].
        betas: of Adam; (0.9, 0.99).
        schedule: noise levels; 100 of 1,000 timesteps in the README, 1,000 in sample_batch.sh.
        batch_in_mean: B of the loss's mean (`loader.batch_size`: 10 in the README, 20 in sample_batch.sh), which makes
            Adam's ε 1e-8·B·d as in algos/reddiff.py. It need not be the batch that is run. None leaves ε at 1e-8.
        clip_start: whether the start is clipped to [-1, 1]; it is not in algos/reddiff.py.
        apply_last_step: False returns μ from before the last step, as algos/reddiff.py and main.py do (`x0_pred`); the
            evaluation that they make for it is left out.
    """

    needs_operator: ClassVar[Kind] = "differentiable"

    weight: NonNegativeFloat = 0.25
    data_weight: PositiveFloat = 1.0
    learning_rate: PositiveFloat = 0.1
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    schedule: Schedule = field(default_factory=lambda: DDPMSchedule(levels=100, spacing="leading"))
    batch_in_mean: Annotated[PositiveInt | None, AsBefore(None)] = None
    clip_start: Annotated[bool, AsBefore(True)] = True
    apply_last_step: Annotated[bool, AsBefore(True)] = True

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W), not clipped."""
        mu, first, second = operator.start(y), 0.0, 0.0
        mu = mu.clamp(-1, 1) if self.clip_start else mu
        b1, b2 = self.betas
        ratio = mu[0].numel() / y[0].numel()  # d/m
        epsilon = ADAM_EPSILON * (self.batch_in_mean * mu[0].numel() if self.batch_in_mean else 1)
        levels = self.schedule(denoiser)
        for k, sigma in enumerate(levels if self.apply_last_step else levels[:-1], start=1):
            data = ratio * operator.linearized(mu).adjoint(operator.forward(mu) - y)
            prior = mu - denoiser(mu + sigma * rng.randn_like(mu), sigma)
            gradient = self.data_weight * data + self.weight * prior
            first = b1 * first + (1 - b1) * gradient
            second = b2 * second + (1 - b2) * gradient.square()
            mu = mu - self.learning_rate * (first / (1 - b1**k)) / ((second / (1 - b2**k)).sqrt() + epsilon)
        return mu
