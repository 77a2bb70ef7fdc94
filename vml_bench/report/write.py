"""Writing the report: what is on disk, as pages, data and pictures in one folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from vml_bench.report import provenance, verdict
from vml_bench.report.folder import ReportFolder, safe_name
from vml_bench.report.marks import mark
from vml_bench.report.methods import in_a_line, method_cards
from vml_bench.report.pictures import browse, run_folder
from vml_bench.report.sources import archives, sources
from vml_bench.report.tables import claims, headings, rows
from vml_bench.report.waiting import to_run
from vml_bench.report.words import TERMS
from vml_bench.store import layout
from vml_bench.store.runs import each, select_runs

STATIC = Path(__file__).parent / "static"
PLOTLY = "package_data/plotly.min.js"
"""The plotting library, where its Python package keeps it."""


def write_report(
    results: str | Path,
    dataset: str | None = None,
    out: str | Path | None = None,
    synthetic: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Path, list[str]]:
    """Write the report, or bring it up to date.

    A data set without runs is shown from its archive (`vml_bench.report.sources`). Pictures are hard links to the
    results' own where the file system can, copies elsewhere. index.html comes last, so that what it refers to is there.

    Args:
        results: the results folder.
        dataset: only this one; default: all with runs or an archive, and those with published claims.
        out: the report's folder; default <results>/report.
        synthetic: whether runs whose images or weights are made up are shown, too.
        tell: takes a line about what takes long.

    Returns:
        Path of index.html, and a line for each data set that had to be left out.

    Raises:
        InputError: there is nothing to show, or `out` holds another page.
    """
    results, published = Path(results), read_published()
    out = results / "report" if out is None else out
    frames, failures = {}, []
    packed = archives(results)
    places = sources(results, dataset)
    for name, place in places.items():
        if place != results:
            tell(f"reading {packed[name]}, which takes half a minute or so the first time")
        try:
            frames[name] = leaderboard.build(place, name, synthetic)[0]
        except InputError as error:
            failures.append(error)
    if not frames:
        raise failures[0]
    folder = ReportFolder(out)
    panels = [
        _panel(folder, Source(results, places[name], packed.get(name)), frame, published, synthetic)
        for name, frame in sorted(frames.items(), key=lambda item: item[1].attrs["exact"])
    ]
    if dataset is None:
        waiting = [name for name in published.names(list(frames)) if name not in frames]
        panels += [_waiting(name, compare(published.about(name), None)) for name in waiting]
    for asset in sorted(STATIC.iterdir()):
        folder.file(f"assets/{asset.name}", asset)
    folder.file("assets/plotly.min.js", Path(str(files("plotly").joinpath(PLOTLY))))
    index = folder.text("index.html", _page(panels))
    folder.close()
    return index, [str(error) for error in failures]


@dataclass(frozen=True)
class Source:
    """Where a data set's runs are.

    Attributes:
        results: the results folder that the report is about.
        place: what the runs are read from: the same, or where their archive is unpacked.
        archive: the archive of the data set, if there is one.
    """

    results: Path
    place: Path
    archive: Path | None

    @property
    def note(self) -> dict[str, str]:
        """What a reader must know of the archive: "words", and what to type, "command"; empty where there is none."""
        if self.archive is None:
            return {}
        runs, archive = (shlex.quote(str(path)) for path in (self.results / layout.RUNS, self.archive))
        unpack = f"mkdir -p {runs} && tar xJf {archive} -C {runs}"
        if self.place == self.results:
            return {"words": f"{self.archive} holds further runs. To see them here, too:", "command": unpack}
        words = f"Read from {self.archive}, which holds every run's rows and record but no pictures."
        return {"words": words, "command": ""}


def _head(dataset: str, comparison: pd.DataFrame) -> dict[str, Any]:
    """What the page shows of any data set, run or not: its name, a plain one, and what papers claim."""
    panel = {"dataset": dataset, "key": safe_name(dataset), "claims": claims(comparison)}
    return panel | {"synthetic": False, "warnings": [], "headings": [], "tasks": [], "cards": {}, "methods": []}


def _waiting(dataset: str, comparison: pd.DataFrame) -> dict[str, Any]:
    """What the page shows of a data set on which nothing has been run."""
    return _head(dataset, comparison) | {"to_run": to_run(dataset, comparison)}


def _panel(
    folder: ReportFolder, source: Source, frame: pd.DataFrame, published: Published, synthetic: bool
) -> dict[str, Any]:
    """Write one data set's files into the report.

    Returns:
        What the page shows of it, beside `_head`: what a reader must know about its numbers, the verdict, one table per
        problem, the largest number of images of any run, a card per method, and the leaderboard as a file.
    """
    dataset, cards = frame.attrs["dataset"], frame.attrs["cards"]
    runs = {(run.task, run.method, run.name): run for run in select_runs(source.place, dataset, synthetic)[0]}
    comparison = compare(published.about(dataset), frame)
    found = None if frame.attrs["exact"] else verdict.compared(source.place, dataset, synthetic)
    panel = _head(dataset, comparison)
    data = f"data/{panel['key']}"
    judged = [(block, verdict.judge(block, found)) for block in blocks(frame)]
    for block, own in judged:
        places = block.rows[["task", "method", "run"]].itertuples(index=False, name=None)
        here = list(each(runs[place] for place in places))
        bases = list(map(run_folder, here))
        for run, base in zip(here, bases, strict=True):
            _put(folder, f"{base}provenance.js", "run", base, provenance.bring(folder, run, source.results))
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
                "verdict": verdict.line(block, own, cards),
                "rows": rows(block, cards, bases, comparison, own),
                "data": script if pictures else "",
            }
        )
    folder.text(f"{data}/{layout.LEADERBOARD}", frame.to_csv(index=False))
    return panel | {
        "synthetic": frame.attrs["synthetic"],
        "notes": [note for note in notes(frame) if note != SYNTHETIC],
        "warnings": frame.attrs["warnings"],
        "cards": cards,
        "strip": verdict.strip(judged, found, cards),
        "board": verdict.board(judged, found, cards),
        "unit": found.unit if found else "",
        "methods": method_cards(cards, runs.values()),
        "made": provenance.summary(list(runs.values())),
        "source": source.note,
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
    lines = {card["name"]: in_a_line(card) for panel in panels for card in panel["methods"]}
    marks = {
        name: mark(card) | {"title": card.title, "tip": lines[name]}
        for name, card in sorted(cards.items(), key=lambda item: item[1].place)
    }
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
    return template.render(panels=panels, marks=marks, index=index, about=ABOUT, synthetic=SYNTHETIC, terms=TERMS)
