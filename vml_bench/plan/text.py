"""A plan as text."""

from __future__ import annotations

from collections.abc import Sequence

from vml_bench.plan.cells import Plan, Planned
from vml_bench.plan.claims import claims_text
from vml_bench.plan.devices import format_devices
from vml_bench.runner.progress import clock
from vml_bench.text import aligned


def format_pass(cells: Sequence[Planned]) -> str:
    """What a pass of the slowest network takes and how that is known; empty where no cell has a network."""
    slowest = max(cells, key=lambda cell: cell.cost.forward)
    if not slowest.how:
        return ""
    line = f"a pass of one image on {slowest.how}: {slowest.cost.forward:.3g} s forward, "
    line += f"{slowest.cost.with_vjp:.3g} s with Jacobian product"
    if slowest.how.endswith("(measured here)"):
        return f"{line}; data, metrics and saving come on top"
    return f"{line}. --measure times one here instead: it loads the network, and takes as long as a few passes"


def format_cells(cells: Sequence[Planned]) -> str:
    """A plan's cells as a table; what they have in common stands above it."""
    named = {
        "dataset": [cell.dataset for cell in cells],
        "task": [cell.task for cell in cells],
        "σ_y": [f"{cell.noise_std:g}" for cell in cells],
        "method": [cell.method for cell in cells],
    }
    shared = [name for name, values in named.items() if len(cells) > 1 and len(set(values)) == 1]
    about = {name: values for name, values in named.items() if name not in shared}
    cost = {name: [str(getattr(cell, name)) for cell in cells] for name in ("images", "nfe", "vjp")}
    table = {**about, **cost, "time": [clock(cell.hours * 3600) for cell in cells]}
    rows = [list(table), *zip(*table.values(), strict=True)]
    words = [i for i, name in enumerate(about) if name != "σ_y"]
    above = [f"all: {', '.join(f'{name} {named[name][0]}' for name in shared)}"] if shared else []
    return "\n".join([*above, *aligned(rows, left=words, keys=max(len(about), 1))])


def format_plan(made: Plan) -> str:
    """A plan as text: cells, totals, times, what a pass takes, what was missing, and what published numbers cost."""
    cells = made.cells
    hours = [cell.hours for cell in cells]
    evaluations = sum(cell.images * cell.nfe for cell in cells)
    products = sum(cell.images * cell.vjp for cell in cells)
    prose = [
        f"{len(cells)} cell{'s' if len(cells) > 1 else ''} · {sum(cell.images for cell in cells):,} restorations · "
        f"{evaluations:,} network evaluations, {products:,} of them with a Jacobian product",
        f"about {clock(sum(hours) * 3600)} of network time and {sum(cell.gigabytes for cell in cells):.2f} GB on disk",
        format_devices(hours),
        format_pass(cells),
        *(f"missing here: {what}" for what in made.missing),
    ]
    parts = [format_cells(cells)]
    parts += ["\n".join(line for line in prose if line), claims_text(cells)]
    return "\n\n".join(part for part in parts if part)
