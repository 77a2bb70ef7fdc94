"""A method on latents: what it sees of the measurement is A∘decoder, what it returns is decoded.

So a latent prior changes nothing else: images are measured, scored and shown as images. PSLD (arXiv:2307.00619),
ReSample (arXiv:2307.08123) and DAPS (arXiv:2407.01521) measure A(decoder(z)) likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor
from typing_extensions import Self

from vml_bench.contract import Decoder, Denoiser, Method, Noise, NoiseModel, Operator
from vml_bench.errors import InputError
from vml_bench.operators.kinds import DifferentiableOperator, Linearized, LinearOperator
from vml_bench.operators.nonlinear import StraightThrough


class Decoded(DifferentiableOperator):
    """A∘decoder: what is measured of the image of a latent. Each application costs a pass of the decoder.

    It is counted in the `applications` of the operator itself.

    Args:
        operator: A, of any kind.
        decoder: (B, C', h, w) -> (B, C, H, W).
        latent_shape: (C', h, w).
    """

    tolerance = 1e-2
    iterations = 10
    gauss_newton_steps = 3

    def __init__(self, operator: Operator, decoder: Decoder, latent_shape: Sequence[int]) -> None:
        self.image_shape = tuple(latent_shape)
        self._operator = operator
        self._decoder = decoder
        self._measured = getattr(operator, "apply", operator.forward)

    def apply(self, x: Tensor) -> Tensor:
        return self._measured(self._decoder(x))

    def linearized(self, x: Tensor) -> LinearOperator:
        """The Jacobian at z; of an operator that has no derivative, what it takes for one behind the decoder's."""
        seen = copy(self)
        if isinstance(self._operator, StraightThrough):
            with torch.no_grad():
                seen._measured = self._operator.linearized(self._decoder(x)).forward
        return Linearized(seen, x)

    def count(self, asked: Tensor | float = 1.0) -> None:
        """Note applications at the operator, whose own are those of A∘decoder alone."""
        self._operator.applications = self._operator.applications + asked

    def start(self, y: Tensor) -> Tensor:
        """The latent of the operator's own start."""
        return self._decoder.encode(self._operator.start(y))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """‖y − A(decoder(z))‖ of each image, as the operator has it: (B,)."""
        return self._operator.residual(self._decoder(x), y)

    def expected_residual(self, y: Tensor, noise_std: float) -> Tensor:
        """The operator's."""
        return self._operator.expected_residual(y, noise_std)

    @property
    def noise(self) -> NoiseModel:
        """The operator's."""
        return getattr(self._operator, "noise", "gaussian")

    def variance(self, y: Tensor) -> Tensor:
        """The operator's, of noise that is not Gaussian."""
        return self._operator.variance(y)

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        """y = A(decoder(z)) + σ_y n, as the operator has it."""
        return self._operator.measure(self._decoder(x), noise_std, noise)

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """With the operator of these images."""
        return type(self)(self._operator.for_images(image_ids, seed), self._decoder, self.image_shape)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """With the operator on a device; the decoder stays where it is."""
        return type(self)(self._operator.to(device, dtype), self._decoder, self.image_shape)

    def picture(self, y: Tensor) -> Tensor:
        """The operator's, an image."""
        return self._operator.picture(y)


class OnLatents:
    """A method that restores latents, as one that restores images.

    Args:
        method: takes differentiable operators.
        decoder: of the prior.
        latent_shape: (C', h, w), the prior's `image_shape`.
    """

    def __init__(self, method: Method, decoder: Decoder, latent_shape: Sequence[int]) -> None:
        self._method = method
        self._decoder = decoder
        self._latent_shape = tuple(latent_shape)

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """decoder(z) of the method's answer z: (B, C, H, W), not clipped.

        Raises:
            InputError: the method returned no batch of latents.
        """
        seen = Decoded(operator, self._decoder, self._latent_shape)
        latents = self._method.restore(y, seen, noise_std, denoiser, rng)
        wanted = (len(y), *self._latent_shape)
        if not isinstance(latents, Tensor) or latents.shape != wanted:
            found = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
            raise InputError(
                f"method {type(self._method).__name__} returned {found} for latents of {wanted}",
                "return the restored latents, of the shape of operator.blank(y)",
            )
        with torch.no_grad():
            return self._decoder(latents)
