"""A leaderboard as csv, Markdown, LaTeX and plain text; names from files are escaped in each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vml_bench.files import replacing
from vml_bench.leaderboard.columns import COLUMNS, Column

MISSING = "–"
ARROWS = {+1: "↑", -1: "↓", 0: ""}
TEX_ARROWS = {+1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}
OTHER_FIDS = [column.name for column in COLUMNS if column.name.startswith("fid_")]
MARKDOWN_SPECIALS = re.compile(r"([\\`*_\[\]#|~$])")
TEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
NO_INCEPTION = (
    "FID and KID: a dash means that Inception's features are missing. `vml-bench fetch inception` gets its weights; "
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
    "Best values are marked among methods of which no image diverged; ties are marked together.",
)
FD_NOTE = (
    "fd_alex and kd_alex: Fréchet and kernel distance between restorations and originals of the same images, on 256 "
    "pooled activations of LPIPS's AlexNet. They are not FID and compare only within one table; a Fréchet distance of "
    "256 images or fewer rests on a rank-deficient covariance and is biased upward. A kernel distance between "
    "matched sets is biased downward and goes below zero for good restorations."
)
SYNTHETIC = "Synthetic: the weights or the images of some runs are made up, so these numbers mean nothing."


@dataclass(frozen=True)
class Block:
    """The rows of one task at one noise level, and what is shown of them.

    Attributes:
        dataset, task, noise_std: what the rows share.
        rows: the rows, renumbered from 0.
        labels: the method of each row, with its run where a method has several.
        columns: columns with a value in the frame, and FID, which says when it has none.
        ranks: for each column and row 1 (best), 2 (second best) or 0.
    """

    dataset: str
    task: str
    noise_std: float
    rows: pd.DataFrame
    labels: list[str]
    columns: list[Column]
    ranks: dict[str, list[int]]


def ranks(values: list[float], diverged: list[int], column: Column) -> list[int]:
    """Mark the best value 1 and the second best 2, as printed, so that equal prints share a mark; others 0.

    Rows with diverged images are not ranked: their mean leaves the hardest images out. A column in which
    no direction is better, and one with fewer than two ranked rows, has no marks.
    """
    ranked = [
        round(value, column.digits) + 0.0 if math.isfinite(value) or value == math.inf else None for value in values
    ]
    ranked = [None if lost else value for value, lost in zip(ranked, diverged, strict=True)]
    if not column.better or sum(value is not None for value in ranked) < 2:
        return [0] * len(values)
    order = sorted({value for value in ranked if value is not None}, key=lambda value: -column.better * value)
    return [order.index(value) + 1 if value in order[:2] else 0 for value in ranked]


def blocks(frame: pd.DataFrame) -> Iterator[Block]:
    """Split a leaderboard by data set, task and noise level, in the frame's order."""
    columns = [column for column in COLUMNS if column.name == "fid" or frame[column.name].notna().any()]
    for (dataset, task, noise_std), group in frame.groupby(["dataset", "task", "noise_std"], sort=False):
        rows = group.reset_index(drop=True)
        several = rows["method"].duplicated(keep=False)
        labels = [
            f"{method} ({run})" if twice else str(method)
            for method, run, twice in zip(rows["method"], rows["run"], several, strict=True)
        ]
        marks = {c.name: ranks(rows[c.name].tolist(), rows["diverged"].tolist(), c) for c in columns}
        yield Block(str(dataset), str(task), float(noise_std), rows, labels, columns, marks)


def number(value: float, digits: int) -> str:
    """A value as printed, or a dash."""
    if math.isnan(value):
        return MISSING
    return f"{value:.{digits}f}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def interval(row: pd.Series, column: Column) -> str:
    """The bounds as printed, "[27.30, 28.90]", or nothing where there are none or they coincide with the mean."""
    low, high = (number(float(row[f"{column.name}_{end}"]), column.digits) for end in ("low", "high"))
    return "" if MISSING in (low, high) or low == high else f"[{low}, {high}]"


def escape_markdown(text: str) -> str:
    """Any name as inert Markdown on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKDOWN_SPECIALS.sub(r"\\\1", text)


def escape_tex(text: str) -> str:
    """Any name as inert LaTeX on one line."""
    return "".join(TEX_SPECIALS.get(character, character) for character in " ".join(text.split()))


def escape_terminal(text: str) -> str:
    """Any name without control characters, which could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know about the numbers."""
    found = [SYNTHETIC] if frame.attrs.get("synthetic") else []
    found += NOTES
    if frame["fid"].isna().any():
        found.append(NO_INCEPTION)
    if any(frame[name].notna().any() for name in OTHER_FIDS):
        found.append(CONVENTIONS)
    if frame["fd_alex"].notna().any():
        found.append(FD_NOTE)
    return found


def to_markdown(frame: pd.DataFrame) -> str:
    """The leaderboard as Markdown, a section for each task and noise level."""
    lines = [f"# Leaderboard: {escape_markdown(str(frame.attrs.get('dataset', '')))}", ""]
    lines += [f"- {note}" for note in notes(frame)]
    lines += [f"- **Warning:** {escape_markdown(warning)}" for warning in frame.attrs.get("warnings", [])]
    for block in blocks(frame):
        lines += ["", f"## {escape_markdown(block.task)}, σ_y = {block.noise_std:g}", ""]
        apart = [column for column in block.columns if column.features and column.name != "fid"]
        lines += _markdown_table(block, [column for column in block.columns if column not in apart])
        if apart:
            lines += ["", "Further distances between the set of restorations and that of the originals:", ""]
            lines += _markdown_table(block, apart)
    return "\n".join(lines) + "\n"


def _markdown_table(block: Block, columns: Sequence[Column]) -> Iterator[str]:
    """Lines of a table of some of a block's columns."""
    titles = [_title(column) for column in columns]
    yield "| " + " | ".join(["method", "n", "diverged", *titles]) + " |"
    yield "|" + " --- |" + " ---: |" * (len(titles) + 2)
    for i, row in block.rows.iterrows():
        cells = [escape_markdown(block.labels[i]), str(row["n"]), str(row["diverged"])]
        for column in columns:
            value = number(float(row[column.name]), column.digits)
            value = f"**{value}**" if block.ranks[column.name][i] == 1 else value
            cells.append(f"{value} {interval(row, column)}".strip())
        yield "| " + " | ".join(cells) + " |"


