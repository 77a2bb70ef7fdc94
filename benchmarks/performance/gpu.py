"""A GPU in nine minutes: passes a second, memory, what a cell adds and moves, hours of each reproduction.

    make bench-gpu      # or python -m benchmarks.performance.gpu; writes results/performance/gpu.md

Each part runs in a process of its own, the most important first, and is ended when its share of the time is over; what
it had found by then is kept, and what did not fit is named. Time that a part leaves goes to those behind it. Weights
are arbitrary, but for photos64's, and nothing is fetched. Without a GPU only a try is made: `--quick --out FOLDER`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.performance.cells import configured
from benchmarks.performance.floor import with_product
from benchmarks.performance.overhead import at_full_size, measure
from benchmarks.performance.paired import Interval, Work, interleave
from benchmarks.performance.record import RESULTS, Benchmark, Table, begin, options, write
from vml_bench.configuration import config_dir
from vml_bench.contract import Prior
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.priors.synthetic import synthetic_prior
from vml_bench.priors.unet import load_edm_prior
from vml_bench.runner.cell import Cell
from vml_bench.runner.compute import Compute, ComputedPrior
from vml_bench.runner.cost import asks_prior, images_of, passes, stated_prior
from vml_bench.runner.memory import PeakMemory, out_of_memory
from vml_bench.runner.sweep import planned

SECONDS = 510
"""Of all parts together; starting and writing come on top."""
SHARES = {
    "photos64": 40,
    "ffhq256": 90,
    "imagenet256": 140,
    "celebahq256": 70,
    "cells": 60,
    "photos64, compiled": 40,
    "ffhq256, compiled": 70,
}
"""The parts in their order, and how `SECONDS` is divided."""
WAYS = {
    "bfloat16": Compute(dtype="bfloat16"),
    "float32": Compute(),
    "TF32": Compute(tf32=True),
    "float16": Compute(dtype="float16"),
    "bfloat16, channels last": Compute(dtype="bfloat16", channels_last=True),  # last, for the network stays so
}
QUICK_WAYS = ("bfloat16", "float32")
COMPILED = {"bfloat16, compiled": Compute(dtype="bfloat16", compile=True)}
BATCHES = (8, 1, 32)
EXPERIMENTS = {
    "reproduce_photos": "photos64",
    "reproduce_ffhq": "ffhq256",
    "reproduce_imagenet": "imagenet256",
    "reproduce_celebahq": "celebahq256",
}
"""Whose hours are counted, and their networks."""
FEW = {"ddrm": ["ddrm"], "vml_map_pre": ["vml_map_pre"]}
"""Methods whose cells are measured: one without and one with the Jacobian product."""
NO_DOWNLOAD = ("metrics.names=[psnr,ssim]", "metrics.features=[]")
"""LPIPS would have to be fetched on a fresh machine."""


class Traffic(TorchDispatchMode):
    """Counts what is copied between devices while it is entered.

    Attributes:
        up, down: bytes to an accelerator and back from one.
        waits: numbers that Python read from an accelerator, for each of which it waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = self.down = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Let the operation run, and count it if it copies."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "_to_copy":
            self.count(args[0], result)
        elif name == "copy_" and isinstance(args[1], Tensor):
            self.count(args[1], args[0])
        elif name == "_local_scalar_dense":
            self.waits += args[0].device.type != "cpu"
        return result

    def count(self, source: Tensor, target: Tensor) -> None:
        """Count a copy, if it is one between devices; in the source's dtype, for torch casts where the target is."""
        if source.device.type != target.device.type:
            size = source.numel() * source.element_size()
            self.up += size * (target.device.type != "cpu")
            self.down += size * (target.device.type == "cpu")


@dataclass(frozen=True)
class Counted:
    """What an experiment asks of its network, over all images: evaluations alone, and those with a product."""

    cells: int
    alone: float
    with_product: float


def network(name: str) -> Prior:
    """photos64, or a published network with arbitrary weights."""
    return load_edm_prior() if name == "photos64" else synthetic_prior(name)


def passes_of_network(
    name: str, ways: dict[str, Compute], batches: Sequence[int], device: torch.device, pause: float
) -> Iterator[dict[str, Any]]:
    """A row for each way of computing a network and each batch size, as soon as it is measured.

    Args:
        name: of the network.
        ways: how it is computed.
        batches: how many images at once.
        device: where.
        pause: seconds after which no further repetition begins.
    """
    prior = network(name).to(device)
    for way, compute in ways.items():
        began = time.monotonic()
        computed = ComputedPrior(prior, compute, device)
        compute.apply_globally()
        for batch in batches:
            row: dict[str, Any] = {"network": name, "computed": way, "batch": batch}
            row |= passes_of_batch(computed, batch, device, pause)
            repeating = row.pop("measured s", 0.0)
            if compute.compile:
                row["set up s"] = time.monotonic() - began - repeating
            changes = computed.difference.values() if name == "photos64" else ()
            row["change of D"] = max((change["denoised"] for change in changes), default=0.0)
            yield row


