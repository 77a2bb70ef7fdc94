"""Priors whose denoiser, density, posterior and MAP are known in closed form: Gaussians and their mixtures.

They give the exact answers that methods are tested against. With x_t = x_0 + σ n and x_0 ~ Σ_k w_k N(μ_k, Σ_k),
the noised density is Σ_k w_k N(μ_k, Σ_k + σ² I), and D and Cov[x_0 | x_t] are the usual Gaussian conditionals,
averaged over the components' responsibilities. All is computed in the dtype of the parameters (float64 from the
factories below) and returned in the dtype of x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.noise import image_generator
from vml_bench.operators.base import SpectralOperator
from vml_bench.priors.base import sigma_column
from vml_bench.priors.exact_posterior import ExactPosterior


class GaussianMixturePrior(torch.nn.Module):
    """x_0 ~ Σ_k w_k N(μ_k, Σ_k) over flattened images, n = C·H·W; a `Prior`.

    Args:
        weights: w, (K,), positive, summing to 1.
        means: μ, (K, n).
        covariances: Σ, (K, n, n), symmetric positive definite.
        image_shape: (C, H, W).
        sigma_min, sigma_max: range of σ that schedules use; D itself is exact at any σ ≥ 0.

    Raises:
        InputError: shapes disagree, the weights are not a distribution, or a covariance is not positive definite.
    """

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        covariances: Tensor,
        image_shape: tuple[int, int, int],
        sigma_min: float = 0.002,
        sigma_max: float = 20.0,
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        k, n = len(weights), math.prod(self.image_shape)
        if means.shape != (k, n) or covariances.shape != (k, n, n):
            raise InputError(
                f"a mixture of {k} components over images {self.image_shape} got means {tuple(means.shape)} "
                f"and covariances {tuple(covariances.shape)}",
                f"give means ({k}, {n}) and covariances ({k}, {n}, {n})",
            )
        if not bool((weights > 0).all()) or abs(float(weights.sum()) - 1) > 1e-6:
            raise InputError(f"mixture weights {weights.tolist()} are not a distribution", "give weights > 0 of sum 1")
        eigenvalues, eigenvectors = torch.linalg.eigh(covariances)
        if not bool((eigenvalues > 0).all()):
            raise InputError(
                f"a covariance has eigenvalue {float(eigenvalues.min()):.2g}", "give positive definite ones"
            )
        self.register_buffer("weights", weights)
        self.register_buffer("means", means)
        self.register_buffer("eigenvalues", eigenvalues)
        self.register_buffer("eigenvectors", eigenvectors)

    @property
    def covariances(self) -> Tensor:
        """Σ, (K, n, n)."""
        return self._with_eigenvalues(self.eigenvalues)

    @property
    def precisions(self) -> Tensor:
        """Σ⁻¹, (K, n, n)."""
        return self._with_eigenvalues(1 / self.eigenvalues)

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """D(x, σ) = E[x_0 | x_t = x], (B, C, H, W) -> (B, C, H, W); differentiable in x."""
        responsibilities, component_means, _ = self._components(x, sigma)
        mean = torch.einsum("bk,bki->bi", responsibilities, component_means)
        return mean.to(x.dtype).reshape(x.shape)

    def covariance(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Cov[x_0 | x_t = x], (B, C, H, W) -> (B, n, n)."""
        responsibilities, means, variances = self._components(x, sigma)
        within = torch.einsum("kij,bkj,klj->bkil", self.eigenvectors, variances, self.eigenvectors)
        centred = means - torch.einsum("bk,bki->bi", responsibilities, means)[:, None]
        between = torch.einsum("bki,bkj->bkij", centred, centred)
        return torch.einsum("bk,bkij->bij", responsibilities, within + between).to(x.dtype)

    def log_density(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """log p(x_t = x), natural logarithm, (B, C, H, W) -> (B,); its gradient is the score (D − x) / σ²."""
        return self.log_joint(x, sigma).logsumexp(dim=1).to(x.dtype)

    def log_joint(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """log w_k + log N(x; μ_k, Σ_k + σ² I), (B, C, H, W) -> (B, K), in the parameters' dtype."""
        coordinates, variances = self._eigencoordinates(x, sigma)
        quadratic = coordinates.square() / variances + (2 * math.pi * variances).log()
        return self.weights.log() - quadratic.sum(dim=2) / 2

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n images x_0 on the CPU: (n, C, H, W) in the parameters' dtype and on their device."""
        component = torch.multinomial(self.weights.cpu(), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype).to(self.means.device)
        component = component.to(self.means.device)
        deviation = torch.einsum("bij,bj->bi", self.eigenvectors[component], noise * self.eigenvalues[component].sqrt())
        return (self.means[component] + deviation).reshape(n, *self.image_shape)

    def posterior(self, y: Tensor, operator: SpectralOperator, noise_std: float) -> ExactPosterior:
        """p(x_0 | y) for y = H x_0 + σ_y n, again a Gaussian mixture; σ_y = 0 conditions on H x_0 = y.

        Args:
            y: (B, *measurement).
            operator: H, taken to the parameters' dtype here.
            noise_std: σ_y ≥ 0.
        """
        return ExactPosterior(self, y, operator, noise_std)

    def _with_eigenvalues(self, eigenvalues: Tensor) -> Tensor:
        return (self.eigenvectors * eigenvalues[:, None]) @ self.eigenvectors.mT

    def _eigencoordinates(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """x − μ_k in each component's eigenbasis, (B, K, n), and the variances λ + σ² of x_t there."""
        centred = x.flatten(1).to(self.means.dtype)[:, None] - self.means
        coordinates = torch.einsum("kij,bki->bkj", self.eigenvectors, centred)
        return coordinates, self.eigenvalues + sigma_column(sigma, coordinates).square()

    def _components(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Responsibilities (B, K), conditional means (B, K, n), conditional variances in the eigenbasis (B, K, n)."""
        coordinates, variances = self._eigencoordinates(x, sigma)
        shrinkage = self.eigenvalues / variances
        means = self.means + torch.einsum("kij,bkj->bki", self.eigenvectors, shrinkage * coordinates)
        posterior_variances = shrinkage * sigma_column(sigma, coordinates).square()
        return self.log_joint(x, sigma).softmax(dim=1), means, posterior_variances


class GaussianPrior(GaussianMixturePrior):
    """x_0 ~ N(μ, Σ): the mixture of one component, whose MAP is the posterior mean.

    Args:
        mean: μ, (n,).
        covariance: Σ, (n, n), symmetric positive definite.
        image_shape, sigma_min, sigma_max: see `GaussianMixturePrior`.
    """

    def __init__(
        self,
        mean: Tensor,
        covariance: Tensor,
        image_shape: tuple[int, int, int],
        sigma_min: float = 0.002,
        sigma_max: float = 20.0,
    ) -> None:
        super().__init__(mean.new_ones(1), mean[None], covariance[None], image_shape, sigma_min, sigma_max)


def random_mixture(
    image_shape: tuple[int, int, int],
    components: int,
    seed: int,
    spread: float = 0.5,
    scale: float = 0.5,
    decay: float = 1.0,
    sigma_min: float = 0.002,
    sigma_max: float = 20.0,
) -> GaussianMixturePrior:
    """A seeded float64 mixture of equal weights with the scale of images in [-1, 1].

    Each mean is drawn from N(0, spread² I). Each covariance has the eigenvalues scale² i^(−decay), i = 1 … n, the
    power law of natural images' spectra, in a random orthogonal basis of its own.

    Args:
        image_shape: (C, H, W).
        components: K ≥ 1.
        seed: of means and bases.
        spread: standard deviation of the means' pixels.
        scale: standard deviation along the widest direction of a component.
        decay: exponent of the spectrum.
        sigma_min, sigma_max: see `GaussianMixturePrior`.

    Raises:
        InputError: fewer than one component.
    """
    if components < 1:
        raise InputError(f"a mixture of {components} components", "prior.model.components must be 1 or more")
    n = math.prod(image_shape)
    generator = image_generator(seed, "mixture", "prior")  # never the stream that an operator of this seed draws
    means = spread * torch.randn(components, n, generator=generator, dtype=torch.float64)
    bases, _ = torch.linalg.qr(torch.randn(components, n, n, generator=generator, dtype=torch.float64))
    eigenvalues = scale**2 * torch.arange(1, n + 1, dtype=torch.float64) ** -decay
    covariances = (bases * eigenvalues) @ bases.mT
    weights = torch.full((components,), 1 / components, dtype=torch.float64)
    return GaussianMixturePrior(weights, means, covariances, image_shape, sigma_min, sigma_max)


def random_gaussian(
    image_shape: tuple[int, int, int],
    seed: int,
    spread: float = 0.5,
    scale: float = 0.5,
    decay: float = 1.0,
    sigma_min: float = 0.002,
    sigma_max: float = 20.0,
) -> GaussianPrior:
    """A seeded float64 Gaussian: the one component that `random_mixture` draws with the same arguments."""
    mixture = random_mixture(image_shape, 1, seed, spread, scale, decay, sigma_min, sigma_max)
    return GaussianPrior(mixture.means[0], mixture.covariances[0], image_shape, sigma_min, sigma_max)
