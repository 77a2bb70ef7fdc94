"""What a sweep will cost before any of it is spent: evaluations counted exactly, their time estimated or measured.

Evaluations are counted by running each method with a trivial denoiser (`vml_bench.runner.cost`). Their time is an
estimate: the operations of a pass, as the prior's configuration states them, over what a device of this kind does in a
second. Measured, the network is timed once forward and once with the Jacobian product, on the device that the sweep
would use; so it is, too, where a configuration states no operations.
What the planned cells say about published numbers, and what each of those costs, comes from results/published.yaml.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from hydra.utils import get_class
from omegaconf import DictConfig
from torch import Tensor

from vml_bench.configuration import published_file
from vml_bench.contract import Prior
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.priors.networks import published_names
from vml_bench.runner.compute import Compute, ComputedPrior, NoPrior, given_plainly
from vml_bench.runner.cost import StatedPrior, asks_prior, image_set, images_of, passes, stated_prior
from vml_bench.runner.device import choose_device
from vml_bench.runner.progress import clock
from vml_bench.runner.resources import build, shared
from vml_bench.runner.validation import validate
from vml_bench.text import aligned

if TYPE_CHECKING:  # what a plan of unpublished cells does without
    from vml_bench.analysis.published import Claim, Published

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
DEVICES = (1, 8, 64)
"""Numbers of equal devices that a plan gives the time for."""


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
        return tuple((stated or prior_or_stand_in(config, torch.device("cpu"))[0]).image_shape)


def kept_bytes(config: DictConfig, prior: Prior) -> float:
    """Bytes kept per image: a picture and its features, or its numbers where the posterior is exact."""
    pixels = torch.Size(prior.image_shape).numel()
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
    return prior, cost, missing, f"{device} (measured here)"


def plan(cells: Iterable[DictConfig], measure: bool = False) -> pd.DataFrame:
    """Cost of each cell: one row per cell, in order.

    Cells that share a prior and `compute` share one calibration: at the runner's batch size on a GPU, at one
    image elsewhere. `frame.attrs["missing"]` names what stood in for something that is not here.

    Args:
        cells: their configurations.
        measure: whether a pass of each network is timed here, not estimated.

    Returns:
        Columns dataset, task, noise_std, method, images, nfe, vjp (per image), hours, gigabytes (10⁹ bytes).

    Raises:
        InputError: a cell that could not be run, for another reason than missing weights or images.
    """
    rows, missing = [], {}
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
                "how": how,
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
        lines = aligned([list(table), *table.to_numpy().tolist()], left=[0, 1, 2], indent=4)
        parts.append("\n".join([f"to measure what is published in {paper}:", *lines]))
    return "\n\n".join(parts)


def format_pass(frame: pd.DataFrame) -> str:
    """What a pass of the slowest network takes and how that is known; empty where no cell has a network."""
    slowest = frame.loc[frame.forward_seconds.idxmax()]
    if not slowest.how:
        return ""
    line = f"a pass of one image on {slowest.how}: {slowest.forward_seconds:.3g} s forward, "
    line += f"{slowest.with_vjp_seconds:.3g} s with Jacobian product"
    if slowest.how.endswith("(measured here)"):
        return f"{line}; data, metrics and saving come on top"
    return f"{line}. --measure times one here instead: it loads the network, and takes as long as a few passes"


def format_cells(frame: pd.DataFrame) -> str:
    """A plan's cells as a table; what they have in common stands above it."""
    table = frame[["dataset", "task", "noise_std", "method"]].rename(columns={"noise_std": "σ_y"}).astype(str)
    table["σ_y"] = [f"{noise_std:g}" for noise_std in frame.noise_std]
    shared = [name for name in table if len(frame) > 1 and table[name].nunique() == 1]
    about = table.drop(columns=shared)
    cost = frame[["images", "nfe", "vjp"]].astype(str).assign(time=[clock(hours * 3600) for hours in frame.hours])
    rows = [[*about, *cost], *map(list, about.join(cost).itertuples(index=False))]
    words = [i for i, name in enumerate(about) if name != "σ_y"]
    above = [f"all: {', '.join(f'{name} {table[name].iloc[0]}' for name in shared)}"] if shared else []
    return "\n".join([*above, *aligned(rows, left=words, keys=max(len(about.columns), 1))])


def format_plan(frame: pd.DataFrame) -> str:
    """A plan as text: cells, totals, times, what a pass takes, what was missing, and what published numbers cost."""
    evaluations, products = (frame.images * frame.nfe).sum(), (frame.images * frame.vjp).sum()
    prose = [
        f"{len(frame)} cells · {frame.images.sum():,} restorations · {evaluations:,} network evaluations, "
        f"{products:,} of them with a Jacobian product",
        f"about {clock(frame.hours.sum() * 3600)} of network time and {frame.gigabytes.sum():.2f} GB on disk",
        format_devices(frame),
        format_pass(frame),
        *(f"missing here: {what}" for what in frame.attrs["missing"]),
    ]
    parts = [format_cells(frame)]
    parts += ["\n".join(line for line in prose if line), claims_text(frame)]
    return "\n\n".join(part for part in parts if part)


def claims_text(frame: pd.DataFrame) -> str:
    """What the published numbers that a plan's cells measure cost, as text; empty where there are none."""
    names = published_file().read_text(encoding="utf-8")
    if not any(name in names for name in frame.dataset.unique()):
        return ""
    from vml_bench.analysis.published import read_published

    return format_claims(claims_of(frame, read_published()))
