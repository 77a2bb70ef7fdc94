"""What a sweep will cost before any of it is spent: evaluations counted exactly, time from one network pass.

A method's evaluations are counted by running it, with a trivial denoiser in the network's place. The
network is timed once forward and once with the Jacobian product, on the device that the sweep would use.
What the planned cells say about published numbers, and what each of those costs, comes from results/published.yaml.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd
import torch
from hydra.utils import get_class
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.benchmark import Timer

from vml_bench.analysis.published import Claim, Published, read_published
from vml_bench.contract import ImageSet, Prior, needs_prior
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.priors.base import sigma_column
from vml_bench.priors.networks import published_names
from vml_bench.priors.synthetic import synthetic_prior
from vml_bench.runner.compute import Compute, ComputedPrior, NoPrior
from vml_bench.runner.device import choose_device
from vml_bench.runner.progress import clock
from vml_bench.runner.resources import build, build_operator, shared
from vml_bench.runner.shard import shard_of
from vml_bench.runner.validation import validate
from vml_bench.text import aligned

PNG_SHARE = 0.52
"""Size of a PNG over that of its raw pixels at 256×256: mean 0.53 of ten FFHQ images, 0.51 of ten of ImageNet's."""
ROW_BYTES = 16_000
"""Bytes per image beside its pictures: its row, and 2048 + 256 features in single precision."""
EXACT_ROW_BYTES = 125
"""Bytes per image where the posterior is exact, beside its numbers in double precision: no picture is kept."""

COUNTED_SIDE = 64
"""Most pixels a side of the images that evaluations are counted on: methods ask no more often for larger ones."""
DEVICES = (1, 8, 64)
"""Numbers of equal devices that a plan gives the time for."""


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


class Pass(NamedTuple):
    """Seconds per image of one network evaluation: D alone, and with Jᵀv."""

    forward: float = 0.0
    with_vjp: float = 0.0


def count(config: DictConfig, prior: Prior) -> tuple[int, int]:
    """(NFE, VJP) per image of a cell's method on its task, counted by running it on `StandardNormal`.

    The images are of `COUNTED_SIDE` pixels a side at most, or of their own size if the operator cannot have smaller.
    """
    channels, *sides = prior.image_shape
    shape = (channels, *(min(side, COUNTED_SIDE) for side in sides))
    try:
        operator = build_operator(config.task.operator, shape, torch.float32)
    except InputError:
        shape = prior.image_shape
        operator = build_operator(config.task.operator, shape, torch.float32)
    operator = operator.for_images(["plan"], config.seed)
    denoiser, noise = Denoiser(StandardNormal(prior, shape)), ImageNoise(config.seed, ["plan"], "plan")
    black, noise_std = torch.zeros(1, *shape), float(config.task.noise_std)
    y = operator.measure(black, noise_std, noise.randn_like(operator.forward(black)))
    build(config.method.sampler, "method").restore(y, operator, noise_std, denoiser, noise)
    return denoiser.nfe, denoiser.vjps


def timed(work: Callable[[], object]) -> float:
    """Seconds of the fastest call of those that fit in a second, one at least, after some that warm up."""
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
    compute = Compute(**config.compute)
    try:
        prior, missing = build(config.prior.model, "prior"), False
    except InputError:
        if config.prior.checkpoint or config.prior.name not in published_names():
            raise
        prior, missing = synthetic_prior(config.prior.name), True
    return ComputedPrior(prior.to(device), compute, device), missing


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


def shape_of(config: DictConfig) -> tuple[int, int, int]:
    """(C, H, W) of a cell's images, or, where they are missing here, of those that its prior knows."""
    try:
        return tuple(image_set(config).image_shape)
    except InputError:
        return tuple(prior_or_stand_in(config, torch.device("cpu"))[0].image_shape)


def kept_bytes(config: DictConfig, prior: Prior) -> float:
    """Bytes kept per image: a picture and its features, or its numbers where the posterior is exact."""
    pixels = torch.Size(prior.image_shape).numel()
    if get_class(config.metrics._target_).exact:
        return 8 * pixels + EXACT_ROW_BYTES
    return pixels * PNG_SHARE + ROW_BYTES


