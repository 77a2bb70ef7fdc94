"""Two runs of `python -m benchmarks.performance` on one machine, before and after a change: every ratio of both.

python -m benchmarks.performance --out results/performance/before       # in the earlier revision
python -m benchmarks.performance                                        # in the later one
python -m benchmarks.performance.before_after results/performance/before results/performance
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.performance.paired import Interval
from benchmarks.performance.record import Table, markdown, write_readme
from vml_bench.errors import InputError
from vml_bench.files import replacing

Cell = tuple[str, str, str, str]
"""Part, table, row, column."""


def measured(folder: Path) -> dict[Cell, Interval]:
    """Every number that the parts in a folder measured.

    Raises:
        InputError: there is none.
    """
    found = {}
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text())
        found |= dict(_numbers(content))
    if not found:
        raise InputError(f"{folder} holds no measurement", f"python -m benchmarks.performance --out {folder}")
    return found


def _numbers(content: dict[str, Any]) -> Iterator[tuple[Cell, Interval]]:
    for table in content.get("tables", ()):
        for row in table["rows"]:
            key = ", ".join(str(row.get(name)) for name in table["keys"])
            for column in [name for name in row if name not in table["keys"]]:
                value = row[column]
                if isinstance(value, float):
                    value = {"median": value, "low": None, "high": None}
                if isinstance(value, dict):
                    numbers = {name: math.nan if bound is None else bound for name, bound in value.items()}
                    yield (content["name"], table["title"], key, column), Interval(**numbers)


def compared(before: Path, after: Path) -> list[Table]:
    """One table for each part that both folders measured, before beside after."""
    earlier, later = measured(before), measured(after)
    rows: dict[str, list[dict[str, Any]]] = {}
    for cell, then in earlier.items():
        if cell in later:
            part, table, row, column = cell
            now = later[cell]
            change = {"before": then, "after": now, "after / before": now.median / then.median if then.median else None}
            rows.setdefault(part, []).append({"table": table, "row": row, "measured": column, **change})
    return [Table(part, ["table", "row", "measured"], cells) for part, cells in rows.items()]


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: two folders; writes before_after.md into the second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args(argv)
    revisions = []
    for folder in (arguments.before, arguments.after):
        environments = [json.loads(file.read_text())["environment"] for file in sorted(folder.glob("*.json"))]
        said = {f"{e['git'][:12]} on {e.get('cpu') or e['processor']}, {e['threads']} threads" for e in environments}
        revisions.append("; ".join(sorted(said)))
    lines = ["# Before and after", "", f"Before: {revisions[0]}. After: {revisions[1]}.", ""]
    for table in compared(arguments.before, arguments.after):
        lines += [f"## {table.title}", "", markdown(table), ""]
    with replacing(arguments.after / "before_after.md") as partial:
        partial.write_text("\n".join(lines))
    write_readme(arguments.after)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