def passes_of_batch(prior: Prior, batch: int, device: torch.device, pause: float) -> dict[str, Any]:
    """Images a second and peak memory of a pass of one batch, and of one with a Jacobian product, where they fit.

    "measured s" is what repeating took, without the first pass of each kind.
    """
    denoiser, x = Denoiser(prior), torch.randn(batch, *prior.image_shape, device=device)
    found, memory = {"measured s": 0.0}, PeakMemory(device)
    for kind, run in (("forward", lambda: denoiser(x, 1.0)), ("with product", lambda: with_product(denoiser, x, x))):
        memory.start()
        try:
            timings = interleave({kind: Work(run)}, device, least=2, most=50, budget=pause)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            found[f"{kind}, images/s"] = math.nan
            continue
        finally:
            if device.type == "cuda":
                torch.cuda.empty_cache()
        found[f"{kind}, images/s"] = batch / timings.interval(kind).median
        found[f"{kind}, GB"] = memory.peak() / 1e3
        found["measured s"] += float(timings.seconds[kind].sum())
    return found


def cells(device: torch.device, batch: int, quick: bool) -> Iterator[dict[str, Any]]:
    """Rows of what a cell takes and moves beyond its network's passes."""
    with tempfile.TemporaryDirectory() as scratch:
        told = [f"runner.device={device}", f"runner.limit={batch}", f"runner.batch_size={batch}", *NO_DOWNLOAD]
        dtypes = ("float32",) if quick else ("bfloat16", "float32")
        for dtype in dtypes:
            for name in list(FEW)[: 1 if quick else None]:
                config = configured(f"method={name}", f"compute.dtype={dtype}", *told)
                (row,) = measure(config, [name], Path(scratch) / dtype, 1 if quick else 3, 0.0 if quick else 4.0)
                what = {"part": "cell", "images": f"photos64, batch {batch}, {dtype}"}
                config.runner.results_dir = f"{scratch}/moved/{dtype}"
                yield what | medians(row) | moved(config)
        if not quick:
            table = at_full_size(FEW, Path(scratch), 1, f"runner.device={device}", *NO_DOWNLOAD)
            for row in table.rows:
                yield {"part": "cell", "images": "FFHQ's network, batch 1, float32"} | medians(row)


def moved(config: Any) -> dict[str, float]:
    """KB that a method moves between host and device for an image, and how often it waits for a number."""
    cell = Cell(config)
    batch = cell.batch(cell.ids)
    denoiser, noise = Denoiser(cell.prior), ImageNoise(cell.seed, batch.ids, "method")
    with Traffic() as traffic:
        cell.method.restore(batch.y, batch.operator, cell.noise_std, denoiser, noise)
    asked, images = denoiser.nfe, len(batch.ids)
    return {
        "KB to device, per pass and image": traffic.up / 1e3 / asked / images,
        "KB back": traffic.down / 1e3 / asked / images,
        "waits per pass": traffic.waits / asked,
    }


