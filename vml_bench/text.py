"""Text for terminals and Markdown: names made inert, numbers as printed, tables, and the files they go into."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from vml_bench.files import replacing

MISSING = "–"
MARKDOWN_SPECIALS = re.compile(r"([\\`*_\[\]#|~$])")


def escape_markdown(text: str) -> str:
    """Any name as inert Markdown on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKDOWN_SPECIALS.sub(r"\\\1", text)


def escape_terminal(text: str) -> str:
    """Any name without control characters, which could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def number(value: float, digits: int, significant: int = 0) -> str:
    """A value as printed, or a dash.

    Args:
        value: any number.
        digits: digits after the point, at most.
        significant: significant digits; 0: as many as `digits` allows.
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if significant and abs(value) >= 1e6:
        return f"{value:.1e}".replace("e+", "e").replace("e0", "e")
    if significant and value:
        digits = min(max(significant - 1 - math.floor(math.log10(abs(value))), 0), digits)
    return f"{value:.{digits}f}"


def bounds(low: float, high: float, digits: int, significant: int = 0) -> str:
    """An interval as printed, "[27.30, 28.90]"; empty where a bound is missing."""
    ends = [number(end, digits, significant) for end in (low, high)]
    return "" if MISSING in ends else f"[{', '.join(ends)}]"


def aligned(rows: Iterable[Sequence[str]], left: Collection[int] | None = None, rule: bool = False) -> list[str]:
    """Rows as lines for a terminal, columns two spaces apart, control characters taken out.

    Args:
        rows: at least one, headings included.
        left: the columns to set flush left, the others flush right; None: all.
        rule: whether a line is drawn under the first row.
    """
    cells = [[escape_terminal(cell) for cell in row] for row in rows]
    lines = tabulate(cells, tablefmt="plain", colalign=_sides(len(cells[0]), left), disable_numparse=True).split("\n")
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]] if rule else lines


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] | None = None) -> list[str]:
    """The lines of a Markdown table, cells not padded to one width, so that a changed value changes one line.

    Args:
        headings: one per column.
        rows: at least one; cells are Markdown already.
        left: the columns to set flush left, the others flush right; None: all.
    """
    sides = _sides(len(headings), left)
    lines = tabulate(list(rows), headings, tablefmt="pipe", colalign=sides, disable_numparse=True).split("\n")
    head, rule, *body = (re.sub(" {2,}", " ", line) for line in lines)
    return [head, re.sub("-{3,}", "---", rule), *body]


def _sides(columns: int, left: Collection[int] | None) -> list[str]:
    return ["left" if left is None or i in left else "right" for i in range(columns)]


def write_files(folder: str | Path, contents: Mapping[str, str]) -> list[Path]:
    """Write texts by file name into a folder, made if absent, each whole or not at all; returns their paths."""
    for name, content in contents.items():
        with replacing(Path(folder, name)) as partial:
            partial.write_text(content, encoding="utf-8")
    return [Path(folder, name) for name in contents]
