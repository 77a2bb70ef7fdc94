"""Writing the report: what is on disk, as pages, data and pictures in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from vml_bench.analysis import leaderboard
from vml_bench.analysis.leaderboard.render import SYNTHETIC, Block, blocks, notes
from vml_bench.analysis.published import Published, compare, read_published
from vml_bench.analysis.published.render import ABOUT
from vml_bench.cards import Card
from vml_bench.errors import InputError
from vml_bench.report import provenance
from vml_bench.report.folder import ReportFolder, safe_name
from vml_bench.report.marks import mark
from vml_bench.report.pictures import browse, run_folder
from vml_bench.report.tables import ClaimView, Heading, Task, about, claims, headings, rows
from vml_bench.store import layout
from vml_bench.store.runs import Run, datasets, each, select_runs

STATIC = Path(__file__).parent / "static"
PLOTLY = "package_data/plotly.min.js"
"""The plotting library, where its Python package keeps it."""


@dataclass(frozen=True)
class Panel:
    """What the page shows of one data set.

    Attributes:
        dataset, key: its name, and a plain one.
        synthetic: whether some numbers mean nothing.
        notes: what a reader must know about the numbers.
        warnings: what is missing from them.
        headings: the leaderboard's columns.
        tasks: its problems, one table each; empty where nothing was run.
        cards: the methods' cards, by name.
        images: the largest number of images of any run.
        claims: what papers claim.
        csv: the leaderboard as a file; empty where nothing was run.
    """

    dataset: str
    key: str
    synthetic: bool
    notes: list[str]
    warnings: list[str]
    headings: list[Heading]
    tasks: list[Task]
    cards: dict[str, Card]
    images: int
    claims: list[ClaimView]
    csv: str = ""


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
        panels += [_unrun(name, published) for name in waiting]
    for asset in sorted(STATIC.iterdir()):
        folder.file(f"assets/{asset.name}", asset)
    folder.file("assets/plotly.min.js", Path(str(files("plotly").joinpath(PLOTLY))))
    index = folder.text("index.html", _page(panels))
    folder.close()
    return index, [str(error) for error in failures]


def _panel(folder: ReportFolder, results: Path, frame: pd.DataFrame, published: Published, synthetic: bool) -> Panel:
    """Write one data set's files into the report; returns what the page shows of it."""
    dataset = frame.attrs["dataset"]
    key = safe_name(dataset)
    runs = {_place(run): run for run in select_runs(results, dataset, synthetic)[0]}
    comparison, cards = compare(published.about(dataset), frame), frame.attrs["cards"]
    tasks, columns = [], []
    for block in blocks(frame):
        columns = block.columns
        places = block.rows[["task", "method", "run"]].itertuples(index=False, name=None)
        here = list(each(runs[place] for place in places))
        for run in here:
            script("run", run_folder(run), provenance.bring(folder, run), folder, f"{run_folder(run)}provenance.js")
        bases = {f"{run.method}/{run.name}": run_folder(run) for run in here}
        name = _key(block)
        data = _browser(folder, here, block.labels, f"data/{key}/{name}.js")
        shown = rows(block, cards, bases, comparison)
        tasks.append(Task(name, block.title, f"{block.noise_std:g}", block.notes, shown, data))
    csv = f"data/{key}/{layout.LEADERBOARD}"
    folder.text(csv, frame.to_csv(index=False))
    return Panel(
        dataset=dataset,
        key=key,
        synthetic=frame.attrs["synthetic"],
        notes=[note for note in notes(frame) if note != SYNTHETIC],
        warnings=frame.attrs["warnings"],
        headings=headings(columns, frame),
        tasks=tasks,
        cards=cards,
        images=int(frame["n"].max()),
        claims=list(claims(comparison)),
        csv=csv,
    )


def _place(run: Run) -> tuple[str, str, str]:
    """What tells a run from others of its data set; one that began after the leaderboard was built is in none."""
    return run.task, run.method, run.name


def _key(block: Block) -> str:
    """A plain name for a problem: with its own name where its task and noise level have several."""
    return safe_name(f"{block.task}-{block.noise_std}" + (f"-{block.problem}" if block.difference else ""))


def _browser(folder: ReportFolder, runs: Sequence[Run], labels: Sequence[str], name: str) -> str:
    """Write the data of one problem's image browser; returns its file, or nothing where there are no pictures."""
    content = browse(folder, runs, labels)
    if content is None:
        return ""
    script("cell", name, content, folder, name)
    return name


def script(kind: str, key: str, content: dict[str, Any], folder: ReportFolder, name: str) -> None:
    """Write data as a script that passes it to the page: a page opened from disk may not fetch files."""
    arguments = ", ".join(str(htmlsafe_json_dumps(part, allow_nan=False)) for part in (kind, key, content))
    folder.text(name, f"vml.put({arguments});\n")


def _unrun(dataset: str, published: Published) -> Panel:
    """A data set with published claims and no runs."""
    views = list(claims(compare(published.about(dataset), None)))
    return Panel(dataset, safe_name(dataset), False, [], [], [], [], {}, 0, views)


def _page(panels: Sequence[Panel]) -> str:
    """The page itself."""
    environment = Environment(
        loader=PackageLoader("vml_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = {name: card for panel in panels for name, card in panel.cards.items()}
    marks = {name: mark(card) for name, card in sorted(cards.items(), key=lambda item: item[1].place)}
    index = {
        "methods": {name: {"place": place, **asdict(one)} for place, (name, one) in enumerate(marks.items())},
        "panels": {
            panel.key: {
                "columns": [_column(heading) for heading in panel.headings],
                "tasks": [{"key": t.key, "title": t.title, "noise": t.noise, "data": t.data} for t in panel.tasks],
            }
            for panel in panels
        },
    }
    template = environment.get_template("index.html.j2")
    return template.render(panels=panels, marks=marks, index=index, about=ABOUT, synthetic=SYNTHETIC)


def _column(heading: Heading) -> dict[str, Any]:
    return about(heading.column) | {"arrow": heading.arrow, "label": heading.label}
