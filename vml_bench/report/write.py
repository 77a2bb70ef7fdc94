"""Writing the report: what is on disk, as pages, data and pictures in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from vml_bench.analysis import leaderboard
from vml_bench.analysis.leaderboard.render import SYNTHETIC, blocks, notes
from vml_bench.analysis.published import Published, compare, read_published
from vml_bench.analysis.published.render import ABOUT
from vml_bench.errors import InputError
from vml_bench.report import provenance
from vml_bench.report.folder import ReportFolder, safe_name
from vml_bench.report.marks import mark
from vml_bench.report.pictures import browse, run_folder
from vml_bench.report.tables import claims, headings, rows
from vml_bench.store import layout
from vml_bench.store.runs import datasets, each, select_runs

STATIC = Path(__file__).parent / "static"
PLOTLY = "package_data/plotly.min.js"
"""The plotting library, where its Python package keeps it."""


def write_report(
    results: str | Path, dataset: str | None = None, out: str | Path | None = None, synthetic: bool = False
) -> tuple[Path, list[str]]:
    """Write the report, or bring it up to date.

    Pictures are hard links to the results' own where the file system can, copies elsewhere. index.html comes last,
    so that what it refers to is there.

    Args:
        results: the results folder.
        dataset: only this one; default: all with runs, and those with published claims.
        out: the report's folder; default <results>/report.
        synthetic: whether runs whose images or weights are made up are shown, too.

    Returns:
        Path of index.html, and a line for each data set that had to be left out.

    Raises:
        InputError: there is nothing to show, or `out` holds another page.
    """
    results, published = Path(results), read_published()
    out = results / "report" if out is None else out
    frames, failures = {}, []
    for name in datasets(results, dataset):
        try:
            frames[name] = leaderboard.build(results, name, synthetic)[0]
        except InputError as error:
            failures.append(error)
    if not frames:
        raise failures[0]
    folder = ReportFolder(out)
    panels = [_panel(folder, results, frame, published, synthetic) for frame in frames.values()]
    if dataset is None:
        waiting = [name for name in published.names(list(frames)) if name not in frames]
        panels += [_head(name, compare(published.about(name), None)) for name in waiting]
    for asset in sorted(STATIC.iterdir()):
        folder.file(f"assets/{asset.name}", asset)
    folder.file("assets/plotly.min.js", Path(str(files("plotly").joinpath(PLOTLY))))
    index = folder.text("index.html", _page(panels))
    folder.close()
    return index, [str(error) for error in failures]


def _head(dataset: str, comparison: pd.DataFrame) -> dict[str, Any]:
    """What the page shows of any data set, run or not: its name, a plain one, and what papers claim."""
    panel = {"dataset": dataset, "key": safe_name(dataset), "claims": claims(comparison)}
    return panel | {"synthetic": False, "warnings": [], "headings": [], "tasks": [], "cards": {}}


def _panel(
    folder: ReportFolder, results: Path, frame: pd.DataFrame, published: Published, synthetic: bool
) -> dict[str, Any]:
    """Write one data set's files into the report.

    Returns:
        What the page shows of it, beside `_head`: what a reader must know about its numbers, one table per problem,
        the largest number of images of any run, and the leaderboard as a file.
    """
    dataset, cards = frame.attrs["dataset"], frame.attrs["cards"]
    runs = {(run.task, run.method, run.name): run for run in select_runs(results, dataset, synthetic)[0]}
    comparison = compare(published.about(dataset), frame)
    panel = _head(dataset, comparison)
    data = f"data/{panel['key']}"
    for block in blocks(frame):
        places = block.rows[["task", "method", "run"]].itertuples(index=False, name=None)
        here = list(each(runs[place] for place in places))
        bases = list(map(run_folder, here))
        for run, base in zip(here, bases, strict=True):
            _put(folder, f"{base}provenance.js", "run", base, provenance.bring(folder, run))
        key = safe_name(f"{block.task}-{block.noise_std}" + (f"-{block.problem}" if block.difference else ""))
        script = f"{data}/{key}.js"
        if pictures := browse(folder, here, block.labels):
            _put(folder, script, "cell", script, pictures)
        panel["headings"] = panel["headings"] or headings(block.columns, frame)
        panel["tasks"].append(
            {
                "key": key,
                "title": block.title,
                "noise": f"{block.noise_std:g}",
                "notes": block.notes,
                "rows": rows(block, cards, bases, comparison),
                "data": script if pictures else "",
            }
        )
    folder.text(f"{data}/{layout.LEADERBOARD}", frame.to_csv(index=False))
    return panel | {
        "synthetic": frame.attrs["synthetic"],
        "notes": [note for note in notes(frame) if note != SYNTHETIC],
        "warnings": frame.attrs["warnings"],
        "cards": cards,
        "images": int(frame["n"].max()),
        "csv": f"{data}/{layout.LEADERBOARD}",
    }


def _put(folder: ReportFolder, name: str, *arguments: object) -> None:
    """Write data as a script that passes it to the page: a page opened from disk may not fetch files.

    Args:
        folder: the report.
        name: the script's.
        arguments: what kind of data it is, its key, and the data, ready for JSON.
    """
    passed = ", ".join(str(htmlsafe_json_dumps(part, allow_nan=False)) for part in arguments)
    folder.text(name, f"vml.put({passed});\n")


def _page(panels: Sequence[dict[str, Any]]) -> str:
    """The page itself."""
    environment = Environment(
        loader=PackageLoader("vml_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = {name: card for panel in panels for name, card in panel["cards"].items()}
    marks = {name: mark(card) for name, card in sorted(cards.items(), key=lambda item: item[1].place)}
    index = {
        "methods": {name: {"place": place, **one} for place, (name, one) in enumerate(marks.items())},
        "panels": {
            panel["key"]: {
                "columns": panel["headings"],
                "tasks": [{key: task[key] for key in ("key", "title", "noise", "data")} for task in panel["tasks"]],
            }
            for panel in panels
        },
    }
    template = environment.get_template("index.html.j2")
    return template.render(panels=panels, marks=marks, index=index, about=ABOUT, synthetic=SYNTHETIC)
