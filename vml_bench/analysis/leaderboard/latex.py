"""A leaderboard as LaTeX tables for a paper; names from files are escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress

import pandas as pd

from vml_bench.analysis.leaderboard.render import Block, Value, blocks, notes
from vml_bench.columns import Column
from vml_bench.text import MISSING

ARROWS = {+1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}
COMPUTE = ("nfe", "vjp", "seconds", "memory_mb")
SPECIALS = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "·": r"$\cdot$",
    "σ": r"$\sigma$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_tex(text: str) -> str:
    """Any name as inert LaTeX on one line."""
    return "".join(SPECIALS.get(character, character) for character in " ".join(text.split()))


def to_tex(frame: pd.DataFrame, intervals: bool = False) -> str:
    """The leaderboard as LaTeX (package booktabs), one table per problem.

    Best values are bold and second best underlined, equal prints alike. Quality and compute stand in a tabular each, so
    that a table fits the width of a page. Columns without any value are left out, and n and diverged where they are the
    same for every method, in the caption then.

    Args:
        frame: from `build`.
        intervals: whether 95 % intervals stand in a line of their own under the values.
    """
    lines = [f"% {note}" for note in notes(frame)]
    lines += [f"% warning: {' '.join(warning.split())}" for warning in frame.attrs.get("warnings", [])]
    lines.append(r"% needs \usepackage{booktabs}")
    for block in blocks(frame):
        shown = [column for column in block.columns if block.rows[column.name].notna().any()]
        quality = [column for column in shown if column.name not in COMPUTE]
        compute = [column for column in shown if column.name in COMPUTE]
        label = re.sub(r"[^A-Za-z0-9]+", "-", f"{block.dataset}-{block.task}-{block.noise_std:g}-{block.problem}")
        lines += ["", r"\begin{table}", r"  \centering\small\setlength{\tabcolsep}{4pt}"]
        lines += [f"  \\caption{{{_caption(block)}}}", f"  \\label{{tab:{label}}}"]
        for columns in filter(None, (quality, compute)):
            lines += _tabular(block, columns, intervals and columns is quality)
        lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def _caption(block: Block) -> str:
    caption = f"{escape_tex(block.dataset)}: {escape_tex(block.title)}, $\\sigma_y = {block.noise_std:g}$"
    counts = block.rows["n"].unique()
    caption = f"{caption}, $n = {counts[0]}$." if len(counts) == 1 else f"{caption}."
    return " ".join([caption, *map(escape_tex, block.notes)])


def _tabular(block: Block, columns: Sequence[Column], intervals: bool) -> list[str]:
    titles = [
        escape_tex(column.title) + ARROWS[column.better] + (f" ({column.unit})" if column.unit else "")
        for column in columns
    ]
    counted = [block.rows["n"].nunique() > 1, block.rows["diverged"].any()]
    rows = [["Method", *compress(("$n$", "diverged"), counted), *titles]]
    for (label, *counts), values in block.cells(columns):
        told = [count.replace("⚠", r"\textbf{!}") for count in compress(counts, counted)]
        rows.append([escape_tex(label), *told, *map(_value, values)])
        if intervals:
            bounds = [f"{{\\scriptsize {value.bounds.replace('-', '$-$')}}}" for value in values]
            rows.append([*[""] * (1 + len(told)), *bounds])
    head, *body = (f"    {' & '.join(row)} \\\\" for row in rows)
    begin = f"  \\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    return [begin, r"    \toprule", head, r"    \midrule", *body, r"    \bottomrule", r"  \end{tabular}"]


def _value(value: Value) -> str:
    text = value.text.replace(MISSING, "--").replace("∞", r"$\infty$")
    if text.startswith("-") and text != "--":
        text = f"$-${text[1:]}"
    return {1: f"\\textbf{{{text}}}", 2: f"\\underline{{{text}}}"}.get(value.rank, text)
