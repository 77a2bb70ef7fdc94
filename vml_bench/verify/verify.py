"""All checks over a results folder: run by run, then what runs share."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from vml_bench.errors import InputError
from vml_bench.runner.command import limited
from vml_bench.store import layout
from vml_bench.verify.findings import RERUN, Finding, some
from vml_bench.verify.folder import Kept, RunKept, read_kept, read_run, rerun
from vml_bench.verify.pictures import check_images, check_measurements, check_pictures
from vml_bench.verify.record import check_record
from vml_bench.verify.tables import (
    check_completed_features,
    check_features,
    check_ids,
    check_numbers,
    check_rows,
    check_scenes,
)

LEFTOVERS = {
    ".*.partial*": "left by stopped processes; harmless, may be removed",
    "*.damaged*": "set aside as damaged; harmless, may be removed",
}
"""Files that no one reads, by pattern."""
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
    def defects(self) -> list[Finding]:
        """What has to be mended."""
        return [finding for finding in self.findings if finding.mend]


def verify(results: Path, dataset: str | None = None) -> Iterator[Checked]:
    """Check every run of one data set or of all, and what the runs share.

    Args:
        results: the results folder; only read.
        dataset: name under which runs are filed; None: all.

    Raises:
        InputError: there is no run.
    """
    folders = layout.run_folders(results, dataset)
    if not folders:
        where = Path(results, layout.RUNS, dataset or "")
        raise InputError(f"no run under {where}", "say where results lie with --results, or start with `vml-bench run`")
    with tqdm(total=len(folders), unit="run", desc="verify", leave=False, disable=None) as bar:
        for name, of_dataset in groupby(folders, key=lambda folder: folder.parents[2].name):
            read_once, users, bare = cache(read_kept), {}, []
            for folder in of_dataset:
                yield check_run(folder, read_once, users, bare)
                bar.update()
            if bare:
                what = f"has {len(bare)} runs without pictures ({some(bare, 1)}): only their tables are checked"
                yield Checked(name, name, [Finding(Path(results, layout.RUNS, name), what, mend=None)])
            for folder, user in users.items():
                if folder == user.run.originals:
                    findings, count = check_originals(folder, read_once(folder), user)
                else:
                    findings, count = [*check_measurements(folder), *check_leftovers(folder)], 0
                label = folder.relative_to(results).as_posix()
                yield Checked(name, label, findings, rerun(user.folder), originals=count)


def check_run(
    folder: Path, read_once: Callable[[Path], Kept | list[Finding]], users: dict[Path, RunKept], bare: list[str]
) -> Checked:
    """All checks of one run. Where a file cannot be read, nothing else is checked.

    Args:
        folder: of the run.
        read_once: `read_kept`, for the originals.
        users: for each folder of originals or of measurements the run that has done most of its images; brought up to
            date.
        bare: labels of the runs without pictures; this one is added where it is one of them.
    """
    place, kept = layout.RunPlace.of(folder), read_run(folder)
    if isinstance(kept, list):
        return Checked(place.dataset, place.label, kept, rerun(folder), images=0)
    run, networks, reference = kept.run, kept.networks, None
    if not kept.features and not kept.pictures.exists():
        networks = []
    elif not run.exact:
        for shared in (run.originals, run.measurements):
            users[shared] = max(users.get(shared, kept), kept, key=lambda of: (len(of.rows), len(of.networks)))
        reference = read_once(run.originals)
    if not run.exact and not kept.pictures.is_dir():
        bare.append(place.label)
    findings = [
        *check_record(kept),
        *check_ids(kept),
        *check_rows(kept),
        *check_numbers(kept),
        *check_features(kept, dict.fromkeys(networks, kept.healthy)),
        *check_completed_features(folder, kept.healthy),
        *check_scenes(kept),
        *check_pictures(kept, reference if isinstance(reference, Kept) else None),
        *check_leftovers(folder),
    ]
    return Checked(place.dataset, place.label, findings, rerun(folder), images=len(kept.rows))


def check_originals(folder: Path, kept: Kept | list[Finding], user: RunKept) -> tuple[list[Finding], int]:
    """All checks of a data set's originals; and how many there are. Where a file cannot be read, that is all.

    Args:
        folder: of the originals.
        kept: what is there.
        user: the run that has done most of them.
    """
    if not folder.is_dir():
        return [Finding(folder, "is not here: pictures are not compared with their originals", mend=None)], 0
    if isinstance(kept, list):
        return kept, 0
    done, whole = user.rows.index, () if limited(user.run.record) else user.run.asked
    findings = [
        *check_ids(kept),
        *check_images(kept, done, whole),
        *check_pictures(kept),
        *check_features(kept, dict.fromkeys(user.networks, done)),
        *check_completed_features(folder, kept.rows.index),
        *check_leftovers(folder),
    ]
    return findings, len(kept.rows)


def check_leftovers(folder: Path) -> Iterator[Finding]:
    """Files that no one reads: unfinished ones of stopped processes, and damaged ones that a start set aside."""
    for pattern, what in LEFTOVERS.items():
        if found := sorted(file.name for file in folder.rglob(pattern)):
            yield Finding(folder, f"has {len(found)} files {what} ({some(found)})", mend=None)


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
