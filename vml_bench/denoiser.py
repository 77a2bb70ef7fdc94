"""The denoiser as a method sees it: a prior, with every evaluation counted."""

from __future__ import annotations

import torch
from torch import Tensor

from vml_bench.contract import Prior, PullBack
from vml_bench.errors import InputError

JACOBIANS = ("reverse", "forward_difference")
REACH = 0.1
"""How far a forward difference reaches, in units of σ; shorter ones drown in bfloat16's rounding."""


class Denoiser:
    """Wraps a prior and counts what it is asked for: the "compute" of every table.

    Attributes:
        nfe: network evaluations so far (per image: a batched call counts once).
        vjps: vector-Jacobian products so far.
        sigma_min, sigma_max, image_shape: the prior's.
        learned_variance: whether the prior has one, see `vml_bench.contract.Prior`.
    """

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self.sigma_min = prior.sigma_min
        self.sigma_max = prior.sigma_max
        self.image_shape = prior.image_shape
        self.learned_variance = getattr(prior, "learned_variance", False)
        self.nfe = 0
        self.vjps = 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """D(x, σ), without gradient: (B, C, H, W) -> (B, C, H, W)."""
        self.nfe += 1
        with torch.no_grad():
            return self._prior(x, sigma)

    def vjp(self, x: Tensor, sigma: float, jacobian: str = "reverse") -> tuple[Tensor, PullBack]:
        """D(x, σ) and the function v ↦ Jᵀ v with J = ∂D/∂x, which may be called once, or again after each `retain`.

        J = Cov[x_0 | x] / σ² is symmetric for an exact denoiser, so that J v may stand for Jᵀ v; a network's is less
        so (results/performance/floor_methods.md).

        Args:
            x: (B, C, H, W).
            sigma: σ > 0.
            jacobian: "reverse", a backward pass, which needs the activations of the whole network; or
                "forward_difference", J v by one more evaluation, which needs none.

        Raises:
            InputError: an unknown `jacobian`.
        """
        if jacobian not in JACOBIANS:
            raise InputError(f"jacobian='{jacobian}' is unknown", f"use {' or '.join(JACOBIANS)}")
        return self._reverse(x, sigma) if jacobian == "reverse" else self._forward_difference(x, sigma)

    def vjp_with_variance(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor, PullBack]:
        """D(x, σ), the prior's learned variance there, and v ↦ Jᵀ v as `vjp` has it, for one evaluation.

        Only where `learned_variance` is true. The variance is (B, C, H, W), without gradient.
        """
        self.nfe += 1
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            denoised, variance = self._prior.with_variance(point, sigma)
        return denoised.detach(), variance.detach(), self._pull_back(denoised, point)

    def _reverse(self, x: Tensor, sigma: float) -> tuple[Tensor, PullBack]:
        self.nfe += 1
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            denoised = self._prior(point, sigma)
        return denoised.detach(), self._pull_back(denoised, point)

    def _pull_back(self, denoised: Tensor, point: Tensor) -> PullBack:
        def pull_back(v: Tensor, retain: bool = False) -> Tensor:
            self.vjps += 1
            (product,) = torch.autograd.grad(denoised, point, grad_outputs=v, retain_graph=retain)
            return product

        return pull_back

    def _forward_difference(self, x: Tensor, sigma: float) -> tuple[Tensor, PullBack]:
        """J v ≈ (D(x + h v) − D(x)) / h, h of each image's own such that h v has a root mean square of `REACH` · σ."""
        denoised = self(x, sigma)

        def push_forward(v: Tensor, retain: bool = False) -> Tensor:
            size = v.flatten(1).square().mean(dim=1).sqrt()[:, None, None, None]
            h = REACH * sigma / torch.where(size > 0, size, 1)
            return (self(x + h * v, sigma) - denoised) / h

        return denoised, push_forward
