"""Where a number comes from: what a run's own files say about it, in a few lines and in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vml_bench.configuration import mapping
from vml_bench.identity import flat, in_words
from vml_bench.report.folder import ReportFolder
from vml_bench.report.pictures import run_folder
from vml_bench.runner.command import again
from vml_bench.store import layout
from vml_bench.store.runs import Run, each

FILES = (layout.RECORD, layout.CONFIG)


def bring(folder: ReportFolder, run: Run, results: Path) -> dict[str, Any]:
    """Copy a run's record and configuration into the report, with its table of images as csv.

    Args:
        folder: the report.
        run: the run.
        results: the results folder that its command names; not where an archive was unpacked.

    Returns:
        "command", which runs it again, or None; "facts", pairs of words; "files", the names of what was
        copied; "texts", each file's text under its name; and "open", which of them is shown at once.
    """
    base = run_folder(run)
    texts = {name: (run.folder / name).read_text(encoding="utf-8") for name in FILES}
    for name, text in {**texts, "images.csv": run.images.to_csv(index=False)}.items():
        folder.text(base + name, text)
    try:
        command = again(run.record, results)
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


def summary(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """When, by which code and on what the runs of a data set were made, as pairs of words; what is known of it."""
    records = [run.record for run in each(runs)]
    environments = [mapping(record, "environment") for record in records]
    dates = sorted(str(record["date"])[:10] for record in records if record.get("date"))
    told = {
        "made": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "dates not recorded",
        "revision": _listed(str(one.get("git", ""))[:10] for one in environments),
        "device": _listed(_device(one) for one in environments),
        "precision": _listed(str(mapping(record, "compute").get("dtype") or "") for record in records),
        "prior": _listed(run.prior for run in runs),
    }
    return [(name, words) for name, words in told.items() if words]


def _device(environment: Mapping[str, Any]) -> str:
    """What the network ran on: "x86_64 (cpu)"; empty where the record does not say."""
    device = environment.get("device")
    return f"{device} ({environment.get('device_type', 'unknown')})" if device else ""


def _listed(words: Iterable[str], most: int = 3) -> str:
    """The different ones, the commonest first."""
    counted = [word for word, _ in Counter(filter(None, words)).most_common()]
    return ", ".join([*counted[:most], *([f"{len(counted) - most} others"] if len(counted) > most else [])])


def _facts(run: Run) -> dict[str, Any]:
    """What a reader asks first; empty or None where the record lacks it."""
    environment, seconds = mapping(run.record, "environment"), run.record.get("wall_seconds")
    done, asked = len(run.images), len(run.asked)
    packages = mapping(environment, "packages").items()
    return {
        "run": f"{run.dataset} / {run.task} / {run.method} / {run.name}",
        "date": run.record.get("date") or "not recorded",
        "problem": f"{run.problem.name} ({in_words(flat(run.problem.form))})",
        "prior": run.prior or "none: the method uses no prior",
        "settings": in_words(run.all_settings) or "as configured",
        "images": f"{done} of {asked}" if done < asked else done,
        "synthetic": run.synthetic and "the weights or the images are made up: the numbers mean nothing",
        "revision": environment.get("git"),
        "weights": " ".join(f"{key} {value}" for key, value in mapping(run.record, "weights").items()),
        "device": _device(environment),
        "precision": mapping(run.record, "compute").get("dtype"),
        "wall time": f"{seconds:.1f} s" if isinstance(seconds, (int, float)) else None,
        "packages": ", ".join(f"{name} {version}" for name, version in packages if version),
    }
