"""Small problems whose exact MAP is known: a Gaussian mixture in 32 dimensions under 12 random measurements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vml_bench.denoiser import Denoiser
from vml_bench.noise import ImageNoise
from vml_bench.operators import RandomProjection
from vml_bench.priors.closed_form import GaussianMixturePrior, random_mixture
from vml_bench.priors.exact_posterior import ExactPosterior

SHAPE = (1, 4, 8)


@dataclass(frozen=True)
class Problem:
    """B measurements of B images drawn from a prior."""

    prior: GaussianMixturePrior
    operator: RandomProjection
    noise_std: float
    truth: Tensor
    y: Tensor

    @property
    def posterior(self) -> ExactPosterior:
        return self.prior.posterior(self.y, self.operator, self.noise_std)

    def restore(self, method, seed: int = 0) -> tuple[Tensor, Denoiser]:
        """The method's answer and the denoiser that counted its work."""
        denoiser = Denoiser(self.prior)
        noise = ImageNoise(seed, [str(i) for i in range(len(self.y))], "method")
        return method.restore(self.y, self.operator, self.noise_std, denoiser, noise), denoiser


def problem(seed: int = 0, images: int = 8, components: int = 3, noise_std: float = 0.05) -> Problem:
    """A prior, an operator and measurements, all seeded, in float64."""
    prior = random_mixture(SHAPE, components, seed)
    operator = RandomProjection(SHAPE, 12, seed, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1000 + seed)
    truth = prior.sample(images, generator)
    noise = torch.randn(operator.forward(truth).shape, generator=generator, dtype=torch.float64)
    return Problem(prior, operator, noise_std, truth, operator.measure(truth, noise_std, noise))
