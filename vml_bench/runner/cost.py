"""What a cell asks of its network, known before it runs and without building the network.

A method's evaluations are counted by running it with a trivial denoiser in the network's place. What a pass of the
network takes stands in the prior's configuration (`cost`), in floating-point operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hydra.utils import get_class
from omegaconf import DictConfig
from torch import Tensor

from vml_bench.contract import ImageSet, Prior, PullBack, needs_prior
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.priors.base import sigma_column
from vml_bench.priors.networks import published, published_names
from vml_bench.runner.resources import build, build_operator, shared
from vml_bench.runner.shard import shard_of

COUNTED_SIDES = (16, 64)
"""Pixels a side of the images that evaluations are counted on, the first that the operator can have: methods ask no
more often for larger ones."""


class StandardNormal:
    """The prior N(0, I), D(x, σ) = x / (1 + σ²), with the noise range of another prior: costs nothing.

    Args:
        prior: whose range it takes, and whose learned variance, if any, it makes up.
        image_shape: (C, H, W) of its images.
    """

    def __init__(self, prior: Prior, image_shape: tuple[int, int, int]) -> None:
        self.sigma_min = prior.sigma_min
        self.sigma_max = prior.sigma_max
        self.learned_variance = getattr(prior, "learned_variance", False)
        self.image_shape = image_shape

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """D(x, σ)."""
        return x / (1 + sigma_column(sigma, x).square())

    def with_variance(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """D(x, σ), and the smaller variance of DDPM everywhere."""
        return self(x, sigma), -torch.ones_like(x)


class Counter(Denoiser):
    """Counts what `StandardNormal` is asked for; its Jᵀv = v / (1 + σ²) needs no backward pass."""

    def vjp(self, x: Tensor, sigma: float, jacobian: str = "reverse") -> tuple[Tensor, PullBack]:
        """See `vml_bench.contract.Denoiser`."""
        return (self(x, sigma), self._scaled(sigma)) if jacobian == "reverse" else super().vjp(x, sigma, jacobian)

    def vjp_with_variance(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor, PullBack]:
        """See `vml_bench.contract.Denoiser`."""
        return self(x, sigma), -torch.ones_like(x), self._scaled(sigma)

    def _scaled(self, sigma: float) -> PullBack:
        def pull_back(v: Tensor, retain: bool = False) -> Tensor:
            self.vjps += 1
            return v / (1 + sigma**2)

        return pull_back


@dataclass(frozen=True)
class StatedPrior:
    """What a prior's configuration says of its network under `cost`, so that nothing need be built to count.

    Attributes:
        gflop: 10⁹ floating-point operations of one pass of one image; a multiplication and its addition are two.
        image_shape: (C, H, W).
        sigma_min, sigma_max: its range of noise levels.
        learned_variance: see `vml_bench.contract.Prior`.
    """

    gflop: float
    image_shape: tuple[int, int, int]
    sigma_min: float
    sigma_max: float
    learned_variance: bool = False


def stated_prior(config: DictConfig) -> tuple[StatedPrior | None, bool]:
    """What the configuration says of its prior, and whether the prior's weights are missing here.

    None where it says nothing, or where a checkpoint is given that may hold another network.

    Raises:
        InputError: the weights that `prior.checkpoint` names are missing.
    """
    name, checkpoint, cost = config.prior.name, config.prior.get("checkpoint"), config.prior.get("cost")
    one_network = name in published_names()
    if cost is None or (checkpoint and not one_network):
        return None, False
    missing = False
    if one_network:
        try:
            published(name).locate(checkpoint)
        except InputError:
            if checkpoint:
                raise
            missing = True
    return StatedPrior(**{**cost, "image_shape": tuple(cost.image_shape)}), missing


def count(config: DictConfig, prior: Prior) -> tuple[int, int]:
    """(NFE, VJP) per image of a cell's method on its task, counted by running it on `StandardNormal`.

    The images are of one of `COUNTED_SIDES`, or of their own size if that is smaller or the operator can have no other.
    """
    own = tuple((getattr(prior, "decoder", None) or prior).image_shape)
    channels, *sides = own
    sizes = [(channels, *(min(side, most) for side in sides)) for most in COUNTED_SIDES]
    for shape in dict.fromkeys([*sizes, own]):
        try:
            operator = build_operator(config.task.operator, shape, torch.float32).for_images(["plan"], config.seed)
            break
        except InputError as error:
            refused = error
    else:
        raise refused
    denoiser, noise = Counter(StandardNormal(prior, shape)), ImageNoise(config.seed, ["plan"], "plan")
    black, noise_std = torch.zeros(1, *shape), float(config.task.noise_std)
    y = operator.measure(black, noise_std, noise.randn_like(operator.forward(black)))
    build(config.method.sampler, "method").restore(y, operator, noise_std, denoiser, noise)
    return denoiser.nfe, denoiser.vjps


def passes(config: DictConfig, prior: Prior) -> tuple[int, int]:
    """`count` times the starts, counted once for each method with its settings, prior and σ_y: on the first task that
    asks."""
    same = (config.method.sampler, config.prior)
    nfe, vjp = shared(f"passes at {float(config.task.noise_std)}", lambda: count(config, prior), *same)
    return config.get("starts", 1) * nfe, config.get("starts", 1) * vjp


def passes_of(config: DictConfig) -> tuple[int, int]:
    """A cell's number of images, and of network passes for each: a Jacobian product counts as one more. 0 of a cell
    that cannot be counted, which cannot be run either."""
    try:
        images, _ = images_of(config)
        if not asks_prior(config):
            return images, 0
        prior, _ = stated_prior(config)
        prior = prior or shared("prior to count", lambda: build(config.prior.model, "prior"), config.prior.model)
        return images, sum(passes(config, prior))
    except InputError:
        return 0, 0


def asks_prior(config: DictConfig) -> bool:
    """Whether a cell's method asks the denoiser."""
    return needs_prior(get_class(config.method.sampler._target_))


def image_set(config: DictConfig) -> ImageSet:
    """The images of a cell's data set, opened once per process.

    Raises:
        InputError: they are missing here.
    """
    return shared("images to count", lambda: build(config.dataset.images, "dataset"), config.dataset.images)


def images_of(config: DictConfig) -> tuple[int, bool]:
    """Number of images of a cell or its shard, and whether they are missing here and the number is the one asked for.

    Raises:
        InputError: the images are missing and the configuration does not say how many there should be.
    """
    limit, shard = config.runner.limit, config.runner.shard
    try:
        ids = image_set(config).ids[:limit]
    except InputError as error:
        asked = [n for n in (limit, config.dataset.get("first")) if n]
        if not asked:
            problem, remedy = f"{error.problem}, so they cannot be counted", f"{error.remedy}, or set runner.limit"
            raise InputError(problem, remedy) from error
        return len(shard_of([""] * min(asked), shard)), True
    return len(shard_of(ids, shard)), False