def _title(column: Column, short: bool = False) -> str:
    if short:
        return f"{column.title} {ARROWS[column.better]}" if column.better else column.unit or column.title
    arrow, unit = ARROWS[column.better], f"({column.unit})" if column.unit else ""
    return " ".join(part for part in (column.title, arrow, unit) if part)


def to_tex(frame: pd.DataFrame) -> str:
    """The leaderboard as LaTeX tables (package booktabs): best value bold, second best underlined."""
    lines = [f"% {note}" for note in notes(frame)]
    lines += [f"% warning: {' '.join(warning.split())}" for warning in frame.attrs.get("warnings", [])]
    lines.append(r"% needs \usepackage{booktabs}")
    for block in blocks(frame):
        caption = f"{escape_tex(block.dataset)}: {escape_tex(block.task)}, $\\sigma_y = {block.noise_std:g}$."
        titles = [
            escape_tex(column.title) + TEX_ARROWS[column.better] + (f" ({column.unit})" if column.unit else "")
            for column in block.columns
        ]
        lines += [
            "",
            r"\begin{table}",
            r"  \centering\small\setlength{\tabcolsep}{4pt}",
            f"  \\caption{{{caption}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(titles) + 2)}}}",
            r"    \toprule",
            "    " + " & ".join(["Method", "$n$", "diverged", *titles]) + r" \\",
            r"    \midrule",
        ]
        for i, row in block.rows.iterrows():
            cells = [escape_tex(block.labels[i]), str(row["n"]), str(row["diverged"])]
            cells += [_tex_cell(row, column, block.ranks[column.name][i]) for column in block.columns]
            lines.append("    " + " & ".join(cells) + r" \\")
        lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _tex_cell(row: pd.Series, column: Column, rank: int) -> str:
    value = number(float(row[column.name]), column.digits).replace(MISSING, "--").replace("∞", r"$\infty$")
    value = {1: f"\\textbf{{{value}}}", 2: f"\\underline{{{value}}}"}.get(rank, value)
    bounds = interval(row, column)
    return f"{value} {{\\scriptsize {bounds}}}" if bounds else value


def format_table(frame: pd.DataFrame) -> str:
    """The leaderboard for a terminal: a block a task, means with the intervals of PSNR and LPIPS, * for the best.

    Kernel distances and FID's other conventions are left to the files.
    """
    parts = []
    for block in blocks(frame):
        columns = [column for column in block.columns if column.name not in ("kid", "kd_alex", *OTHER_FIDS)]
        titles = [_title(column, short=True) for column in columns]
        table = [["method", "n", "div.", *titles]]
        for i, row in block.rows.iterrows():
            cells = [escape_terminal(block.labels[i]), str(row["n"]), str(row["diverged"])]
            for column in columns:
                mark = "*" if block.ranks[column.name][i] == 1 else ""
                bounds = interval(row, column) if column.name in ("psnr", "lpips_alex") else ""
                cells.append(f"{mark}{number(float(row[column.name]), column.digits)} {bounds}".strip())
            table.append(cells)
        widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
        lines = [
            "  ".join(
                [cells[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(cells[1:], widths[1:], strict=True))]
            )
            for cells in table
        ]
        heading = f"{escape_terminal(block.dataset)} · {escape_terminal(block.task)} · σ_y = {block.noise_std:g}"
        parts.append("\n".join([heading, lines[0], "─" * len(lines[0]), *lines[1:]]))
    lines = ["* best of its column; [low, high] 95 % bootstrap interval over images"]
    if frame["fid"].isna().any():
        lines.append("FID: – without features (vml-bench fetch inception; vml-bench leaderboard --features inception)")
    lines += [SYNTHETIC] if frame.attrs.get("synthetic") else []
    return "\n\n".join([*parts, "\n".join(lines)])


def write(frame: pd.DataFrame, folder: str | Path) -> list[Path]:
    """Write leaderboard.csv, leaderboard.md and leaderboard.tex, each whole or not at all.

    Args:
        frame: from `build`.
        folder: where they go; made if absent.

    Returns:
        The three paths.
    """
    contents = {"csv": frame.to_csv(index=False), "md": to_markdown(frame), "tex": to_tex(frame)}
    paths = []
    for suffix, content in contents.items():
        path = Path(folder, f"leaderboard.{suffix}")
        with replacing(path) as partial:
            partial.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths


def write_csv(frames: Sequence[pd.DataFrame], path: str | Path) -> Path:
    """Write the leaderboards of several data sets as one csv, whole or not at all; returns its path."""
    with replacing(path) as partial:
        pd.concat(frames, ignore_index=True).to_csv(partial, index=False)
    return Path(path)
