"""One run in words: how it was made, its scores, and where its pictures lie."""

from __future__ import annotations

import difflib
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vml_bench.analysis.leaderboard.render import printed
from vml_bench.columns import Column, columns_of
from vml_bench.configuration import mapping
from vml_bench.errors import InputError
from vml_bench.identity import flat, in_words
from vml_bench.runner.command import again
from vml_bench.store.layout import CONFIG, DIVERGED, RECORD, RunPlace, run_folders
from vml_bench.store.parts import table
from vml_bench.store.runs import UNREADABLE, Run, open_run, reason
from vml_bench.text import aligned, width

WIDTH = 120
"""Columns of the output, where the terminal is no narrower; a path or a word of the command stays whole."""
INDENT = 15
FEW = 3
"""Images whose paths are listed unless one is asked for."""

Field = tuple[str, str | list[str]]
"""A label, and a text to be wrapped or lines that stay as they are."""


def show(results: Path, which: str, image_id: str | None = None) -> str:
    """One run, as text: aligned, up to `WIDTH` columns wide.

    Args:
        results: the results folder.
        which: a run's folder, its name, or the first digits of that.
        image_id: one of its images, to be shown in place of the run; None: the run and its first images.

    Raises:
        InputError: there is no such run or image, or it cannot be read.
    """
    folder = find_run(results, which)
    try:
        place = RunPlace.of(folder)
        run = open_run(place.folder)
        fields = [("run", [place.label]), *(of_run(run) if image_id is None else of_image(run, image_id))]
    except InputError:  # a ValueError, too
        raise
    except (*UNREADABLE, AttributeError) as error:
        what = f"run {folder} cannot be read ({reason(error, folder)})"
        raise InputError(what, "`vml-bench verify` says what mends it") from error
    return "\n".join(line for field in fields for line in lines(*field))


def room() -> int:
    """Columns beside the labels."""
    return min(width() or WIDTH, WIDTH) - INDENT


def lines(label: str, content: str | list[str]) -> Iterator[str]:
    """A field's lines, its label before the first."""
    if isinstance(content, str):
        content = textwrap.wrap(content, room(), break_long_words=False, break_on_hyphens=False)
    for i, line in enumerate(content or [""]):
        yield f"{label if i == 0 else '':{INDENT}}{line}".rstrip()


def of_run(run: Run) -> Iterator[Field]:
    """The fields of a run."""
    problem, record, prior = run.problem, run.record, run.record.get("prior")
    command = again(record, run.results)
    yield "command", folded(command) if command else f"{RECORD} records none; {CONFIG} says how it was made"
    yield "date", str(record.get("date") or "not on record")
    yield "data set", f"{run.dataset} (images {problem.images})"
    yield "task", f"{run.task}: {in_full(problem.form.get('operator', {}))}"
    yield "noise", f"σ_y = {run.noise_std:g}, seed {problem.form['seed']}"
    yield "problem", problem.name + (f", against {in_full(problem.form['reference'])}" if run.exact else "")
    yield "prior", f"{prior['name']} ({prior['hash']}): {in_full(prior['form'])}" if prior else "none"
    title = f" ({run.card.title})" if run.card.title != run.method else ""
    yield "method", f"{run.method}{title}: {in_full(run.form.get('method', {}))}"
    yield "settings", in_words(run.all_settings) or "as configured"
    yield "computed", computed(record, bool(prior))
    diverged = int((run.images["status"] == DIVERGED).sum())
    yield "images", f"{len(run.images)} of {len(run.asked)} done, {diverged} diverged"
    if run.synthetic:
        yield "synthetic", "images or weights are made up, so these numbers mean nothing"
    yield "scores", aligned(scores(run))
    yield "", []
    yield "rows", [str(table(run.folder))]
    if run.exact:
        yield "pictures", "none: raw restorations are scored against an exact posterior"
        return
    for label, file in zip(("restorations", "ground truth", "measurements"), pictures(run, ""), strict=True):
        yield label, [found(file.parent)]
    for image_id in run.images["image_id"][:FEW]:
        yield "", ["", image_id]
        yield from paths(run, image_id)
    if (more := len(run.images) - FEW) > 0:
        yield "", ["", f"and {more} more images; --image ID shows one"]