def plan(cells: Sequence[DictConfig]) -> pd.DataFrame:
    """Cost of each cell: one row per cell, in order.

    Cells that share a prior and `compute` share one calibration: at the runner's batch size on a GPU, at one
    image elsewhere. `frame.attrs["missing"]` names what stood in for something that is not here.

    Returns:
        Columns dataset, task, noise_std, method, images, nfe, vjp (per image), hours, gigabytes (10⁹ bytes).

    Raises:
        InputError: a cell that could not be run, for another reason than missing weights or images.
    """
    rows, missing = [], {}
    for config in cells:
        validate(config)
        device = choose_device(config.runner.device)
        batch_size = config.runner.batch_size if device.type == "cuda" else 1
        same = (config.prior, config.compute, device)
        images, absent = images_of(config)
        if needs_prior(get_class(config.method.sampler._target_)):
            prior, stand_in = shared("prior to time", partial(prior_or_stand_in, config, device), *same)
            cost = shared(f"pass at {batch_size}", partial(calibrate, prior, batch_size, device), *same)
        else:
            prior, cost, stand_in = NoPrior(shape_of(config)), Pass(), False
        if stand_in:
            missing[f"the weights of {config.prior.name}: arbitrary ones were timed in their place"] = None
        if absent:
            missing[f"the images of {config.dataset.name}: their number is the one asked for"] = None
        nfe, vjp = count(config, prior)
        seconds = images * ((nfe - vjp) * cost.forward + vjp * cost.with_vjp)
        rows.append(
            {
                "dataset": config.dataset.name,
                "task": config.task.name,
                "noise_std": float(config.task.noise_std),
                "method": config.method.name,
                "images": images,
                "nfe": nfe,
                "vjp": vjp,
                "hours": seconds / 3600,
                "gigabytes": images * kept_bytes(config, prior) / 1e9,
                "forward_seconds": cost.forward,
                "with_vjp_seconds": cost.with_vjp,
                "device": str(device),
            }
        )
    frame = pd.DataFrame(rows)
    frame.attrs["missing"] = list(missing)
    return frame


def spread(hours: Sequence[float], devices: int) -> float:
    """Time until all jobs are done on that many devices, each free device taking the longest job left."""
    busy = [0.0] * devices
    for job in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + job)
    return max(busy)


def on_devices(frame: pd.DataFrame, devices: Sequence[int] = DEVICES) -> pd.DataFrame:
    """Time of a plan on several equal devices, cell by cell and with cells divided into shards.

    However many devices there are, a cell takes its own time; divided into n shards, an n-th of it.

    Args:
        frame: what `plan` returned, or any table with a column hours.
        devices: numbers of devices.

    Returns:
        Columns devices, hours (one job per cell), shards (the fewest per cell with which no job takes longer than all
        the work evenly divided), sharded_hours (one job per shard).
    """
    cells = list(frame.hours)
    rows = []
    for number in devices:
        shards = max(1, math.ceil(max(cells) * number / sum(cells))) if sum(cells) else 1
        parts = [hours / shards for hours in cells for _ in range(shards)]
        rows.append((number, spread(cells, number), shards, spread(parts, number)))
    return pd.DataFrame(rows, columns=["devices", "hours", "shards", "sharded_hours"])


def format_devices(frame: pd.DataFrame) -> str:
    """`on_devices` as a line, with shards where they shorten the time."""
    times = on_devices(frame)
    line = f"on {' / '.join(map(str, times.devices))} devices like this one: "
    line += " / ".join(clock(hours * 3600) for hours in times.hours)
    line += f", where the longest cell alone takes {clock(frame.hours.max() * 3600)}"
    divided = times[times.shards > 1]
    if len(divided):
        line += "; with cells in shards (runner.shard=i/n) " + ", ".join(
            f"{clock(row.sharded_hours * 3600)} on {row.devices} (n={row.shards})" for row in divided.itertuples()
        )
    return line


