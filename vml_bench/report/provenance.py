"""Where a number comes from: what a run's own files say about it, in a few lines and in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vml_bench.identity import flat, in_words
from vml_bench.report.folder import ReportFolder
from vml_bench.report.pictures import run_folder
from vml_bench.runner.command import again
from vml_bench.store import layout
from vml_bench.store.runs import Run

FILES = (layout.RECORD, layout.CONFIG)


def bring(folder: ReportFolder, run: Run) -> dict[str, Any]:
    """Copy a run's record and configuration into the report, with its table of images as csv.

    Returns:
        "command", which runs it again, or None; "facts", pairs of words; "files", the names of what was
        copied; "texts", each file's text under its name; and "open", which of them is shown at once.
    """
    base = run_folder(run)
    texts = {name: (run.folder / name).read_text(encoding="utf-8") for name in FILES}
    for name, text in texts.items():
        folder.text(base + name, text)
    folder.text(base + "images.csv", run.images.to_csv(index=False))
    return {
        "label": run.label,
        "command": _command(run),
        "facts": list(_facts(run, run.record)),
        "files": [*FILES, "images.csv"],
        "texts": texts,
        "open": layout.CONFIG,
    }


def _command(run: Run) -> str | None:
    """The command that runs it again; None where the record has none."""
    try:
        return again(run.record, run.results)
    except (KeyError, TypeError):  # a record that was handed around may say anything
        return None


def _facts(run: Run, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader asks first; what the record lacks is left out."""
    environment, weights = _mapping(record, "environment"), _mapping(record, "weights")
    compute, packages = _mapping(record, "compute"), _mapping(environment, "packages")
    yield "run", f"{run.dataset} / {run.task} / {run.method} / {run.name}"
    if isinstance(date := record.get("date"), str):
        yield "date", date
    yield "problem", f"{run.problem.name} ({in_words(flat(run.problem.form))})"
    yield "prior", run.prior or "none: the method uses no prior"
    yield "settings", in_words(run.all_settings) or "as configured"
    done = len(run.images)
    yield "images", f"{done} of {len(run.expected)}" if done < len(run.expected) else str(done)
    if run.synthetic:
        yield "synthetic", "the weights or the images are made up: the numbers mean nothing"
    if "git" in environment:
        yield "revision", str(environment["git"])
    if weights:
        yield "weights", " ".join(f"{key} {value}" for key, value in weights.items())
    if "device" in environment:
        yield "device", f"{environment['device']} ({environment.get('device_type', 'unknown')})"
    if "dtype" in compute:
        yield "precision", str(compute["dtype"])
    if isinstance(seconds := record.get("wall_seconds"), (int, float)):
        yield "wall time", f"{seconds:.1f} s"
    if packages:
        yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
