"""All checks over a results folder: run by run, then what the runs of a data set share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path

from tqdm import tqdm

from vml_bench.errors import InputError
from vml_bench.verify.command import command
from vml_bench.verify.findings import RERUN, Finding, Note, Problem, some
from vml_bench.verify.folder import RunFolder, Unreadable, find_runs
from vml_bench.verify.originals import check_manifest, check_originals
from vml_bench.verify.pictures import check_measurements, check_pictures
from vml_bench.verify.tables import check_config, check_features, check_numbers, check_record, check_rows, check_scenes

RUN_CHECKS = (
    check_config,
    check_record,
    check_rows,
    check_numbers,
    check_features,
    check_scenes,
    check_pictures,
    check_manifest,
)
LEFTOVERS = {
    ".partial": "left by stopped processes; harmless, may be removed",
    ".damaged": "set aside as damaged; harmless, may be removed",
}


@dataclass(frozen=True)
class Checked:
    """What was found in one folder.

    Attributes:
        dataset: name under which it is filed.
        label: "<dataset>/<task>/<method>/<run>" of a run, or the folder of what several runs share.
        findings: in the order of the checks.
        rerun: the command that goes on with the run, or does anew what runs share; None: none does. Only where
            there are problems.
        images: rows of a run.
        originals: originals of a data set.
    """

    dataset: str
    label: str
    findings: list[Finding]
    rerun: str | None = None
    images: int | None = None
    originals: int = 0

    @property
    def problems(self) -> list[Problem]:
        """What has to be mended."""
        return [finding for finding in self.findings if isinstance(finding, Problem)]


def verify(results: Path, dataset: str | None = None) -> Iterator[Checked]:
    """Check every run of one data set or of all, and what the runs share.

    Args:
        results: the folder that holds runs/ and references/; only read.
        dataset: name under which runs are filed; None: all.

    Raises:
        InputError: there is no run.
    """
    runs = list(find_runs(results, dataset))
    if not runs:
        where = results / "runs" / (dataset or "")
        raise InputError(f"no run under {where}", "say where results lie with --results, or start with `vml-bench run`")
    with tqdm(total=len(runs), unit="run", desc="verify", leave=False, disable=None) as bar:
        for name, of_dataset in groupby(runs, key=lambda run: run.dataset):
            shared = Shared()
            for run in (replace(run) for run in of_dataset):  # what is read of a run is forgotten with it
                yield _checked_run(run)
                shared.add(run)
                bar.update()
            yield from _checked_shared(results, name, shared)


@dataclass(frozen=True)
class Shared:
    """What the runs of a data set share, and what they need of it.

    Attributes:
        folders: of originals and measurements; each with the run that does most of its images, and how many.
        needs: images that have rows, by the feature networks that their originals need.
        bare: labels of the runs without pictures.
    """

    folders: dict[Path, tuple[int, RunFolder]] = field(default_factory=dict)
    needs: dict[str, set[str]] = field(default_factory=dict)
    bare: list[str] = field(default_factory=list)

    def add(self, run: RunFolder) -> None:
        """Take note of a run."""
        if run.exact:
            return
        if not (run.path / "recon").is_dir():
            self.bare.append(run.label)
        if run.tables_only or isinstance(run.config, Unreadable):
            return
        for network in run.networks:
            self.needs.setdefault(network, set()).update(run.rows.index)
        measured = f"{float(run.config.task.noise_std):g}-{run.config.seed}"
        for folder in (run.originals.path, run.path.parents[1] / "measurements" / measured):
            if len(run.ids) >= self.folders.get(folder, (0,))[0]:
                self.folders[folder] = len(run.ids), replace(run)


def _checked_run(run: RunFolder) -> Checked:
    findings = list(chain(*(check(run) for check in RUN_CHECKS), check_leftovers(run.path)))
    ill = any(isinstance(finding, Problem) for finding in findings)
    return Checked(run.dataset, run.label, findings, command(run) if ill else None, images=len(run.rows))


def _checked_shared(results: Path, dataset: str, shared: Shared) -> Iterator[Checked]:
    if shared.bare:
        what = f"has {len(shared.bare)} runs without recon/ ({some(shared.bare, 1)}): only their tables are checked"
        yield Checked(dataset, dataset, [Note(results / "runs" / dataset, what)])
    for folder, (_, run) in shared.folders.items():
        kept = folder == run.originals.path
        found = check_originals(run.originals, shared.needs) if kept else check_measurements(folder)
        findings = list(chain(found, check_leftovers(folder)))
        ill = any(isinstance(finding, Problem) for finding in findings)
        label, originals = folder.relative_to(results).as_posix(), len(run.originals.files) if kept else 0
        yield Checked(dataset, label, findings, command(run) if ill else None, originals=originals)


def check_leftovers(folder: Path) -> Iterator[Note]:
    """Files that no one reads: unfinished ones of stopped processes, and damaged ones that a start set aside."""
    names = [name for _, _, files in os.walk(folder) for name in files]
    for mark, what in LEFTOVERS.items():
        if found := sorted(name for name in names if (name.startswith(".") or mark != ".partial") and mark in name):
            yield Note(folder, f"has {len(found)} files {what} ({some(found)})")


def mending(checked: Checked, results: Path) -> list[str]:
    """What to do about the problems of a folder, as lines for a shell."""
    problems = checked.problems
    lines = [f"# {checked.label}: {len(problems)} problem{'s' * (len(problems) > 1)}"]
    for file in dict.fromkeys(problem.remove for problem in problems if problem.remove):
        lines.append(shlex.join(["rm", *(["-r"] if file.is_dir() else []), str(file)]))
    for mend in dict.fromkeys(problem.mend for problem in problems):
        if mend != RERUN:
            lines.append(f"{mend} {shlex.join(['--results', str(results), '--dataset', checked.dataset])}")
        elif checked.rerun:
            lines.append(checked.rerun)
        else:
            lines.append("# no command of this version makes a run of this name; its config.yaml says how it was made")
    return lines


def summary(checked: Iterable[Checked]) -> str:
    """How much was checked, and how many problems there are, in one line."""
    checked = list(checked)
    images = [of.images for of in checked if of.images is not None]
    problems, findings = sum(len(of.problems) for of in checked), sum(len(of.findings) for of in checked)
    counted = {
        "run": len(images),
        "image": sum(images),
        "original": sum(of.originals for of in checked),
        "problem": problems,
        "note": findings - problems,
    }
    runs, rows, originals, ill, notes = (f"{n or 'no'} {what}{'s' * (n != 1)}" for what, n in counted.items())
    return f"{runs}, {rows}, {originals} checked: {ill}, {notes}"
