"""What each cell of a sweep will cost: evaluations counted, and the time of one estimated or measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from hydra.utils import get_class
from omegaconf import DictConfig
from torch import Tensor

from vml_bench.contract import Prior
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.priors.networks import published_names
from vml_bench.runner.compute import Compute, ComputedPrior, NoPrior, given_plainly
from vml_bench.runner.cost import StatedPrior, asks_prior, image_set, images_of, passes, stated_prior
from vml_bench.runner.device import choose_device
from vml_bench.runner.resources import build, shared
from vml_bench.runner.validation import validate

PNG_SHARE = 0.52
"""Size of a PNG over that of its raw pixels at 256×256: mean 0.53 of ten FFHQ images, 0.51 of ten of ImageNet's."""
ROW_BYTES = 16_000
"""Bytes per image beside its pictures: its row, and 2048 + 256 features in single precision."""
EXACT_ROW_BYTES = 125
"""Bytes per image where the posterior is exact, beside its numbers in double precision: no picture is kept."""

CORE = 80.0
"""GFLOP/s of a CPU core, in whatever precision: with the photos64 network 130 were measured on an AMD EPYC's
(results/performance), 42 on an older one without AVX-512."""
CARDS = {"H100": (67_000, 989_000), "H200": (67_000, 989_000), "A100": (19_500, 312_000)}
"""GFLOP/s of NVIDIA's cards by their data sheets, in float32 and in half precision."""
SHARE = 0.4
"""What networks are taken to reach of a card's peak."""


class Pass(NamedTuple):
    """Seconds per image of one network evaluation: D alone, and with Jᵀv."""

    forward: float = 0.0
    with_vjp: float = 0.0


def rate(device: torch.device, compute: Compute) -> float | None:
    """GFLOP/s that a network is taken to reach on a device; None for one of which nothing is known."""
    if device.type == "cpu":
        return CORE * torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peaks = [peaks for card, peaks in CARDS.items() if card in name]
    return SHARE * peaks[0][compute.dtype in ("bfloat16", "float16")] if peaks else None


def estimate(prior: StatedPrior, per_second: float) -> Pass:
    """Time of a pass by its operations; a Jacobian product takes as many again (2.0 by torch's FlopCounterMode)."""
    seconds = prior.gflop / per_second
    return Pass(seconds, 2 * seconds)


def timed(work: Callable[[], object]) -> float:
    """Seconds of the fastest call of those that fit in a second, one at least, after some that warm up."""
    from torch.utils.benchmark import Timer

    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return min(timer.blocked_autorange(min_run_time=1).times)


def calibrate(prior: Prior, batch_size: int, device: torch.device) -> Pass:
    """Time the network at a batch size, forward and with the Jacobian product."""
    x = torch.randn(batch_size, *prior.image_shape, device=device)
    denoiser = Denoiser(prior)

    def with_vjp() -> Tensor:
        _, pull_back = denoiser.vjp(x, 1.0)
        return pull_back(x)

    return Pass(timed(lambda: denoiser(x, 1.0)) / batch_size, timed(with_vjp) / batch_size)


def prior_or_stand_in(config: DictConfig, device: torch.device) -> tuple[ComputedPrior, bool]:
    """The cell's prior, or its network with arbitrary weights where its own are missing; and whether they are."""
    compute = Compute(**given_plainly(config.compute))
    try:
        prior, missing = build(config.prior.model, "prior"), False
    except InputError:
        if config.prior.checkpoint or config.prior.name not in published_names():
            raise
        from vml_bench.priors.synthetic import synthetic_prior

        prior, missing = synthetic_prior(config.prior.name), True
    return ComputedPrior(prior.to(device), compute, device), missing


def shape_of(config: DictConfig) -> tuple[int, int, int]:
    """(C, H, W) of a cell's images, or, where they are missing here, of those that its prior knows."""
    try:
        return tuple(image_set(config).image_shape)
    except InputError:
        stated, _ = stated_prior(config)
        prior = stated or prior_or_stand_in(config, torch.device("cpu"))[0]
        return tuple((getattr(prior, "decoder", None) or prior).image_shape)


