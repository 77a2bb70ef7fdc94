"""The exact posterior of a Gaussian mixture prior under a linear measurement: density, mean, samples, MAP.

All is computed in the operator's spectrum c = Vᵀ x, where the measurement is ȳ = s c + σ_y n, elementwise; at σ_y = 0
the observed coordinates (s > 0) are simply fixed at ȳ / s.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from vml_bench.operators.base import SpectralOperator, divide_on_support


class Mixture(Protocol):
    """What the posterior needs of its prior: x_0 ~ Σ_k w_k N(μ_k, Σ_k) over flattened images of n = C·H·W numbers.

    Attributes:
        image_shape: (C, H, W).
        weights: w, (K,), positive, summing to 1.
        means: μ, (K, n).
        covariances: Σ, (K, n, n).
        precisions: Σ⁻¹, (K, n, n).
    """

    image_shape: tuple[int, int, int]
    weights: Tensor
    means: Tensor

    @property
    def covariances(self) -> Tensor: ...

    @property
    def precisions(self) -> Tensor: ...

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x_0 = x), (B, C, H, W) -> (B,)."""
        ...

    def log_joint(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; μ_k, Σ_k), (B, C, H, W) -> (B, K)."""
        ...


class ExactPosterior:
    """p(x_0 | y) = Σ_k w_k N(m_k, C_k) for each of B measurements.

    Args:
        prior: the mixture prior.
        y: (B, *measurement).
        operator: H.
        noise_std: σ_y ≥ 0.

    Attributes:
        weights: w, (B, K), posterior probabilities of the components.
        means: m, (B, K, n).
        covariances: C, (B, K, n, n); at σ_y = 0 singular, with the row space of H as null space.
        log_evidence: log p(y), (B,), the density of y on the range of H.
    """

    def __init__(self, prior: Mixture, y: Tensor, operator: SpectralOperator, noise_std: float) -> None:
        self.prior, self.noise_std = prior, noise_std
        operator = operator.to(device=prior.means.device, dtype=prior.means.dtype)
        n = prior.means.shape[1]
        identity = torch.eye(n, dtype=prior.means.dtype, device=prior.means.device)
        self._v = operator.to_spectrum(identity.reshape(n, *prior.image_shape)).flatten(1)
        self._y = operator.measurement_to_spectrum(y.to(identity)).flatten(1)
        self._s = operator.singular_values.reshape(-1, n).expand(len(y), n)
        self._condition()

    def _condition(self) -> None:
        """Condition each component on ȳ = s c + e, Var e = σ_y²; unobserved rows read 0 = 0·c + e, Var e = 1."""
        s, prior = self._s, self.prior
        means, covariances = prior.means @ self._v, self._v.T @ prior.covariances @ self._v
        observed = (s > 0).to(s.dtype)
        noise = self.noise_std**2 * observed + (1 - observed)
        marginal = torch.einsum("bi,kij,bj->bkij", s, covariances, s) + torch.diag_embed(noise)[:, None]
        factor = torch.linalg.cholesky(marginal)
        innovation = self._y[:, None] - s[:, None] * means
        whitened = torch.linalg.solve_triangular(factor, innovation[..., None], upper=False)
        cross = torch.linalg.solve_triangular(factor, s[:, None, :, None] * covariances, upper=False)
        log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        constant = math.log(2 * math.pi) * observed.sum(dim=1, keepdim=True)
        log_joint = prior.weights.log() - (whitened.square().sum(dim=(-2, -1)) + log_determinant + constant) / 2
        self.weights = log_joint.softmax(dim=1)
        self.log_evidence = log_joint.logsumexp(dim=1)
        self.means = (means + (cross.mT @ whitened)[..., 0]) @ self._v.T
        self.covariances = self._v @ (covariances - cross.mT @ cross) @ self._v.T

    def _image(self, flat: Tensor) -> Tensor:
        return flat.reshape(*flat.shape[:-1], *self.prior.image_shape)

    @property
    def mean(self) -> Tensor:
        """E[x_0 | y], (B, C, H, W): the estimate of least mean squared error."""
        return self._image(torch.einsum("bk,bki->bi", self.weights, self.means))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n images from each posterior on the CPU: (B, n, C, H, W)."""
        component = torch.multinomial(self.weights.cpu(), n, replacement=True, generator=generator)
        noise = torch.randn(*component.shape, self.means.shape[-1], generator=generator, dtype=self.means.dtype)
        component, noise = component.to(self.means.device), noise.to(self.means.device)
        eigenvalues, eigenvectors = torch.linalg.eigh(self.covariances)
        roots = eigenvectors * eigenvalues.clamp_min(0).sqrt()[..., None, :]
        image = torch.arange(len(component), device=component.device)[:, None]
        drawn = self.means[:, None] + torch.einsum("bkij,bnj->bnki", roots, noise)  # of every component, then of one
        return self._image(drawn[image, torch.arange(n, device=component.device), component])

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x_0 = x | y), natural logarithm, (B, C, H, W) -> (B,).

        At σ_y = 0 it is the density on the affine set H x = y (Lebesgue measure there) at x's projection onto
        that set, so that differences are differences in log prior after projection; report the residual beside it.
        """
        c = self._project(x.flatten(1).to(self._v) @ self._v)
        if self.noise_std == 0:
            log_likelihood = -torch.where(self._s > 0, self._s, 1).log().sum(dim=1)
        else:
            errors = ((self._y - self._s * c) / self.noise_std).square() + math.log(2 * math.pi * self.noise_std**2)
            log_likelihood = -torch.where(self._s > 0, errors, 0).sum(dim=1) / 2
        return self.prior.log_density(self._image(c @ self._v.T)) + log_likelihood - self.log_evidence

    def map_gap(self, x: Tensor) -> Tensor:
        """log p(x* | y) − log p(x | y) with x* the MAP, (B, C, H, W) -> (B,); ≥ 0, and 0 at the MAP."""
        return self.log_density(self.map()) - self.log_density(x)

    def map(self) -> Tensor:
        """argmax_x p(x_0 = x | y), (B, C, H, W), to machine precision.

        Climbs from every component's posterior mean and keeps the highest mode reached. (A mixture can have more
        modes than components, so "highest mode reached" is not a proof of the global maximum; see Carreira-Perpiñán,
        "Mode-finding for mixtures of Gaussian distributions", 2000, for why these starts are the ones to take.)
        """
        return self._map

    @cached_property
    def _map(self) -> Tensor:
        if self.weights.shape[1] == 1:
            return self.mean
        modes = torch.stack([self._climb(start @ self._v) @ self._v.T for start in self.means.unbind(1)])
        heights = torch.stack([self.log_density(self._image(mode)) for mode in modes])
        return self._image(modes[heights.argmax(dim=0), torch.arange(modes.shape[1], device=modes.device)])

    def _project(self, c: Tensor) -> Tensor:
        """At σ_y = 0 the nearest c with s c = ȳ; under noise every c is possible and stays."""
        if self.noise_std > 0:
            return c
        return torch.where(self._s > 0, divide_on_support(self._y, self._s), c)

    def _climb(self, c: Tensor, steps: int = 500, tolerance: float = 1e-12) -> Tensor:
        """Ascend from c, (B, n) in the spectrum: an EM step, or a Newton step wherever that climbs higher."""
        c = self._project(c)
        for _ in range(steps):
            em, newton = self._proposals(c)
            higher = self._height(newton) >= self._height(em)
            climbed = torch.where(higher[:, None], newton, em)
            moved, c = (climbed - c).abs().max(), climbed
            if moved <= tolerance:
                break
        return c

    def _height(self, c: Tensor) -> Tensor:
        return self.log_density(self._image(c @ self._v.T)).nan_to_num(-math.inf)

    def _proposals(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """The EM (mean-shift) and the Newton update of c. At σ_y = 0 only unobserved coordinates move.

        With responsibilities r and u_k = Σ_k⁻¹(μ_k − c), the gradient of log p is g = Σ r_k u_k and its Hessian
        −A + Σ r_k u_k u_kᵀ − g gᵀ, A = Σ r_k Σ_k⁻¹; EM is Newton with −A alone.
        """
        means, precisions = self.prior.means @ self._v, self._spectral_precisions
        responsibilities = self.prior.log_joint(self._image(c @ self._v.T)).softmax(dim=1)
        pulls = torch.einsum("kij,bkj->bki", precisions, means - c[:, None])
        gradient = torch.einsum("bk,bki->bi", responsibilities, pulls)
        curvature = torch.einsum("bk,kij->bij", responsibilities, precisions)
        centred = pulls - gradient[:, None]
        spread = torch.einsum("bk,bki,bkj->bij", responsibilities, centred, centred)
        if self.noise_std == 0:
            free = (self._s == 0).to(c.dtype)
            block = free[:, :, None] * free[:, None, :]
            gradient, spread = free * gradient, block * spread
            curvature = block * curvature + torch.diag_embed(1 - free)
        else:
            gradient = gradient + self._s * (self._y - self._s * c) / self.noise_std**2
            curvature = curvature + torch.diag_embed(self._s.square()) / self.noise_std**2
        em = c + torch.linalg.solve(curvature, gradient)
        newton, _ = torch.linalg.solve_ex(curvature - spread, gradient)
        return em, c + newton

    @cached_property
    def _spectral_precisions(self) -> Tensor:
        return self._v.T @ self.prior.precisions @ self._v