def of_image(run: Run, image_id: str) -> Iterator[Field]:
    """The fields of one image: its row and its paths.

    Raises:
        InputError: the run has no such image.
    """
    ids = run.images["image_id"].tolist()
    if image_id not in ids:
        near = difflib.get_close_matches(image_id, ids, 1) or ids[:1]
        raise InputError(
            f"run {run.name} has no image '{image_id}' among its {len(ids)}",
            f"the nearest is '{near[0]}'" if near else "start the run first",
        )
    row, known = run.images.iloc[ids.index(image_id)].to_dict(), columns_of(run.columns)
    yield "row", aligned((name, worded(value, known.get(name))) for name, value in row.items())
    if not run.exact:
        yield from paths(run, image_id)


def paths(run: Run, image_id: str) -> Iterator[Field]:
    """The fields of an image's pictures."""
    for label, file in zip(("restored", "ground truth", "measured"), pictures(run, image_id), strict=True):
        yield f"  {label}", [found(file)]


def pictures(run: Run, image_id: str) -> tuple[Path, Path, Path]:
    """Files of the restoration, the ground truth and the measurement of an image."""
    return run.picture(image_id), run.original(image_id), run.measurement(image_id)


def found(path: Path) -> str:
    """A path, and a note where nothing is there."""
    return f"{path}{'' if path.exists() else '  (not there)'}"


def scores(run: Run) -> Iterator[tuple[str, str, str]]:
    """Name, value and kind of each measured column, over the images or scenes that did not diverge."""
    for column in columns_of(run.columns).values():
        frame = run.scenes if column.scenes else run.good
        if frame is not None and column.name in frame:
            value = getattr(frame[column.name], column.statistic)()
            kind = f"{column.statistic} over {'scenes' if column.scenes else 'images'}"
            yield column.name, worded(float(value), column), kind


def worded(value: Any, column: Column | None = None) -> str:
    """A value as printed, with its unit."""
    if column is not None and isinstance(value, (int, float)):
        return f"{printed(float(value), column)} {column.unit}".strip()
    return f"{value:g}" if isinstance(value, float) else str(value)


def computed(record: Mapping[str, Any], network: bool) -> str:
    """How a run was computed, and on what."""
    compute, environment = mapping(record, "compute"), mapping(record, "environment")
    words = [str(compute.get("dtype")), *(key for key, value in compute.items() if value is True)] if network else []
    words += [f"on {environment.get('device')} ({environment.get('device_type')})"]
    words += [f"torch {mapping(environment, 'packages').get('torch')}", f"git {environment.get('git')}"]
    return ", ".join([*words, f"{float(record.get('wall_seconds', 0)):.1f} s in all"])


def in_full(form: Mapping[str, Any]) -> str:
    """A form in words: "DDRM eta=0.85, …"; hashes of weights are cut to their first digits."""
    return ", ".join(
        f"{name} {in_words(flat(value))}".strip() if isinstance(value, Mapping) else f"{name} {str(value)[:10]}"
        for name, value in form.items()
    )


def folded(command: str) -> list[str]:
    """A command for a shell, over several lines where it is long."""
    line, *words = map(shlex.quote, shlex.split(command))
    full = []
    for word in words:
        if len(line) + len(word) > room() - 3:
            full.append(f"{line} \\")
            line = " "
        line += f" {word}"
    return [*full, line]


def find_run(results_dir: str | Path, which: str) -> Path:
    """The folder of a run by its folder, its name, or the first digits of its name.

    Raises:
        InputError: there is none, or several.
    """
    if Path(which, RECORD).is_file():
        return Path(which)
    found = [path for path in run_folders(results_dir) if path.name.startswith(which)] if which else []
    if not found:
        what = f"no run '{which}' under {results_dir}"
        raise InputError(what, "give a run's folder or its name; `vml-bench leaderboard` lists them")
    if len(found) > 1:
        some = ", ".join("/".join(path.parts[-4:]) for path in found[:5])
        raise InputError(f"'{which}' means {len(found)} runs ({some} …)", "give more digits, or the folder")
    return found[0]