def kept_bytes(config: DictConfig, prior: Prior) -> float:
    """Bytes kept per image: a picture and its features, or its numbers where the posterior is exact."""
    pixels = torch.Size((getattr(prior, "decoder", None) or prior).image_shape).numel()
    if get_class(config.metrics._target_).exact:
        return 8 * pixels + EXACT_ROW_BYTES
    return pixels * PNG_SHARE + ROW_BYTES


def pass_of(config: DictConfig, measure: bool) -> tuple[Prior, Pass, bool, str]:
    """A cell's prior or what its configuration states of it, a pass of it, and what is known of both.

    Args:
        config: of a cell whose method asks a prior.
        measure: whether the pass is to be timed; it is, too, where its operations or the device's rate are unknown.

    Returns:
        The prior, its pass, whether its weights are missing here, and how long a pass takes in words, as of which
        device and how it was found.
    """
    device, compute = choose_device(config.runner.device), Compute(**given_plainly(config.compute))
    stated, missing = stated_prior(config)
    if stated and not measure and (per_second := rate(device, compute)):
        how = f"estimated: {stated.gflop:,.4g} GFLOP a pass at {per_second:,.0f} GFLOP/s"
        return stated, estimate(stated, per_second), missing, f"{device} ({how})"
    batch_size = config.runner.batch_size if device.type == "cuda" else 1
    same = (config.prior, config.compute, device)
    prior, missing = shared("prior to time", partial(prior_or_stand_in, config, device), *same)
    cost = shared(f"pass at {batch_size}", partial(calibrate, prior, batch_size, device), *same)
    more = "; passes of the decoder, which are not counted, come on top" if prior.decoder else ""
    return prior, cost, missing, f"{device} (measured here{more})"


@dataclass(frozen=True)
class Planned:
    """A cell that has not been run, and what it will cost.

    Attributes:
        dataset, task, method: their names.
        noise_std: σ_y.
        images: their number.
        nfe, vjp: network evaluations and Jacobian products, per image.
        cost: of one evaluation.
        how: what is known of the cost, in words; empty where no network is asked.
        gigabytes: that the run will keep, 10⁹ bytes each.
    """

    dataset: str
    task: str
    noise_std: float
    method: str
    images: int
    nfe: int
    vjp: int
    cost: Pass
    how: str
    gigabytes: float

    @property
    def hours(self) -> float:
        """Time of all its network passes on one device."""
        return self.images * ((self.nfe - self.vjp) * self.cost.forward + self.vjp * self.cost.with_vjp) / 3600


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep in their order, and what is missing here that something else stood in for, in words."""

    cells: list[Planned]
    missing: list[str]


def plan(cells: Iterable[DictConfig], measure: bool = False) -> Plan:
    """Cost of each cell.

    Cells that share a prior and `compute` share one calibration: at the runner's batch size on a GPU, at one
    image elsewhere.

    Args:
        cells: their configurations.
        measure: whether a pass of each network is timed here, not estimated.

    Raises:
        InputError: a cell that could not be run, for another reason than missing weights or images.
    """
    found: list[Planned] = []
    missing: dict[str, None] = {}
    for config in cells:
        validate(config)
        images, absent = images_of(config)
        if asks_prior(config):
            same = (config.prior, config.compute, config.runner)
            prior, cost, stand_in, how = shared("pass", partial(pass_of, config, measure), *same)
            nfe, vjp = passes(config, prior)
        else:
            prior, cost, stand_in, how = NoPrior(shape_of(config)), Pass(), False, ""
            nfe, vjp = 0, 0
        if stand_in:
            missing[f"the weights of {config.prior.name}"] = None
        if absent:
            missing[f"the images of {config.dataset.name}: their number is the one asked for"] = None
        found.append(
            Planned(
                dataset=config.dataset.name,
                task=config.task.name,
                noise_std=float(config.task.noise_std),
                method=config.method.name,
                images=images,
                nfe=nfe,
                vjp=vjp,
                cost=cost,
                how=how,
                gigabytes=images * kept_bytes(config, prior) / 1e9,
            )
        )
    return Plan(found, list(missing))
