"""Scores against an exact posterior: how far a restoration is from the mode, and restorations are from the posterior.

Everything is computed in float64 on the CPU, of a method's raw output: nothing is clipped or rounded to 8 bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor
from typing_extensions import Self

from vml_bench.contract import Prior
from vml_bench.errors import InputError
from vml_bench.identity import Aside
from vml_bench.operators.base import SpectralOperator
from vml_bench.priors.exact_posterior import ExactPosterior
from vml_bench.settings import checked


class Oracle:
    """Judges restorations of images drawn from a closed-form prior.

    Args:
        prior: the prior the images are drawn from, with a `posterior`.
        directions: number of random directions of the sliced Wasserstein distance.
        samples: exact posterior samples a scene that restorations are compared with.
        seed: of the directions.
        trajectories: also keep the exact answers as arrays (`answers`), and for each image the points at which the
            method asked the denoiser; for priors small enough to be drawn.

    Raises:
        InputError: the prior has no exact posterior, or a number is less than 1.
    """

    exact = True
    names = ("map_gap", "map_distance")
    feature_names = ("restored",)
    columns = ()

    @checked
    def __init__(
        self,
        prior: Prior,
        directions: PositiveInt = 128,
        samples: PositiveInt = 256,
        seed: int = 0,
        trajectories: Annotated[bool, Aside] = False,
    ) -> None:
        if not hasattr(prior, "posterior"):
            raise InputError(
                "metrics=oracle needs a prior whose posterior is known exactly",
                "choose dataset=gmm or dataset=gauss, or metrics=default",
            )
        self.prior, self.samples, self.trajectories = prior, samples, trajectories
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(directions, math.prod(prior.image_shape), generator=generator, dtype=torch.float64)
        self.directions = drawn / drawn.norm(dim=1, keepdim=True)

    def to(self, device: str | torch.device) -> Self:
        """Stays on the CPU, whatever the device; returns self."""
        return self

    def posterior(self, y: Tensor, operator: SpectralOperator, noise_std: float) -> ExactPosterior:
        """The exact posterior of measurements y (B, *measurement)."""
        return self.prior.posterior(y.cpu(), operator.to("cpu"), noise_std)

    def __call__(self, restored: Tensor, posteriors: Sequence[ExactPosterior]) -> dict[str, Tensor]:
        """Score each image by itself, so that its values are equal to the bit in any batch.

        Args:
            restored: (B, C, H, W).
            posteriors: that of each image's measurement.

        Returns:
            (B,) each: `map_gap`, log p(x* | y) − log p(x | y) in nats with x* the exact MAP (at σ_y = 0 after
            projecting x onto H x = y), and `map_distance`, ‖x − x*‖.
        """
        pairs = list(zip(restored.cpu().double().split(1), posteriors, strict=True))
        return {
            "map_gap": torch.cat([posterior.map_gap(x) for x, posterior in pairs]),
            "map_distance": torch.stack([(x - posterior.map()).norm() for x, posterior in pairs]),
        }

    def features(self, restored: Tensor) -> dict[str, np.ndarray]:
        """What is kept of a batch (B, C, H, W): the restorations themselves, flattened, in float64."""
        return {"restored": restored.flatten(1).double().cpu().numpy()}

    def answers(self, posteriors: dict[str, ExactPosterior]) -> dict[str, np.ndarray]:
        """Prior and posteriors of S scenes in arrays, for figures.

        Returns:
            `scenes` (S,); the posteriors' `weights` (S, K), `means` (S, K, n), `covariances` (S, K, n, n), `mode` and
            `mean` (S, n); the prior's `prior_weights` (K,), `prior_means` (K, n), `prior_covariances` (K, n, n).
        """
        every = list(posteriors.values())
        prior = {name: getattr(self.prior, name).cpu().numpy() for name in ("weights", "means", "covariances")}
        exact = {
            name: torch.cat([getattr(p, name) for p in every]).numpy() for name in ("weights", "means", "covariances")
        }
        points = {
            "mode": torch.cat([posterior.map().flatten(1) for posterior in every]).numpy(),
            "mean": torch.cat([posterior.mean.flatten(1) for posterior in every]).numpy(),
        }
        return {"scenes": np.array(list(posteriors)), **exact, **points} | {f"prior_{k}": v for k, v in prior.items()}

    def scene(self, restored: Tensor, posterior: ExactPosterior, generator: torch.Generator) -> dict[str, float]:
        """Score the restorations of one scene together, beside what as many exact posterior samples score.

        Args:
            restored: (R, n), R ≥ 1 restorations of one measurement.
            posterior: of that measurement, B = 1.
            generator: source of the exact samples.

        Returns:
            `sw2`, `sliced_wasserstein` to exact samples; `sw2_floor`, the same of R further exact samples;
            `mean_error`, ‖mean of the restorations − E[x | y]‖; `mean_error_floor`, the root mean square of that
            error for R exact samples, sqrt(tr Cov[x | y] / R).
        """
        repeats = len(restored)
        drawn = posterior.sample(self.samples + repeats, generator)[0].flatten(1)
        exact, peers = drawn[: self.samples], drawn[self.samples :]
        return {
            "sw2": sliced_wasserstein(restored, exact, self.directions),
            "sw2_floor": sliced_wasserstein(peers, exact, self.directions),
            "mean_error": float((restored.mean(dim=0) - posterior.mean.flatten()).norm()),
            "mean_error_floor": math.sqrt(total_variance(posterior) / repeats),
        }


def total_variance(posterior: ExactPosterior) -> float:
    """tr Cov[x_0 | y] ≥ 0 of a posterior of one measurement."""
    between = (posterior.means - posterior.mean.flatten(1)[:, None]).square().sum(dim=-1)
    within = posterior.covariances.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return max(float((posterior.weights * (within + between)).sum()), 0.0)


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Root mean square over directions of the Wasserstein-2 distance between the projections of two sets of points.

    Rabin, Peyré, Delon, Bernot, "Wasserstein barycenter and its application to texture mixing" (2011). In one
    dimension the optimal plan pairs quantiles, so each distance is exact, for sets of different sizes too.

    Args:
        a: (M, n).
        b: (N, n).
        directions: (L, n), unit vectors.
    """
    a_sorted, b_sorted = ((points @ directions.mT).sort(dim=0).values for points in (a, b))
    # both quantile functions are constant between the levels i/M and j/N; counted in whole steps of 1/(M N)
    edges = torch.cat([torch.arange(1, len(a) + 1) * len(b), torch.arange(1, len(b) + 1) * len(a)]).unique()
    widths = torch.diff(edges, prepend=edges.new_zeros(1)).to(a_sorted) / (len(a) * len(b))
    gaps = a_sorted[(edges - 1) // len(b)] - b_sorted[(edges - 1) // len(a)]
    return float((widths[:, None] * gaps.square()).sum(dim=0).mean().sqrt())
