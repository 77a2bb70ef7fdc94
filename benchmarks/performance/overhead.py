"""Overhead: a method, and a whole cell, over the same number of bare network passes.

The levels of a method are cut to a few passes, for the overhead of a pass does not depend on their number; what a cell
does once an image (data, measuring, metrics, pictures, rows) is measured beside and set against all the passes that
the method takes as configured. `--full` leaves the levels as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from PIL import Image

from benchmarks.performance.cells import bare_passes, configured, families, method_configs, shortened, uses_network
from benchmarks.performance.paired import Interval, Work, interleave
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.priors.synthetic import write_synthetic
from vml_bench.runner.cell import Cell
from vml_bench.runner.cost import count
from vml_bench.runner.resources import build
from vml_bench.runner.run import Runner

FEW = ("ddrm", "vml_map_pre")
"""Measured in bfloat16 and with the FFHQ network unless --full: one without and one with the Jacobian product."""


def measure(
    config: DictConfig, names: Sequence[str], scratch: Path, passes: int, budget: float
) -> list[dict[str, Any]]:
    """Rows of the methods that one class runs.

    Args:
        config: a cell of the first of them.
        names: configurations of the class.
        scratch: folder for the cells' results, a fresh one for each run.
        passes: network evaluations to cut the method to; inf: none are cut.
        budget: seconds after which no further round begins.
    """
    fresh = itertools.count(1)
    config = config.copy()
    config.runner.results_dir = str(scratch / "first")
    cell = Cell(config)
    network = uses_network(config.method)
    nfe, vjp = 0, 0
    if network:
        config, nfe, vjp = shortened(config, cell.prior, passes)
        config.runner.results_dir = str(scratch / "cut")
        cell = Cell(config)
    batch = cell.batch(cell.ids)

    def method() -> None:
        noise = ImageNoise(cell.seed, batch.ids, "method")
        cell.method.restore(batch.y, batch.operator, cell.noise_std, Denoiser(cell.prior), noise)

    def fresh_cell() -> tuple[Runner]:  # another seed each time, for scores of equal pictures are remembered
        config.seed = next(fresh)
        config.runner.results_dir = str(scratch / f"cell-{config.seed}")
        return (Cell(config),)

    works = {"method": Work(method), "cell": Work(lambda cell: Runner(cell).run(), fresh_cell)}
    if network:
        prior = build(config.prior.model, "prior").to(cell.device)
        autocast = partial(cell.compute.autocast, cell.device)
        works["bare"] = Work(bare_passes(prior, batch.clean, autocast, nfe, vjp))
    with contextlib.redirect_stderr(io.StringIO()):
        timings = interleave(works, cell.device, least=3, budget=budget)
    seconds, images = timings.seconds, len(batch.ids)
    harness = seconds["cell"] - seconds["method"]
    common = {"harness ms/image": Interval.of(harness, 1e3 / images)}
    if not network:
        return [{"method": names[0], "method ms/image": timings.interval("method", 1e3 / images), **common}]
    rows = []
    for name in names:
        try:
            whole_nfe, whole_vjp = count(configured(f"method={name}", *_task(config)), cell.prior)
        except InputError:  # more levels than this prior has
            continue
        share = harness / (seconds["bare"] * whole_nfe / nfe)
        rows.append(
            {
                "method": name,
                "passes timed": f"{nfe} + {vjp} vjp",
                "bare s": timings.interval("bare"),
                "method / bare": timings.ratio("method", "bare"),
                **common,
                "passes as configured": f"{whole_nfe} + {whole_vjp} vjp",
                "cell / bare": Interval.of(seconds["method"] / seconds["bare"] + share),
            }
        )
    return rows


def _task(config: DictConfig) -> list[str]:
    return [f"task={config.task.name}", f"task.noise_std={config.task.noise_std}"]


def photographs(folder: Path) -> Path:
    """Write four 256×256 crops of a photograph that scikit-image carries; returns the folder."""
    from skimage.data import astronaut

    folder.mkdir(parents=True)
    picture = astronaut()
    for i, (top, left) in enumerate(itertools.product((0, 256), repeat=2)):
        Image.fromarray(np.ascontiguousarray(picture[top : top + 256, left : left + 256])).save(folder / f"{i}.png")
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--methods", nargs="+", help="of conf/method; default: all")
    parser.add_argument("--batch", type=int, default=16, help="images at photos64; default: %(default)s")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="default: %(default)s")
    parser.add_argument("--skip-ffhq", action="store_true", help="photos64 alone")
    parser.add_argument("--full", action="store_true", help="all methods everywhere, no levels cut: hours")
    arguments = parser.parse_args(argv)
    device = begin(arguments)
    passes, budget = (math.inf, 0.0) if arguments.full else (3, 8.0)
    if arguments.quick:
        passes, budget, arguments.batch = 1, 0.0, min(arguments.batch, 2)
    with tempfile.TemporaryDirectory() as scratch:
        tables = list(_tables(arguments, Path(scratch), passes, budget))
    settings = {"batch": arguments.batch, "task": "sr4", "passes timed at least": passes, "budget s": budget}
    write(Benchmark("overhead", "Overhead over bare network passes", tables, settings, NOTES), device, arguments)


NOTES = (
    "“method / bare”: `restore` on a batch, over as many evaluations and Jacobian products of the bare network. "
    "“harness”: what a whole cell (data, measuring, metrics, pictures, rows; a fresh results folder and seed each "
    "time) takes beyond its method; network passes on the originals are remembered from the cell before, as in a "
    "sweep. “cell / bare”: method / bare, plus the harness's share of all the bare passes that the method takes as "
    "configured. Goals: 1.05 for the method, 1.10 for the cell.",
    "Configurations of one class are timed once, in its plain configuration; one that this prior cannot run is left "
    "out.",
)


def _tables(arguments: argparse.Namespace, scratch: Path, passes: float, budget: float) -> list[Table]:
    known, device = method_configs(), f"runner.device={arguments.device}"
    groups = {
        first: names for first, names in families().items() if not arguments.methods or first in arguments.methods
    }
    with_network = {first: names for first, names in groups.items() if uses_network(known[first])}
    few = {first: names for first, names in with_network.items() if arguments.full or first in FEW}
    tables = []
    for dtype in arguments.dtypes:
        rows = []
        for first, names in (with_network if dtype == "float32" else few).items():
            config = configured(
                f"method={first}", f"runner.limit={arguments.batch}", f"runner.batch_size={arguments.batch}",
                f"compute.dtype={dtype}", device,
            )  # fmt: skip
            rows += measure(config, names, scratch / dtype / first, passes, budget)
        tables.append(Table(f"photos64, batch {arguments.batch}, {dtype}", ["method"], rows))
    rows = []
    for first in groups.keys() - with_network.keys():
        config = configured(f"method={first}", f"runner.limit={arguments.batch}", device)
        rows += measure(config, [first], scratch / "none" / first, passes, budget)
    tables.append(Table("Without a network", ["method"], sorted(rows, key=lambda row: row["method"])))
    if not arguments.skip_ffhq:
        tables.append(at_full_size(few, scratch, 1 if not arguments.full else passes, device))
    return [table for table in tables if table.rows]


def at_full_size(groups: dict[str, list[str]], scratch: Path, passes: float, *overrides: str) -> Table:
    """Overhead with FFHQ's network, its weights arbitrary, on a photograph's crop.

    Args:
        groups: names of methods by the first of each class.
        scratch: folder for weights, images and results.
        passes: see `measure`.
        overrides: of the cells.
    """
    weights = write_synthetic("ffhq256", scratch / "ffhq256.safetensors")
    root = photographs(scratch / "photographs")
    rows = []
    for first, names in groups.items():
        config = configured(
            "dataset=folder", f"dataset.root={root}", "dataset.image_shape=[3,256,256]", "prior=ffhq256",
            f"prior.checkpoint={weights}", "prior.synthetic=true", f"method={first}", "runner.limit=1", *overrides,
        )  # fmt: skip
        if "inner_steps" in config.method.sampler and math.isfinite(passes):
            config.method.sampler.inner_steps = 1
        rows += measure(config, names, scratch / "ffhq" / first, passes, 0.0)
    return Table("FFHQ's ADM network, 256×256, batch 1, float32, arbitrary weights", ["method"], rows)


if __name__ == "__main__":
    main()