def answers(claim: Claim, names: Sequence[str], frame: pd.DataFrame) -> pd.Series:
    """Which cells of a plan measure what a claim says: its method, under a task and a σ_y that it could mean.

    Args:
        claim: a published number.
        names: of the data sets that it is about.
        frame: what `plan` returned.

    Returns:
        True or False per cell, indexed as `frame`.
    """
    stated = claim.noise_std is not None
    at_noise = frame.noise_std.sub(claim.noise_std).abs() < 1e-9 if stated else frame.noise_std >= 0
    return frame.dataset.isin(names) & frame.task.isin(claim.candidates) & frame.method.isin(claim.methods) & at_noise


def claims_of(frame: pd.DataFrame, published: Published) -> pd.DataFrame:
    """What the published numbers that a plan's cells measure cost, a row for each task of each paper.

    Args:
        frame: what `plan` returned.
        published: the claims.

    Returns:
        Columns paper, task, metric, by (method), each as published; numbers (of claims); cells, evaluations, hours. A
        cell that measures several numbers counts in each row.
    """
    told: dict[tuple[str, str], list[Claim]] = {}
    cells: dict[tuple[str, str], pd.Series] = {}
    for claim in published.claims:
        of_claim = answers(claim, published.datasets[claim.dataset], frame)
        if of_claim.any():
            key = (claim.paper, claim.task)
            told.setdefault(key, []).append(claim)
            cells[key] = cells.get(key, False) | of_claim
    rows = [
        {
            "paper": paper,
            "task": task,
            "metric": ", ".join(dict.fromkeys(claim.metric for claim in claims)),
            "by": ", ".join(dict.fromkeys(claim.method for claim in claims)),
            "numbers": len(claims),
            "cells": cells[paper, task].sum(),
            "evaluations": (frame.images * frame.nfe)[cells[paper, task]].sum(),
            "hours": frame.hours[cells[paper, task]].sum(),
        }
        for (paper, task), claims in told.items()
    ]
    return pd.DataFrame(rows, columns=["paper", "task", "metric", "by", "numbers", "cells", "evaluations", "hours"])


def format_claims(costs: pd.DataFrame) -> str:
    """`claims_of` as text, a paragraph for each paper; empty where no published number is measured."""
    parts = []
    for paper, rows in costs.groupby("paper", sort=False):
        table = rows[["task", "metric", "by", "numbers", "cells", "evaluations"]].astype(str)
        table["evaluations"] = [f"{number:,}" for number in rows.evaluations]
        table["time"] = [clock(hours * 3600) for hours in rows.hours]
        lines = aligned([list(table), *table.to_numpy().tolist()], left=[0, 1, 2])
        parts.append("\n".join([f"to measure what is published in {paper}:", *(f"    {line}" for line in lines)]))
    return "\n\n".join(parts)


def format_plan(frame: pd.DataFrame) -> str:
    """A plan as text: cells, totals, times, calibration, what was missing, and the cost of each published number."""
    first = frame.loc[frame.forward_seconds.idxmax()]
    table = frame[["dataset", "task", "noise_std", "method", "images", "nfe", "vjp"]].astype(str)
    table["time"] = [clock(hours * 3600) for hours in frame.hours]
    evaluations, products = (frame.images * frame.nfe).sum(), (frame.images * frame.vjp).sum()
    return "\n".join(
        [
            *aligned([list(table), *table.to_numpy().tolist()], left=[0, 1, 3]),
            "",
            f"{len(frame)} cells · {frame.images.sum():,} restorations · {evaluations:,} network evaluations, "
            f"{products:,} of them with a Jacobian product",
            f"about {clock(frame.hours.sum() * 3600)} of network time and {frame.gigabytes.sum():.2f} GB on disk",
            format_devices(frame),
            f"one image through the network on {first.device}: {first.forward_seconds:.3g} s forward, "
            f"{first.with_vjp_seconds:.3g} s with Jacobian product; data, metrics and saving come on top",
            *(f"missing here: {what}" for what in frame.attrs["missing"]),
            *(["", claims] if (claims := format_claims(claims_of(frame, read_published()))) else []),
        ]
    )
