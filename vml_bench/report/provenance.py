"""Where a number comes from: what a run's own files say about it, in a few lines and in full."""

from __future__ import annotations

from typing import Any

from vml_bench.configuration import mapping
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
    for name, text in {**texts, "images.csv": run.images.to_csv(index=False)}.items():
        folder.text(base + name, text)
    try:
        command = again(run.record, run.results)
    except (KeyError, TypeError):  # a record that was handed around may say anything
        command = None
    return {
        "label": run.label,
        "command": command,
        "facts": [(name, str(said)) for name, said in _facts(run).items() if said],
        "files": [*FILES, "images.csv"],
        "texts": texts,
        "open": layout.CONFIG,
    }


def _facts(run: Run) -> dict[str, Any]:
    """What a reader asks first; empty or None where the record lacks it."""
    environment, seconds = mapping(run.record, "environment"), run.record.get("wall_seconds")
    device, done, asked = environment.get("device"), len(run.images), len(run.asked)
    packages = mapping(environment, "packages").items()
    return {
        "run": f"{run.dataset} / {run.task} / {run.method} / {run.name}",
        "date": run.record.get("date"),
        "problem": f"{run.problem.name} ({in_words(flat(run.problem.form))})",
        "prior": run.prior or "none: the method uses no prior",
        "settings": in_words(run.all_settings) or "as configured",
        "images": f"{done} of {asked}" if done < asked else done,
        "synthetic": run.synthetic and "the weights or the images are made up: the numbers mean nothing",
        "revision": environment.get("git"),
        "weights": " ".join(f"{key} {value}" for key, value in mapping(run.record, "weights").items()),
        "device": device and f"{device} ({environment.get('device_type', 'unknown')})",
        "precision": mapping(run.record, "compute").get("dtype"),
        "wall time": f"{seconds:.1f} s" if isinstance(seconds, (int, float)) else None,
        "packages": ", ".join(f"{name} {version}" for name, version in packages if version),
    }
