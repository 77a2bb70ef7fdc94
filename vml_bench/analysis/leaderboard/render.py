"""A leaderboard as Markdown and plain text; names from files are escaped in each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from vml_bench.columns import COLUMNS, STARTS, Column
from vml_bench.text import aligned, bounds, escape_markdown, escape_terminal, markdown, number

ARROWS = {+1: "↑", -1: "↓", 0: ""}
OTHER_FIDS = [column.name for column in COLUMNS if column.name.startswith("fid_")]
NO_INCEPTION = (
    "FID and KID: a dash means that Inception's features are missing. `vml-bench fetch inception` fetches its weights; "
    "then `vml-bench leaderboard --features inception` computes them from the pictures on disk."
)
CONVENTIONS = (
    "FID is clean-fid's `clean`. FID-legacy-pytorch, FID-torch-fidelity and FID-torchvision are what pytorch-fid, "
    "torch-fidelity and DAPS's script call FID; they do not compare with one another."
)
NOTES = (
    "n: all images of the row; diverged: those among them without a usable result. Values are means over the other "
    "images, with 95 % bootstrap intervals over images in brackets. A Fréchet distance's interval comes from random "
    "halves of the images and is about the distance expected at this n, with its upward bias; kernel distances have "
    "none.",
)
RANKED = (
    "Best values are marked among methods that restored all images of their table, none diverged; ties are marked "
    "together. One table is one problem: the same images, operator, σ_y and seed. ⚠ fewer images than others."
)
STARTS_NOTE = (
    "starts=k: the method started k times on each image, and the answer, which the other columns score, is the start "
    "with the least ‖y − A(x)‖: a choice that needs no ground truth. Mean start: the mean over all k. Best start: the "
    "best of the k by that score itself, which takes the ground truth; papers that report the best of four mean this."
)
INTERVALS = ("psnr", "lpips_alex", "map_gap")
"""Columns whose intervals a terminal shows."""
FD_NOTE = (
    "fd_alex and kd_alex: Fréchet and kernel distance between restorations and ground truth of the same images, on "
    "256 pooled activations of LPIPS's AlexNet. They are not FID and compare only within one table; a Fréchet distance "
    "of 256 images or fewer rests on a rank-deficient covariance and is biased upward. A kernel distance between "
    "matched sets is biased downward and goes below zero for good restorations."
)
ORACLE_NOTES = (
    "Images are drawn from a prior in closed form, so the posterior p(x | y), its mean and its mode x* are exact, and "
    "scores are of raw restorations. A method that seeks the mode is judged by the MAP gap and distance, a sampler by "
    "SW2 and the mean error: exact posterior samples lie far below the mode, by about half the number of dimensions "
    "that the measurement leaves free.",
    "MAP gap: median of log p(x* | y) − log p(x | y); at σ_y = 0 the gap in log prior once x is projected onto Hx = y, "
    "from which the residual says how far it was. MAP distance: median of ‖x − x*‖.",
    "SW2: sliced Wasserstein-2 distance between the restorations of a scene and exact posterior samples. Mean error: "
    "‖mean of a scene's restorations − E[x | y]‖. Both are means over scenes; the floor beside each is what as many "
    "exact posterior samples score.",
    "Residual: ‖y − Hx‖. Residual ratio: over σ_y √rank(H), its root mean square for exact posterior samples.",
    "n: all restorations of the row, several of each scene; diverged: those among them without a usable result, which "
    "no other column counts. In brackets 95 % bootstrap intervals over scenes.",
)
SYNTHETIC = "Synthetic: the weights or the images of some runs are made up, so these numbers mean nothing."


class Value(NamedTuple):
    """A value of a table as printed, its bounds or nothing, and whether it is best (1), second best (2) or neither."""

    text: str
    bounds: str
    rank: int


@dataclass(frozen=True)
class Block:
    """The rows of one problem, and how they are shown.

    Attributes:
        dataset, task, noise_std, problem: what the rows share.
        difference: what tells the problem from others of its task and noise level; empty where it is alone.
        rows: the rows, renumbered from 0.
        labels: one per row: the method and what sets the run apart.
        columns: columns with a value in the frame, and FID even without one; scores against an exact posterior come
            first.
        ranks: for each column and row 1 (best), 2 (second best) or 0.
    """

    dataset: str
    task: str
    noise_std: float
    problem: str
    difference: str
    rows: pd.DataFrame
    labels: list[str]
    columns: list[Column]
    ranks: dict[str, list[int]]

    @property
    def title(self) -> str:
        """The task, and what tells its problem from others: "sr4 · factor 2"."""
        return f"{self.task} · {self.difference}" if self.difference else self.task

    @property
    def priors(self) -> list[str]:
        """The priors of its rows, without repeats."""
        return list(dict.fromkeys(filter(None, self.rows["prior"].fillna("").astype(str))))

    @property
    def notes(self) -> list[str]:
        """What a reader must know about this table alone."""
        several = len(self.priors) > 1
        return [f"Priors differ ({', '.join(self.priors)}): best values are marked across them."] if several else []

    def count(self, i: int) -> str:
        """n of a row as printed; marked where it is below the table's largest."""
        n, largest = int(self.rows["n"][i]), int(self.rows["n"].max())
        return str(n) if n == largest else f"{n} of {largest} ⚠"

    def cells(self, columns: Iterable[Column]) -> Iterator[tuple[list[str], list[Value]]]:
        """Each row as printed: its label, n and number of diverged images, and its values of the columns."""
        for i, row in enumerate(self.rows.to_dict("records")):
            values = [Value(printed(float(row[c.name]), c), interval(row, c), self.ranks[c.name][i]) for c in columns]
            yield [self.labels[i], self.count(i), str(row["diverged"])], values


