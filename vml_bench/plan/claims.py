"""What the published numbers that planned cells measure will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vml_bench.configuration import published_file
from vml_bench.plan.cells import Planned
from vml_bench.runner.progress import clock
from vml_bench.text import aligned

if TYPE_CHECKING:  # what a plan of unpublished cells does without
    from vml_bench.analysis.published import Claim, Published


def measures(cell: Planned, claim: Claim, names: Sequence[str]) -> bool:
    """Whether a cell measures what a claim says: its method, under a task and a σ_y that it could mean.

    Args:
        cell: planned.
        claim: a published number.
        names: of the data sets that it is about.
    """
    at_noise = claim.noise_std is None or abs(cell.noise_std - claim.noise_std) < 1e-9
    return cell.dataset in names and cell.task in claim.candidates and cell.method in claim.methods and at_noise


@dataclass(frozen=True)
class ClaimCost:
    """The published numbers of one task of one paper that a plan measures, and what that costs.

    Attributes:
        paper, task: as published.
        claims: the numbers.
        cells: that measure them; a cell that measures several numbers counts in each task.
    """

    paper: str
    task: str
    claims: list[Claim]
    cells: list[Planned]

    @property
    def evaluations(self) -> int:
        """Network evaluations of the cells."""
        return sum(cell.images * cell.nfe for cell in self.cells)

    @property
    def hours(self) -> float:
        """Time of the cells on one device."""
        return sum(cell.hours for cell in self.cells)


def claims_of(cells: Sequence[Planned], published: Published) -> list[ClaimCost]:
    """What the published numbers that a plan's cells measure cost, for each task of each paper."""
    told: dict[tuple[str, str], list[Claim]] = {}
    measuring: dict[tuple[str, str], set[int]] = {}
    for claim in published.claims:
        names = published.datasets[claim.dataset]
        of_claim = {i for i, cell in enumerate(cells) if measures(cell, claim, names)}
        if of_claim:
            key = (claim.paper, claim.task)
            told.setdefault(key, []).append(claim)
            measuring.setdefault(key, set()).update(of_claim)
    return [
        ClaimCost(*key, claims, [cell for i, cell in enumerate(cells) if i in measuring[key]])
        for key, claims in told.items()
    ]


def format_claims(costs: Sequence[ClaimCost]) -> str:
    """`claims_of` as text, a paragraph for each paper; empty where no published number is measured."""
    parts = []
    for paper in dict.fromkeys(cost.paper for cost in costs):
        rows = [["task", "metric", "by", "numbers", "cells", "evaluations", "time"]]
        for cost in (cost for cost in costs if cost.paper == paper):
            metrics = ", ".join(dict.fromkeys(claim.metric for claim in cost.claims))
            methods = ", ".join(dict.fromkeys(claim.method for claim in cost.claims))
            counts = [str(len(cost.claims)), str(len(cost.cells)), f"{cost.evaluations:,}"]
            rows.append([cost.task, metrics, methods, *counts, clock(cost.hours * 3600)])
        lines = aligned(rows, left=[0, 1, 2], indent=4)
        parts.append("\n".join([f"to measure what is published in {paper}:", *lines]))
    return "\n\n".join(parts)


def claims_text(cells: Sequence[Planned]) -> str:
    """What the published numbers that a plan's cells measure cost, as text; empty where there are none."""
    names = published_file().read_text(encoding="utf-8")
    if not any(cell.dataset in names for cell in cells):
        return ""
    from vml_bench.analysis.published import read_published

    return format_claims(claims_of(cells, read_published()))
