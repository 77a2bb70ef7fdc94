"""All checks over a results folder: run by run, then what runs share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path

from tqdm import tqdm

from vml_bench.errors import InputError
from vml_bench.runner.command import again, limited
from vml_bench.store import layout
from vml_bench.verify.findings import RERUN, Defect, Finding, Note, some
from vml_bench.verify.folder import Kept, RunKept, Unreadable, attempt
from vml_bench.verify.pictures import check_images, check_measurements, check_pictures
from vml_bench.verify.record import check_config, check_record
from vml_bench.verify.tables import (
    check_completed_features,
    check_features,
    check_numbers,
    check_rows,
    check_scenes,
    check_tables,
)

LEFTOVERS = {
    ".partial": "left by stopped processes; harmless, may be removed",
    ".damaged": "set aside as damaged; harmless, may be removed",
}
NO_COMMAND = f"# {layout.RECORD} records no command: give the one that made it again; {layout.CONFIG} says what it was"


@dataclass(frozen=True)
class Checked:
    """What was found in one folder.

    Attributes:
        dataset: name under which it is filed.
        label: "<dataset>/<task>/<method>/<run>" of a run, or the folder of what several runs share.
        findings: in the order of the checks.
        rerun: the command that goes on with the run, or does anew what runs share; None: none is on record.
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
    def defects(self) -> list[Defect]:
        """What has to be mended."""
        return [finding for finding in self.findings if isinstance(finding, Defect)]


