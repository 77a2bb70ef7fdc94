"""Text for terminals and Markdown: names made inert, numbers as printed, tables, and the files they go into."""

from __future__ import annotations

import codecs
import math
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from vml_bench.files import replacing

MISSING = "–"
NARROWEST = 40
"""Columns of the narrowest terminal that output is fitted to."""
SIGNS = {"×": "x", "·": "-", "−": "-", "–": "-", "—": "-", "─": "-", "…": "...", "∞": "inf", "≥": ">=", "≤": "<="}
SIGNS |= {"≈": "~", "→": "->", "↑": "^", "↓": "v", "√": "sqrt", "†": "+", "“": '"', "”": '"', "‘": "'", "’": "'"}
"""What stands for a sign that the terminal's encoding has not; Greek letters are named."""
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


def width() -> int | None:
    """Columns of the terminal, `NARROWEST` or more; None where the output goes elsewhere and COLUMNS does not say."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return max(int(columns), NARROWEST)
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns, NARROWEST)
    except (OSError, ValueError, AttributeError):  # no terminal; closed; replaced by what has no descriptor
        return None


def say(text: str, file: TextIO | None = None) -> None:
    """Print text whose lines are folded between words where the terminal is narrower."""
    print("\n".join(map(folded, text.split("\n"))), file=file)


def folded(line: str) -> str:
    """A line as lines that the terminal is wide enough for, indented as it is and two more; words stay whole."""
    columns = width()
    if columns is None or len(line) <= columns:
        return line
    indent = line[: len(line) - len(line.lstrip())] + "  "
    return _folded(line, columns, indent)


def shortened(line: str) -> str:
    """A line cut to the terminal's width, with a sign where it goes on."""
    columns = width()
    return line if columns is None or len(line) <= columns else f"{line[: columns - 1].rstrip()}…"


def aligned(
    rows: Iterable[Sequence[str]],
    left: Collection[int] | None = None,
    rule: bool = False,
    keys: int = 1,
    indent: int = 0,
) -> list[str]:
    """Rows as lines for a terminal, columns two spaces apart, control characters taken out.

    Where the terminal is too narrow for them, columns go below each other in groups, the first `keys` columns before
    each and folded where they take more than half of it; a column that is too wide even so is folded.

    Args:
        rows: at least one, headings included.
        left: the columns to set flush left, the others flush right; None: all.
        rule: whether a line is drawn under the first row.
        keys: number of columns that say what a row is about.
        indent: spaces before each line.
    """
    cells = [[escape_terminal(cell) for cell in row] for row in rows]
    from tabulate import tabulate  # what prints no table does without

    sides = _sides(len(cells[0]), left)
    columns = width() and width() - indent
    cells = _narrowed(cells, keys, columns) if columns else cells
    widths = _widths(cells)
    lines: list[str] = []
    for group in _groups(widths, keys, columns):
        part = [[row[i] for i in group] for row in cells]
        room = (columns or 0) - sum(widths[i] + 2 for i in group[:-1])
        if columns and widths[group[-1]] > max(room, NARROWEST // 2):
            part = [[*row[:-1], _folded(row[-1], max(room, NARROWEST // 2))] for row in part]
        table = tabulate(part, tablefmt="plain", colalign=[sides[i] for i in group], disable_numparse=True).split("\n")
        ruled = [table[0], "─" * max(map(len, table)), *table[1:]] if rule else table
        lines += [*([""] if lines else []), *ruled]
    return [f"{' ' * indent}{line}".rstrip() for line in lines]


def _folded(text: str, columns: int, indent: str = "") -> str:
    """Text on lines of a length, between words alone, for a path or a command may be copied."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.wrap(text, columns, subsequent_indent=indent, **options))


def _narrowed(cells: list[list[str]], keys: int, columns: int) -> list[list[str]]:
    """Rows that, where they do not fit, leave half of the columns to what stands behind the keys: the widest key is
    folded."""
    widths = _widths(cells)
    over = sum(widths[:keys]) + 2 * keys - columns // 2
    if over <= 0 or sum(widths) + 2 * len(widths) - 2 <= columns:
        return cells
    widest = max(range(min(keys, len(widths))), key=widths.__getitem__)
    room = max(widths[widest] - over, NARROWEST // 2)
    return [[_folded(cell, room) if i == widest else cell for i, cell in enumerate(row)] for row in cells]


def _widths(cells: list[list[str]]) -> list[int]:
    """Of the columns of rows whose cells may be folded."""
    return [max(len(line) for cell in column for line in cell.split("\n")) for column in zip(*cells, strict=True)]


def _groups(widths: Sequence[int], keys: int, columns: int | None) -> list[list[int]]:
    """Columns of a table that fit side by side, each group with the `keys` first ones."""
    groups = [list(range(min(keys, len(widths))))]
    for i in range(keys, len(widths)):
        beside = sum(widths[j] + 2 for j in groups[-1])
        if columns is not None and len(groups[-1]) > keys and beside + widths[i] > columns:
            groups.append(list(range(keys)))
        groups[-1].append(i)
    return groups


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] | None = None) -> list[str]:
    """The lines of a Markdown table, cells not padded to one width, so that a changed value changes one line.

    Args:
        headings: one per column.
        rows: at least one; cells are Markdown already.
        left: the columns to set flush left, the others flush right; None: all.
    """
    from tabulate import tabulate

    sides = _sides(len(headings), left)
    lines = tabulate(list(rows), headings, tablefmt="pipe", colalign=sides, disable_numparse=True).split("\n")
    head, rule, *body = (re.sub(" {2,}", " ", line) for line in lines)
    return [head, re.sub("-{3,}", "---", rule), *body]


def _sides(columns: int, left: Collection[int] | None) -> list[str]:
    return ["left" if left is None or i in left else "right" for i in range(columns)]


def degrade(error: UnicodeError) -> tuple[str, int]:
    """Spell out signs that an encoding has not: an error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelt, error.object[error.start : error.end])), error.end


def _spelt(sign: str) -> str:
    name = unicodedata.name(sign, "")
    if name.startswith("GREEK") and len(words := name.split()) == 4:
        return words[-1].lower() if words[1] == "SMALL" else words[-1].capitalize()
    return SIGNS.get(sign) or unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() or "?"


def never_fail(*streams: TextIO) -> None:
    """Let streams spell out what their encoding has not, whatever it is."""
    codecs.register_error("spelt", degrade)
    for stream in streams:
        if hasattr(stream, "reconfigure"):  # not of a notebook or a test
            stream.reconfigure(errors="spelt")


def write_files(folder: str | Path, contents: Mapping[str, str]) -> list[Path]:
    """Write texts by file name into a folder, made if absent, each whole or not at all; returns their paths."""
    for name, content in contents.items():
        with replacing(Path(folder, name)) as partial:
            partial.write_text(content, encoding="utf-8")
    return [Path(folder, name) for name in contents]
