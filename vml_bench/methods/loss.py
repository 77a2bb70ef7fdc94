"""The variational mode-seeking loss: exact on closed-form priors, its covariance terms by probing on any denoiser.

Gutha, Vinuesa, Azizpour, "Inverse problems with diffusion models: MAP estimation via mode-seeking loss"
(arXiv:2512.10524). With D and Cov the mean and covariance of p(x_0 | x_t), n the number of values in an image and m
the rank of H (y is scored on the range of H, as by `ExactPosterior`):

    VML(x_t) = KL( p(x_0 | x_t) ‖ p(x_0 | y) ) = VML_S + C + c

    VML_S = −log p(x_t) − ‖D − x_t‖²/(2σ²) + ‖y − H D‖²/(2σ_y²)          what the methods descend
    C     = −Tr Cov/(2σ²) + Tr(H Cov Hᵀ)/(2σ_y²)                         the covariance terms
    c     = log p(y) + (m/2) log(2π σ_y²) − (n/2) log(2π σ²)             free of x_t

All need σ_y > 0: at σ_y = 0 the divergence of a density from a distribution on the set H x = y is infinite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vml_bench.contract import Denoiser, Noise, Operator
from vml_bench.errors import InputError
from vml_bench.priors.closed_form import GaussianMixturePrior


class Estimate(NamedTuple):
    """A mean over random probes.

    Attributes:
        value: (B,).
        standard_error: of `value`, (B,).
    """

    value: Tensor
    standard_error: Tensor


def vml_loss(
    x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, prior: GaussianMixturePrior
) -> Tensor:
    """VML(x_t) = KL(p(x_0 | x_t) ‖ p(x_0 | y)) in nats, exact and differentiable in x: (B, C, H, W) -> (B,).

    Args:
        x: x_t, (B, C, H, W).
        sigma: σ > 0, of x_t.
        y: (B, *measurement).
        operator: H.
        noise_std: σ_y > 0.
        prior: p(x_0), closed form.

    Raises:
        InputError: σ_y = 0.
    """
    simplified = simplified_loss(x, sigma, y, operator, noise_std, prior)
    covariance = covariance_terms(x, sigma, operator, noise_std, prior)
    return simplified + covariance + loss_constant(sigma, y, operator, noise_std, prior)


def simplified_loss(
    x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, prior: GaussianMixturePrior
) -> Tensor:
    """VML_S(x_t), (B,): without the covariance terms and without c. Arguments and errors as in `vml_loss`."""
    _require_noise(noise_std)
    denoised = prior(x, sigma)
    misfit = operator.measurement_to_spectrum(y) - operator.singular_values * operator.to_spectrum(denoised)
    offset = (denoised - x).flatten(1).square().sum(dim=1) / (2 * sigma**2)
    return -prior.log_density(x, sigma) - offset + misfit.flatten(1).square().sum(dim=1) / (2 * noise_std**2)


def simplified_gradient(
    x: Tensor, sigma: float, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser
) -> Tensor:
    """∇VML_S = Jᵀ[(x − D)/σ² − Hᵀ(y − H D)/σ_y²], (B, C, H, W): one evaluation, one vector-Jacobian product.

    Arguments and errors as in `vml_loss`; the denoiser may be a network.
    """
    _require_noise(noise_std)
    denoised, vjp = denoiser.vjp(x, sigma)
    pull = operator.adjoint(y - operator.forward(denoised)) / noise_std**2
    return vjp((x - denoised) / sigma**2 - pull)


def covariance_terms(
    x: Tensor, sigma: float, operator: Operator, noise_std: float, prior: GaussianMixturePrior
) -> Tensor:
    """C = Tr(H Cov Hᵀ)/(2σ_y²) − Tr Cov/(2σ²), exact, (B,). Arguments and errors as in `vml_loss`."""
    _require_noise(noise_std)
    covariance = prior.covariance(x, sigma)
    n = covariance.shape[-1]
    basis = operator.from_spectrum(torch.eye(n, dtype=x.dtype, device=x.device).reshape(n, *x.shape[1:])).flatten(1)
    in_spectrum = torch.einsum("ci,bij,cj->bc", basis, covariance, basis).reshape(x.shape)
    return (_weight(sigma, operator, noise_std) * in_spectrum).flatten(1).sum(dim=1)


def estimate_covariance_terms(
    x: Tensor,
    sigma: float,
    operator: Operator,
    noise_std: float,
    denoiser: Denoiser,
    rng: Noise,
    probes: int = 16,
) -> Estimate:
    """C of any denoiser by Hutchinson's estimator, Cov = σ² J: one evaluation, one product per probe.

    In the spectrum of H both traces have one diagonal weight, so that a probe serves both: with z of random signs,
    C = σ² E[(weight · z)ᵀ Vᵀ J V z].

    Args:
        x: x_t, (B, C, H, W).
        sigma: σ > 0.
        operator: H.
        noise_std: σ_y > 0.
        denoiser: D.
        rng: source of the signs.
        probes: number of probes, at least 2 (for the standard error).

    Raises:
        InputError: σ_y = 0 or fewer than two probes.
    """
    _require_noise(noise_std)
    if probes < 2:
        raise InputError(f"probes={probes} give no standard error", "ask for 2 or more")
    weight = _weight(sigma, operator, noise_std)
    _, vjp = denoiser.vjp(x, sigma)
    samples = []
    for left in reversed(range(probes)):
        z = torch.where(rng.randn_like(x) < 0, -1.0, 1.0).to(x.dtype)
        product = operator.to_spectrum(vjp(operator.from_spectrum(z), retain=left > 0))
        samples.append(sigma**2 * (weight * z * product).flatten(1).sum(dim=1))
    drawn = torch.stack(samples)
    return Estimate(drawn.mean(dim=0), drawn.std(dim=0) / math.sqrt(probes))


def loss_constant(sigma: float, y: Tensor, operator: Operator, noise_std: float, prior: GaussianMixturePrior) -> Tensor:
    """c = log p(y) + (m/2) log(2π σ_y²) − (n/2) log(2π σ²), (B,). Arguments and errors as in `vml_loss`."""
    _require_noise(noise_std)
    evidence = prior.posterior(y, operator, noise_std).log_evidence
    rank = (operator.singular_values > 0).flatten(-3).sum(dim=-1).to(evidence)
    n = math.prod(prior.image_shape)
    return evidence + rank * math.log(2 * math.pi * noise_std**2) / 2 - n * math.log(2 * math.pi * sigma**2) / 2


def _weight(sigma: float, operator: Operator, noise_std: float) -> Tensor:
    """s²/(2σ_y²) − 1/(2σ²), the weight that C gives to the diagonal of Cov in the spectrum."""
    return operator.singular_values.square() / (2 * noise_std**2) - 1 / (2 * sigma**2)


def _require_noise(noise_std: float) -> None:
    if not noise_std > 0:
        raise InputError(f"the mode-seeking loss is infinite at noise_std={noise_std}", "give it noise_std > 0")
