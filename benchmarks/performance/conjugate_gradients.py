"""What a singular value decomposition is worth: an operator by its spectrum, and by forward and adjoint alone.

The same measurements both ways: `sr4`, `deblur_gauss` and `deblur_motion`, whose spectra are exact, and `sr4_cg`,
`deblur_gauss_cg` and `deblur_motion_cg`, which solve the same systems by conjugate gradients. First prox alone, at
noise levels of a method's beginning, middle and end; then `vml_fixed_point` as configured, network included.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.performance.cells import configured
from benchmarks.performance.paired import Work, interleave
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.data.images import as_saved
from vml_bench.metrics.functional import psnr
from vml_bench.runner.cell import Cell
from vml_bench.runner.evaluators import Batch
from vml_bench.runner.run import applications, restored

TASKS = ("sr4", "deblur_gauss", "deblur_motion")
SIGMAS = (10.0, 1.0, 0.1)
NOTES = (
    "“A”: applications of H and Hᵀ for each image, a mean over images; a spectral operator is not iterated. Conjugate "
    "gradients stop at a tolerance of 1e-6 or after 100 iterations. “apart”: the largest difference of a pixel, images "
    "in [-1, 1], and of a mean PSNR. σ_y is 0.05.",
)


def pair(task: str, batch: int, device: str) -> dict[str, Cell]:
    """The cells of a task by its spectrum and by conjugate gradients."""
    common = ("method=vml_fixed_point", f"runner.limit={batch}", f"runner.device={device}")
    return {
        name: Cell(configured(f"task={choice}", *common)) for name, choice in (("spectral", task), ("cg", f"{task}_cg"))
    }


def timed(works: dict[str, Work], cell: Cell, images: int, least: int, budget: float) -> dict[str, Any]:
    """Milliseconds an image both ways, and their ratio."""
    timings = interleave(works, cell.device, least=least, budget=budget)
    return {
        "spectral ms/image": timings.interval("spectral", 1e3 / images),
        "cg ms/image": timings.interval("cg", 1e3 / images),
        "cg / spectral": timings.ratio("cg", "spectral"),
    }


def of_prox(task: str, cells: dict[str, Cell], batches: dict[str, Batch], budget: float) -> list[dict[str, Any]]:
    """Rows of prox, one for each noise level, from the ground truth with that much noise."""
    clean, noise_std = batches["spectral"].clean, cells["spectral"].noise_std
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(clean)
    rows = []
    for sigma in SIGMAS:
        x = clean + sigma * noise

        def prox(batch: Batch, x: Tensor = x, step: float = sigma**2) -> Tensor:
            batch.operator.applications = 0.0
            return batch.operator.prox(x, batch.y, noise_std, step)

        found = {name: prox(batch) for name, batch in batches.items()}
        asked = statistics.fmean(applications(batches["cg"]))
        works = {name: Work(partial(prox, batch)) for name, batch in batches.items()}
        apart = float((found["spectral"] - found["cg"]).abs().max())
        row = timed(works, cells["spectral"], len(clean), 3, budget)
        rows.append({"task": task, "σ": f"{sigma:g}", "A": asked, **row, "apart": f"{apart:.1e}"})
    return rows


def of_method(
    task: str, cells: dict[str, Cell], batches: dict[str, Batch], least: int, budget: float
) -> dict[str, Any]:
    """The row of a whole restoration."""
    found = {name: restored(cell, batches[name]) for name, cell in cells.items()}
    clean = as_saved(batches["spectral"].clean)
    scores = {name: float(psnr(as_saved(outcome.images), clean).mean()) for name, outcome in found.items()}
    works = {name: Work(partial(restored, cell, batches[name])) for name, cell in cells.items()}
    apart = float((found["spectral"].images - found["cg"].images).abs().max())
    return {
        "task": task,
        "NFE": str(found["cg"].nfe),
        "A": statistics.fmean(found["cg"].applications),
        **timed(works, cells["spectral"], len(clean), least, budget),
        "apart": f"{apart:.1e}, {abs(scores['spectral'] - scores['cg']):.3f} dB",
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--batch", type=int, default=4, help="images at photos64; default: %(default)s")
    arguments = parser.parse_args(argv)
    device = begin(arguments)
    least, budget = (1, 0.0) if arguments.quick else (3, 8.0)
    tasks = TASKS[:1] if arguments.quick else TASKS
    prox, method = [], []
    for task in tasks:
        cells = pair(task, arguments.batch, arguments.device)
        batches = {name: cell.batch(list(cell.ids)) for name, cell in cells.items()}
        prox += of_prox(task, cells, batches, budget)
        method.append(of_method(task, cells, batches, least, budget))
    tables = [
        Table(f"prox, photos64, batch {arguments.batch}", ["task", "σ"], prox),
        Table(f"vml_fixed_point, photos64, batch {arguments.batch}, float32", ["task"], method),
    ]
    settings = {"batch": arguments.batch, "tasks": list(tasks), "budget s": budget}
    write(
        Benchmark("conjugate_gradients", "A spectrum against conjugate gradients", tables, settings, NOTES),
        device,
        arguments,
    )


if __name__ == "__main__":
    main()
