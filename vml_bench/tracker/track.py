"""Log what is on disk: every run, and what papers claim, as W&B runs beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vml_bench.analysis.published.claims import METRICS, Claim, Published
from vml_bench.errors import InputError
from vml_bench.store.runs import UNREADABLE, Run, datasets, each, select_runs
from vml_bench.tracker.record import Outcome, Subject, group_of, outcome_of, subject_of, tags_of
from vml_bench.tracker.workspace import Workspace

Cells = set[tuple[str, str, float, str]]
"""Data set, task, noise level and problem of runs on disk."""


@dataclass
class Report:
    """What `track` did.

    Attributes:
        logged: where each newly logged run is: its page, or the command that uploads it.
        kept: number of runs that had been logged as they are.
        notes: a line for each run left out or unfinished.
    """

    logged: list[str] = field(default_factory=list)
    kept: int = 0
    notes: list[str] = field(default_factory=list)


def track(
    workspace: Workspace, claims: Published, dataset: str | None = None, synthetic: bool = False, panel: int = 4
) -> Report:
    """Log every run on disk, and every claim about its data sets, that is not logged yet.

    Args:
        workspace: where to, and the results folder.
        claims: what papers claim.
        dataset: only runs on this data set and claims about it.
        synthetic: whether runs whose images or weights are made up are logged, too.
        panel: number of images of each run shown as pictures.

    Raises:
        InputError: there is nothing to log, or W&B cannot be reached.
    """
    import wandb

    report, cells, failures = Report(), set(), []
    try:
        for run in _runs(workspace, dataset, synthetic, report, failures):
            cells.add((run.dataset, run.task, run.noise_std, run.problem.name))
            try:
                outcome, warnings = outcome_of(run, panel)
            except UNREADABLE as error:
                report.notes.append(f"{run.label} left out: {error}")
                continue
            report.notes += warnings
            _log_once(workspace, subject_of(run.folder), outcome, report)
        if failures and not (cells or (dataset and claims.about(dataset))):
            raise failures[0]
        for subject, outcome in published_outcomes(claims, dataset, cells):
            _log_once(workspace, subject, outcome, report)
    except (wandb.Error, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = "the same command goes on from here; with WANDB_MODE=offline it needs no network"
        raise InputError(f"W&B could not be reached ({reason})", remedy) from error
    report.notes += map(str, failures)
    return report


def published_outcomes(claims: Published, dataset: str | None, cells: Cells) -> Iterator[tuple[Subject, Outcome]]:
    """What papers claim, a subject for each protocol on disk that a claim could be about.

    A claim stands in the group of each of its candidate tasks and of each problem that was run, at its own noise level
    where its source states one. Its value stands under every leaderboard column that its metric could
    mean; what the source leaves open is part of the configuration.

    Args:
        claims: all of them.
        dataset: only those about it.
        cells: of the runs on disk.
    """
    names = [dataset] if dataset else claims.names([name for name, *_ in cells])
    for name in names:
        for same in _by_source(claims.about(name)):
            for task in same[0].candidates:
                stated = same[0].noise_std
                run = sorted((noise_std, problem) for *cell, noise_std, problem in cells if cell == [name, task])
                for noise_std, problem in [at for at in run if stated in (None, at[0])] or [(stated, None)]:
                    yield _published(same, name, task, noise_std, problem)


def _runs(
    workspace: Workspace, dataset: str | None, synthetic: bool, report: Report, failures: list[InputError]
) -> Iterator[Run]:
    """Every run to log; a data set without any is a failure, a run that cannot be read a note."""
    try:
        names = datasets(workspace.results, dataset)
    except InputError as error:
        failures.append(error)
        return
    for name in names:
        try:
            runs, warnings = select_runs(workspace.results, name, synthetic)
        except InputError as error:
            failures.append(error)
            continue
        report.notes += warnings
        yield from each(runs)


def _log_once(workspace: Workspace, subject: Subject, outcome: Outcome, report: Report) -> None:
    if workspace.is_logged(subject, outcome):
        report.kept += 1
    else:
        report.logged.append(workspace.log(subject, outcome))


def _by_source(claims: Iterable[Claim]) -> list[list[Claim]]:
    """Claims of one paper's row together: they differ in the metric alone."""
    rows: dict[tuple, list[Claim]] = {}
    for claim in claims:
        row = (claim.paper, claim.method, claim.dataset, claim.task, claim.noise_std, claim.images, claim.candidates)
        rows.setdefault(row, []).append(claim)
    return list(rows.values())


def _published(
    same: list[Claim], dataset: str, task: str, noise_std: float | None, problem: str | None
) -> tuple[Subject, Outcome]:
    claim = same[0]
    group = group_of(dataset, task, noise_std, problem)
    stated = {
        "paper": claim.paper,
        "sources": sorted({each.source for each in same}),
        "dataset": claim.dataset,
        "task": claim.task,
        "noise_std": claim.noise_std,
        "images": claim.images,
        "values": {each.metric: each.value for each in same},
        "open": sorted({each.open for each in same if each.open}),
        "remarks": sorted({each.remark for each in same if each.remark}),
    }
    config = {
        "dataset": {"name": dataset},
        "task": {"name": task, "noise_std": noise_std},
        "method": {"name": claim.method},
        "published": stated,
    }
    key = ("published", claim.paper, claim.method, claim.dataset, claim.task, str(claim.images), group)
    subject = Subject(
        key, f"{claim.method}, published: {claim.task}", group, "published", config, tags_of(dataset, task)
    )
    scores = {column: each.value for each in same for column in METRICS[each.metric]}
    return subject, Outcome(scores | ({"n": claim.images} if claim.images else {}))