@dataclass
class Shared:
    """Pictures that runs share: the originals of a set of images, or the measurements of a problem.

    Attributes:
        kept: what lies there.
        needs: ids of images that runs restored, by the feature networks that their originals need.
        images: ids of images that runs restored.
        whole: ids of all images of the data set; empty where no run was asked for all of them.
        reruns: how many images each run is asked for, and its command, where one is on record.
    """

    kept: Kept
    needs: dict[str, set[str]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    whole: tuple[str, ...] = ()
    reruns: list[tuple[int, str]] = field(default_factory=list)

    @property
    def rerun(self) -> str | None:
        """The command of the run that does most images; None: none is on record."""
        return max(self.reruns)[1] if self.reruns else None


def verify(results: Path, dataset: str | None = None) -> Iterator[Checked]:
    """Check every run of one data set or of all, and what the runs share.

    Args:
        results: the results folder; only read.
        dataset: name under which runs are filed; None: all.

    Raises:
        InputError: there is no run.
    """
    folders = layout.run_folders(results, dataset or "*")
    if not folders:
        where = Path(results, layout.RUNS, dataset or "")
        raise InputError(f"no run under {where}", "say where results lie with --results, or start with `vml-bench run`")
    with tqdm(total=len(folders), unit="run", desc="verify", leave=False, disable=None) as bar:
        for name, of_dataset in groupby(folders, key=lambda folder: layout.RunPlace.of(folder).dataset):
            originals: dict[Path, Shared] = {}
            measurements: dict[Path, Shared] = {}
            bare = []
            for folder in of_dataset:
                kept = RunKept.of(folder)
                shared = share(kept, originals, measurements)
                yield checked_run(kept, shared)
                if not kept.exact and not kept.pictures.is_dir():
                    bare.append(kept.place.label)
                bar.update()
            if bare:
                what = (
                    f"has {len(bare)} runs without {layout.PICTURES}/ ({some(bare, 1)}): only their tables are checked"
                )
                yield Checked(name, name, [Note(Path(results, layout.RUNS, name), what)])
            yield from (checked_originals(results, name, one) for one in originals.values())
            for one in measurements.values():
                findings = [*check_measurements(one.kept.folder), *check_leftovers(one.kept.folder)]
                yield Checked(name, one.kept.folder.relative_to(results).as_posix(), findings, one.rerun)


def share(kept: RunKept, originals: dict[Path, Shared], measurements: dict[Path, Shared]) -> Kept | None:
    """Take note of what a run shares with others; returns its originals, None where it keeps no picture."""
    run = kept.run
    if isinstance(run, Unreadable) or run.exact or kept.tables_only:
        return None
    mine, measured = (
        shared.setdefault(folder, Shared(Kept(folder, folder)))
        for shared, folder in ((originals, run.originals), (measurements, run.measurements))
    )
    mine.images.update(kept.rows.index)
    for network in kept.networks:
        mine.needs.setdefault(network, set()).update(kept.rows.index)
    if not limited(kept.record):
        mine.whole = run.asked
    if (command := rerun(kept)) is not None:
        for one in (mine, measured):
            one.reruns.append((len(run.asked), command))
    return mine.kept


def rerun(kept: RunKept) -> str | None:
    """The command that goes on with a run; None where none is on record."""
    if isinstance(kept.record, Unreadable):
        return None
    command = attempt(lambda: again(kept.record, kept.place.results))
    return None if isinstance(command, Unreadable) else command


def checked_run(kept: RunKept, originals: Kept | None) -> Checked:
    """All checks of one run."""
    networks = () if kept.tables_only else kept.networks
    findings = chain(
        check_config(kept),
        check_record(kept),
        check_tables(kept),
        check_rows(kept),
        check_numbers(kept),
        check_features(kept, dict.fromkeys(networks, kept.healthy)),
        check_completed_features(kept.folder, kept.healthy),
        check_scenes(kept),
        check_pictures(kept, originals),
        check_leftovers(kept.folder),
    )
    return Checked(kept.place.dataset, kept.place.label, list(findings), rerun(kept), images=len(kept.rows))


def checked_originals(results: Path, dataset: str, shared: Shared) -> Checked:
    """All checks of a data set's originals."""
    kept = shared.kept
    label = kept.folder.relative_to(results).as_posix()
    if not kept.folder.is_dir():
        what = "is not here: pictures are not compared with their originals"
        return Checked(dataset, label, [Note(kept.folder, what)])
    findings = chain(
        check_tables(kept),
        check_images(kept, shared.images, shared.whole),
        check_pictures(kept),
        check_features(kept, {network: sorted(ids) for network, ids in shared.needs.items()}),
        check_completed_features(kept.folder, kept.rows.index),
        check_leftovers(kept.folder),
    )
    return Checked(dataset, label, list(findings), shared.rerun, originals=len(kept.rows))


def check_leftovers(folder: Path) -> Iterator[Note]:
    """Files that no one reads: unfinished ones of stopped processes, and damaged ones that a start set aside."""
    names = [name for _, _, files in os.walk(folder) for name in files]
    for mark, what in LEFTOVERS.items():
        if found := sorted(name for name in names if (name.startswith(".") or mark != ".partial") and mark in name):
            yield Note(folder, f"has {len(found)} files {what} ({some(found)})")


def mending(checked: Checked, results: Path) -> list[str]:
    """What to do about the defects of a folder, as lines for a shell."""
    defects = checked.defects
    lines = [f"# {checked.label}: {len(defects)} defect{'s' * (len(defects) > 1)}"]
    for file in dict.fromkeys(defect.remove for defect in defects if defect.remove):
        lines.append(shlex.join(["rm", *(["-r"] if file.is_dir() else []), str(file)]))
    for mend in dict.fromkeys(defect.mend for defect in defects):
        if mend != RERUN:
            lines.append(f"{mend} {shlex.join(['--results', str(results), '--dataset', checked.dataset])}")
        else:
            lines.append(checked.rerun or NO_COMMAND)
    return lines


def summary(checked: Iterable[Checked]) -> str:
    """How much was checked, and how many defects there are, in one line."""
    checked = list(checked)
    images = [of.images for of in checked if of.images is not None]
    defects, findings = sum(len(of.defects) for of in checked), sum(len(of.findings) for of in checked)
    counted = {
        "run": len(images),
        "image": sum(images),
        "original": sum(of.originals for of in checked),
        "defect": defects,
        "note": findings - defects,
    }
    runs, rows, originals, ill, notes = (f"{n or 'no'} {what}{'s' * (n != 1)}" for what, n in counted.items())
    return f"{runs}, {rows}, {originals} checked: {ill}, {notes}"
