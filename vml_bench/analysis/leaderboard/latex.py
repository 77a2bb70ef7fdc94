"""A leaderboard as LaTeX tables for a paper; names from files are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from vml_bench.analysis.leaderboard.render import Block, blocks, interval, notes, printed
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


def _tabular(block: Block, columns: Sequence[Column], intervals: bool) -> Iterator[str]:
    counted = [name for name in ("n", "diverged") if _tells(block, name)]
    titles = [
        escape_tex(column.title) + ARROWS[column.better] + (f" ({column.unit})" if column.unit else "")
        for column in columns
    ]
    heads = [{"n": "$n$"}.get(name, name) for name in counted]
    yield f"  \\begin{{tabular}}{{l{'r' * (len(heads) + len(titles))}}}"
    yield r"    \toprule"
    yield "    " + " & ".join(["Method", *heads, *titles]) + r" \\"
    yield r"    \midrule"
    for i, row in enumerate(block.rows.to_dict("records")):
        cells = [escape_tex(block.labels[i]), *(_count(block, i, name) for name in counted)]
        cells += [_value(row, column, block.ranks[column.name][i]) for column in columns]
        yield "    " + " & ".join(cells) + r" \\"
        if intervals:
            bounds = [f"{{\\scriptsize {interval(row, column).replace('-', '$-$')}}}" for column in columns]
            yield "    " + " & ".join(["", *("" for _ in counted), *bounds]) + r" \\"
    yield r"    \bottomrule"
    yield r"  \end{tabular}"


def _count(block: Block, i: int, name: str) -> str:
    """n or the number of diverged images; n less than the table's largest is marked."""
    if name != "n":
        return str(block.rows[name][i])
    return block.count(i).replace("⚠", r"\textbf{!}")


def _tells(block: Block, name: str) -> bool:
    """Whether a count differs between the methods, or, for diverged, is not 0."""
    values = block.rows[name]
    return bool(values.nunique() > 1 or (name == "diverged" and values.any()))


def _value(row: Mapping[str, Any], column: Column, rank: int) -> str:
    value = printed(float(row[column.name]), column).replace(MISSING, "--").replace("∞", r"$\infty$")
    if value.startswith("-") and value != "--":
        value = f"$-${value[1:]}"
    return {1: f"\\textbf{{{value}}}", 2: f"\\underline{{{value}}}"}.get(rank, value)
