"""What a benchmark leaves behind: <out>/<name>.json and .md, and a README that shows all of them."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.performance.paired import Interval
from vml_bench.files import replacing
from vml_bench.runner.device import choose_device
from vml_bench.runner.provenance import environment, installed
from vml_bench.text import markdown as markdown_table

RESULTS = Path("results/performance")
INTRO = """# Performance

Written by `make bench`, `bench-cpu` and `bench-gpu`; one part: `python -m benchmarks.performance.<part>`.
Works that are compared run in turn in one process, A B, B A, A B …; a ratio is the median over the rounds of the
paired ratios, in brackets its 95 % bootstrap interval. No test asserts a time.
"""


@dataclass(frozen=True)
class Table:
    """One table of a benchmark.

    Attributes:
        title: its heading.
        keys: the columns that say what a row is about.
        rows: cells by column: text, numbers, or `Interval`s.
    """

    title: str
    keys: Sequence[str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Benchmark:
    """One part's results.

    Attributes:
        name: of its files.
        title: its heading.
        tables: what was measured.
        settings: how.
        notes: what a reader has to know, a paragraph each.
    """

    name: str
    title: str
    tables: Sequence[Table]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def options(description: str) -> argparse.ArgumentParser:
    """The options that every part has."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results; default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N; default: %(default)s")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's own")
    parser.add_argument("--quick", action="store_true", help="a minute at most, to see that it works; not to report")
    return parser


def begin(arguments: argparse.Namespace) -> torch.device:
    """Set the number of threads; returns the device."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return choose_device(arguments.device)


def write(benchmark: Benchmark, device: torch.device, arguments: argparse.Namespace) -> None:
    """Write a part's json and md, bring the README up to date, and print the md."""
    hardware = environment(device) | {"cpu": cpu_name(), "memory_gb": memory_gb(), "quick": arguments.quick}
    hardware["packages"]["deepinv"] = installed("deepinv")
    content = {**_plain(benchmark), "environment": hardware}
    text = "\n".join([f"# {benchmark.title}", "", *_body(benchmark), _footer(benchmark, hardware), ""])
    for suffix, body in ((".json", json.dumps(content, indent=1) + "\n"), (".md", text)):
        with replacing(arguments.out / f"{benchmark.name}{suffix}") as partial:
            partial.write_text(body)
    write_readme(arguments.out)
    print(text)


def write_readme(folder: Path) -> None:
    """Join the parts' md files under one heading, in the order of their names."""
    parts = [path.read_text() for path in sorted(folder.glob("*.md")) if path.name != "README.md"]
    with replacing(folder / "README.md") as partial:
        partial.write_text(
            "\n".join([INTRO, *(part.replace("\n## ", "\n### ").replace("# ", "## ", 1) for part in parts)])
        )


def markdown(table: Table) -> str:
    """A table as Markdown: its keys first, numbers to three digits, an interval behind its median."""
    columns = list(dict.fromkeys([*table.keys, *(name for row in table.rows for name in row)]))
    cells = [[_cell(row.get(name)) for name in columns] for row in table.rows]
    return "\n".join(markdown_table(columns, cells, left=[i for i, name in enumerate(columns) if name in table.keys]))


def cpu_name() -> str:
    """The CPU's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def memory_gb() -> float:
    """Main memory, 10⁹ bytes."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _body(benchmark: Benchmark) -> list[str]:
    lines = [part for note in benchmark.notes for part in (note, "")]
    for table in benchmark.tables:
        lines += [f"## {table.title}", "", markdown(table), ""]
    return lines


def _footer(benchmark: Benchmark, hardware: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in hardware["packages"].items() if version)
    settings = ", ".join(f"{name} {value}" for name, value in benchmark.settings.items())
    device = f"{hardware['device']}, " if hardware["device_type"] != "cpu" else ""
    quick = " **A quick run: not to be reported.**" if hardware["quick"] else ""
    return (
        f"{device}{hardware['cpu']}, {hardware['cpu_count']} cores, {hardware['threads']} threads, "
        f"{hardware['memory_gb']} GB; Python {hardware['python']}, {versions}; revision {hardware['git']}; "
        f"{settings or 'no settings'}.{quick}"
    )


def _cell(value: Any) -> str:
    if isinstance(value, Interval):
        bounds = "" if math.isnan(value.low) else f" ({_number(value.low)} … {_number(value.high)})"
        return _number(value.median) + bounds
    if isinstance(value, float):
        return _number(value)
    return "" if value is None else str(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, what is not a number as null."""
    if is_dataclass(value):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