def ranks(values: list[float], taking_part: list[bool], column: Column) -> list[int]:
    """Mark the best value 1 and the second best 2, as printed, so that equal prints share a mark; others 0.

    Rows that take no part are not ranked: a mean without its diverged or unfinished images does not compare. A column
    in which no direction is better has no marks, nor has one with fewer than two ranked rows.
    """
    shown = [
        float(printed(value, column).replace("∞", "inf")) + 0.0 if takes and value > -math.inf else math.nan
        for value, takes in zip(values, taking_part, strict=True)
    ]
    ranked = [value for value in shown if not math.isnan(value)]
    if not column.better or len(ranked) < 2:
        return [0] * len(values)
    best = sorted(set(ranked), reverse=column.better > 0)[:2]
    return [best.index(value) + 1 if value in best else 0 for value in shown]


def blocks(frame: pd.DataFrame) -> Iterator[Block]:
    """Split a leaderboard by problem, in the frame's order."""
    exact, known = frame.attrs.get("exact", False), frame.attrs["columns"].values()
    offered = [*(c for c in known if c.exact), *(c for c in known if not c.exact)] if exact else list(known)
    offered = [column for column in offered if column.name in frame]
    columns = [c for c in offered if (c.name == "fid" and not exact) or frame[c.name].notna().any()]
    for keys, group in frame.groupby(["dataset", "task", "noise_std", "problem"], sort=False):
        dataset, task, noise_std, problem = keys
        rows = group.reset_index(drop=True)
        taking_part = ((rows["diverged"] == 0) & (rows["n"] == rows["n"].max())).tolist()
        marks = {c.name: ranks(rows[c.name].tolist(), taking_part, c) for c in columns}
        difference = frame.attrs["headings"].get((task, problem), "")
        labels = [frame.attrs["labels"][i] for i in group.index]
        yield Block(str(dataset), str(task), float(noise_std), str(problem), difference, rows, labels, columns, marks)


def printed(value: float, column: Column) -> str:
    """A value of a column as printed."""
    return number(value, column.digits, column.significant)


def interval(row: Mapping[str, Any], column: Column) -> str:
    """The bounds as printed, "[27.30, 28.90]", or nothing where there are none or they coincide with the mean."""
    low, high = (float(row[f"{column.name}_{end}"]) for end in ("low", "high"))
    same = printed(low, column) == printed(high, column)
    return "" if same else bounds(low, high, column.digits, column.significant)


def notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know about the numbers."""
    found = [SYNTHETIC] if frame.attrs.get("synthetic") else []
    if frame.attrs.get("exact"):
        return [*found, *ORACLE_NOTES, RANKED]
    found += [*NOTES, RANKED]
    if frame["fid"].isna().any():
        found.append(NO_INCEPTION)
    if any(frame[name].notna().any() for name in OTHER_FIDS):
        found.append(CONVENTIONS)
    if any(frame[column.name].notna().any() for column in STARTS):
        found.append(STARTS_NOTE)
    if frame["fd_alex"].notna().any():
        found.append(FD_NOTE)
    return found


def to_markdown(frame: pd.DataFrame) -> str:
    """The leaderboard as Markdown, a section for each problem."""
    lines = [f"# Leaderboard: {escape_markdown(str(frame.attrs.get('dataset', '')))}", ""]
    lines += [f"- {note}" for note in notes(frame)]
    lines += [f"- **Warning:** {escape_markdown(warning)}" for warning in frame.attrs.get("warnings", [])]
    for block in blocks(frame):
        lines += ["", f"## {escape_markdown(block.title)}, σ_y = {block.noise_std:g}", ""]
        lines += [line for note in block.notes for line in (escape_markdown(note), "")]
        apart = [column for column in block.columns if column.features and column.name != "fid"]
        lines += _markdown_table(block, [column for column in block.columns if column not in apart])
        if apart:
            lines += ["", "Further distances between the set of restorations and that of the ground truth:", ""]
            lines += _markdown_table(block, apart)
    return "\n".join(lines) + "\n"


def _markdown_table(block: Block, columns: Sequence[Column]) -> list[str]:
    """Lines of a table of some of a block's columns."""
    rows = [
        [
            *(escape_markdown(label), *counts),
            *(f"{f'**{text}**' if rank == 1 else text} {bounds}".strip() for text, bounds, rank in values),
        ]
        for (label, *counts), values in block.cells(columns)
    ]
    return markdown(["method", "n", "diverged", *map(_title, columns)], rows, left=[0])


def _title(column: Column, short: bool = False) -> str:
    if short:
        return f"{column.title} {ARROWS[column.better]}" if column.better else column.unit or column.title
    arrow, unit = ARROWS[column.better], f"({column.unit})" if column.unit else ""
    return " ".join(part for part in (column.title, arrow, unit) if part)


def format_table(frame: pd.DataFrame) -> str:
    """The leaderboard for a terminal: one block per problem, * for the best, the intervals of `INTERVALS` alone.

    Kernel distances and FID's other conventions are left to the files.
    """
    exact = frame.attrs.get("exact", False)
    parts = []
    for block in blocks(frame):
        columns = [column for column in block.columns if column.name not in ("kid", "kd_alex", *OTHER_FIDS)]
        table = [["method", "n", "div.", *(_title(column, short=True) for column in columns)]]
        for about, values in block.cells(columns):
            cells = [
                f"{'*' * (value.rank == 1)}{value.text} {value.bounds if column.name in INTERVALS else ''}".strip()
                for column, value in zip(columns, values, strict=True)
            ]
            table.append([*about, *cells])
        heading = f"{block.dataset} · {block.title} · σ_y = {block.noise_std:g}"
        above = map(escape_terminal, (heading, *block.notes))
        parts.append("\n".join([*above, *aligned(table, left=[0], rule=True)]))
    lines = [f"* best of its column; [low, high] 95 % bootstrap interval over {'scenes' if exact else 'images'}"]
    if exact:
        lines.append("floor: what as many exact posterior samples score; leaderboard.md says what the columns are")
    elif frame["fid"].isna().any():
        lines.append("FID: – without features (vml-bench fetch inception; vml-bench leaderboard --features inception)")
    lines += [SYNTHETIC] if frame.attrs.get("synthetic") else []
    return "\n\n".join([*parts, "\n".join(lines)])