def medians(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its intervals' bounds."""
    return {name: value.median if isinstance(value, Interval) else value for name, value in row.items()}


def counts(experiments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What experiments ask of their networks, counted as `vml-bench plan` counts."""
    for experiment in experiments:
        found, alone, product = 0, 0.0, 0.0
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            for config in planned("config", [f"experiment={experiment}", "runner.device=cpu"], loader, False):
                found += 1
                if asks_prior(config):
                    images, _ = images_of(config)
                    nfe, vjp = passes(config, stated_prior(config)[0])
                    alone += images * max(nfe - vjp, 0)
                    product += images * vjp
        yield {"part": "counts", "experiment": experiment, "cells": found, "alone": alone, "with_product": product}


def part(name: str, device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """The rows of a part, as soon as each is found."""
    known, pause = name.removesuffix(", compiled"), 0.0 if quick else 0.5
    if name == "counts":
        yield from counts(["demo"] if quick else list(EXPERIMENTS))
    elif name == "cells":
        yield from cells(device, 2 if quick else 32, quick)
    elif known != name:
        yield from passes_of_network(known, COMPILED, BATCHES[:1], device, pause)
    else:
        ways = {way: compute for way, compute in WAYS.items() if not quick or way in QUICK_WAYS}
        yield from passes_of_network(name, ways, [2] if quick else BATCHES, device, pause)


class Child:
    """A part in a process of its own, which says a row a line."""

    def __init__(self, name: str, device: torch.device, quick: bool) -> None:
        line = [sys.executable, "-m", "benchmarks.performance.gpu", "--part", name, "--device", str(device)]
        line += ["--threads", str(torch.get_num_threads()), *["--quick"] * quick]
        self.name, self.began = name, time.monotonic()
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def rows(self, seconds: float) -> tuple[list[dict[str, Any]], str]:
        """What it found, waiting no longer than so many seconds; and what went wrong, in a line, or nothing."""
        problem = ""
        try:
            out, err = self.process.communicate(timeout=max(seconds, 0.0))
            if self.process.returncode:
                problem = f"failed: {(err.decode().strip().splitlines() or ['no word'])[-1][:200]}"
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
            problem = f"was ended after {time.monotonic() - self.began:.0f} s"
        lines = out.decode().split("\n")[:-1]  # what has no end was cut off
        return [json.loads(line) for line in lines if line.startswith("{")], problem and f"{self.name} {problem}"


def hours(counted: dict[str, Counted], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hours of each experiment for each way of computing its network, at the batch that is fastest for it."""
    found = []
    for experiment, asked in counted.items():
        by_way: dict[str, dict[str, Any]] = {}
        for row in rows:
            if row["network"] == EXPERIMENTS.get(experiment, "photos64"):
                taken = asked.alone / row["forward, images/s"] + asked.with_product / row["with product, images/s"]
                if math.isnan(taken):  # one of the two did not fit
                    continue
                one = {
                    "experiment": experiment,
                    "network computed": row["computed"],
                    "batch": str(row["batch"]),
                    "cells": asked.cells,
                    "evaluations": f"{asked.alone:,.0f}",
                    "with product": f"{asked.with_product:,.0f}",
                    "hours": taken / 3600,
                }
                best = by_way.get(row["computed"])
                by_way[row["computed"]] = one if best is None or one["hours"] < best["hours"] else best
        found += by_way.values()
    return found


def expected(name: str, quick: bool) -> set[tuple[str, str, int]]:
    """The rows that a network's part should have: network, way and batch."""
    known = name.removesuffix(", compiled")
    if name == "cells":
        return set()
    if known != name:
        return {(known, way, BATCHES[0]) for way in COMPILED}
    return {(name, way, batch) for way in (QUICK_WAYS if quick else WAYS) for batch in ([2] if quick else BATCHES)}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of all parts together; default: %(default)s")
    parser.add_argument("--part", help="one part alone, a row a line: what the command itself starts")
    arguments = parser.parse_args(argv)
    device = begin(arguments)
    if arguments.part:
        for row in part(arguments.part, device, arguments.quick):
            print(json.dumps(row), flush=True)
        return
    tried = device.type != "cuda"
    if tried and (not arguments.quick or arguments.out == RESULTS):
        raise InputError(f"{device} is no GPU of CUDA", "to see that it works: --quick --out FOLDER")
    began, rows, of_cells, missing = time.monotonic(), [], [], []
    counting = Child("counts", torch.device("cpu"), arguments.quick)
    shares = {name: SHARES[name] for name in (("photos64", "cells") if arguments.quick else SHARES)}
    scale, due = arguments.seconds / sum(shares.values()), began
    for name, share in shares.items():
        due += scale * share
        found, problem = Child(name, device, arguments.quick).rows(due - time.monotonic())
        of_cells += [row for row in found if row.get("part") == "cell"]
        rows += [row for row in found if "network" in row]
        there = {(row["network"], row["computed"], row["batch"]) for row in found if "network" in row}
        lacking = sorted(expected(name, arguments.quick) - there)
        if problem:
            named = "; ".join(f"{way} at {batch}" for _, way, batch in lacking)
            missing.append(problem + (f", without {named}" if named else ""))
        print(f"— {name}: {len(found)} rows, {time.monotonic() - began:.0f} s in all", file=sys.stderr, flush=True)
    found, problem = counting.rows(began + arguments.seconds - time.monotonic())
    missing += [problem] * bool(problem)
    counted = {row["experiment"]: Counted(row["cells"], row["alone"], row["with_product"]) for row in found}
    cell_rows = [{name: value for name, value in row.items() if name != "part"} for row in of_cells]
    tables = [
        Table("Hours of network time", ["experiment", "network computed", "batch"], hours(counted, rows)),
        Table("Passes", ["network", "computed", "batch"], [row | {"batch": str(row["batch"])} for row in rows]),
        Table("Cells", ["images", "method"], cell_rows),
    ]
    title, notes = "A GPU", [*NOTES, f"Did not fit: {'. '.join(missing) or 'nothing'}."]
    if tried:
        title, notes = (
            "A try on a CPU",
            ["**No GPU: this says that the command works, and nothing of any GPU.**", *notes],
        )
    settings = {"seconds": f"{time.monotonic() - began:.0f} of {arguments.seconds:g}"}
    write(Benchmark("gpu_tried" if tried else "gpu", title, tables, settings, notes), device, arguments)


NOTES = (
    "Hours are those of the network alone: evaluations and products counted as `vml-bench plan` counts them, over the "
    "images a second of the batch that is fastest for them. What a cell adds is under “Cells”.",
    "A pass is of one image; GB are all that is held at its peak, weights included; what is empty did not fit. "
    "“change of D”: the largest relative L2 change against float32 over σ = 0.05, 0.5, 5, of photos64 alone, for the "
    "other weights are arbitrary. "
    "“set up s” of a compiled network: from its making to its first pass with a product.",
    "Cells: columns as in `overhead.md`, scored by PSNR and SSIM alone. What is moved is counted while a method runs: "
    "KB up and down over its passes and images, and how often Python waits for a number.",
)


if __name__ == "__main__":
    main()
