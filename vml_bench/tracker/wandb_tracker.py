"""Weights & Biases: a W&B run per cell while it runs, or per run and published claim for `vml-bench track`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from requests.utils import get_netrc_auth
from tqdm import tqdm

from vml_bench.analysis.published.claims import Published
from vml_bench.configuration import read_record
from vml_bench.errors import InputError
from vml_bench.identity import name_of
from vml_bench.runner.tracking import Row, Tracker
from vml_bench.store import layout
from vml_bench.store.parts import read_rows
from vml_bench.store.runs import UNREADABLE, datasets, each, read_run, select_runs
from vml_bench.tracker.progress import Progress
from vml_bench.tracker.record import Subject, finished, finite, published, subject_of

try:
    import wandb.errors  # not wandb alone: W&B's own folder of that name would do
except ImportError:
    raise InputError("wandb is not installed", "pip install 'vml-bench[wandb]', or tracker=csv") from None

TAG = 64
"""Characters that W&B allows in a tag; longer ones are shown cut."""


def mode() -> str:
    """$WANDB_MODE if it is set; else "online" if W&B has a key, "offline" if it has none."""
    settings = wandb.setup().settings
    if settings.mode != "online":
        return settings.mode
    key = settings.api_key or settings.identity_token_file or get_netrc_auth(settings.base_url)
    return "online" if key else "offline"


@dataclass
class WandbTracker(Tracker):
    """Logs progress after each image and, at the end, scores, a table of all images and a panel of a few.

    The id of a W&B run is a hash of what it is about, project and tag, so a cell that goes on, or is logged again, goes
    on with its W&B run. Under a sweep's agent W&B takes the agent's id and project. Offline, a run that was logged to
    its end replaces the folders of its id that wait for upload: it holds all that they hold.

    Attributes:
        project: W&B project; None: $WANDB_PROJECT, or "vml-bench".
        entity: W&B user or team; None: $WANDB_ENTITY, or the key's own.
        tag: shown as a tag and part of the ids: keeps equal runs of another machine apart.
        panel: number of images shown as pictures.
        timeout: seconds to wait for W&B at the start of a run, and for the upload at its end.
    """

    project: str | None = None
    entity: str | None = None
    tag: str | None = None
    panel: int = 4
    timeout: float = 60.0

    gave_up: ClassVar[bool] = False
    """W&B could not be reached from this process: later cells do not wait for it."""

    name = "wandb"
    remedy = "`vml-bench track` logs afterwards what is on disk."

    def __post_init__(self) -> None:
        self._project = self.project or os.environ.get("WANDB_PROJECT") or "vml-bench"

    def start(self, folder: Path) -> None:
        """Open the W&B run, unless all images are done, and log the images of earlier starts that it lacks."""
        self._folder, self._results, self._run = folder, layout.RunPlace.of(folder).results, None
        rows = read_rows(folder).to_dict("records")
        if not WandbTracker.gave_up and len(rows) < len(read_record(folder / layout.RECORD)["ids"]):
            self._open(self._results, subject_of(folder), live=True)
            self.images_done(rows)

    def images_done(self, rows: Sequence[Row]) -> None:
        """Log the running figures after each image that the W&B run does not have from an earlier start."""
        for row in rows if self._run else ():
            figures = self._progress.add(row)
            if figures["images"] > self._had:
                self._run.log({f"progress/{key}": value for key, value in finite(figures).items()})

    def finish(self, failed: bool) -> None:
        """Log what the run came to, unless it was logged before, and say where it is."""
        if not self._run and (failed or WandbTracker.gave_up):
            return
        subject = None
        try:
            if not failed:
                subject, _ = finished(read_run(self._folder), self.panel)
        finally:
            where = self._close(subject) if self._run else subject and self.log(self._results, subject)
        if where:
            tqdm.write(f"W&B: {where}", file=sys.stderr)

    def log(self, results: Path, subject: Subject) -> str | None:
        """Log what is finished; returns where it is, see `_close`, None if it was logged before as it is."""
        which = "run" if mode() == "online" else "*run"  # what waits for its upload is not online yet
        if list((results / "wandb").glob(f"{which}-*-{self._id(subject)}*/{subject.content}")):
            return None
        self._open(results, subject)
        self.images_done(subject.rows)
        return self._close(subject)

    def _open(self, results: Path, subject: Subject, live: bool = False) -> None:
        """Open the W&B run of a subject; `live`: it runs now, so W&B's figures of this machine are about it."""
        results.mkdir(parents=True, exist_ok=True)
        quiet = {"silent": True, "console": "off", "save_code": False, "reinit": "create_new"}
        waits = {"init_timeout": self.timeout, "finish_timeout": self.timeout, "finish_timeout_raises": True}
        machine = {"x_disable_stats": not live, "x_disable_meta": not live}
        WandbTracker.gave_up = True  # until W&B has answered
        self._run = wandb.init(
            project=self._project,
            entity=self.entity,
            id=self._id(subject),
            resume=None if os.environ.get("WANDB_SWEEP_ID") else "allow",
            **{key: getattr(subject, key) for key in ("name", "group", "job_type", "config")},
            tags=list(dict.fromkeys(tag[:TAG] for tag in (*subject.tags, self.tag) if tag)),
            allow_val_change=True,
            dir=str(results),
            mode=mode(),
            settings=wandb.Settings(**quiet, **waits, **machine),
        )
        WandbTracker.gave_up = False
        self._run.define_metric("progress/*", step_metric="progress/images")
        self._had = int(self._run.summary.get("progress/images", 0)) if self._run.resumed else 0
        self._progress = Progress()

    def _close(self, subject: Subject | None) -> str:
        """End the W&B run with what it came to, None if it was stopped; returns its page, or what uploads it."""
        run, folder = self._run, Path(self._run.dir).parent
        if subject:
            media: dict[str, Any] = {}
            if rows := subject.rows:
                cells = [[finite(row).get(name) for name in row] for row in rows]
                media["images"] = wandb.Table(columns=list(rows[0]), data=cells)
            if panel := subject.panel:
                media["panel"] = [wandb.Image(picture, caption=text, file_type="png") for text, picture in panel]
            if first := subject.first:
                cells = [wandb.Image(v, file_type="png") if isinstance(v, Image.Image) else v for v in first.values()]
                media["first_image"] = wandb.Table(columns=list(first), data=[cells])
            run.log(subject.scores | media)
        run.finish(exit_code=0 if subject else 1)
        if subject and not run.disabled:
            (folder / subject.content).touch()  # tells `log` what this folder holds
            for waiting in folder.parent.glob(f"offline-run-*-{run.id}*"):
                if waiting != folder:
                    shutil.rmtree(waiting, ignore_errors=True)
        if run.disabled:
            return "W&B is disabled"
        return f"wandb sync {shlex.quote(str(folder))}" if run.offline else run.url

    def _id(self, subject: Subject) -> str:
        agents = os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID")
        return agents or "vml-" + name_of({"key": subject.key, "project": self._project, "tag": self.tag or None})


def track(
    tracker: WandbTracker,
    results: Path,
    claims: Published,
    dataset: str | None = None,
    synthetic: bool = False,
    every_claim: bool = False,
) -> tuple[list[str | None], list[str]]:
    """Log every run on disk, and what papers claim about the same data sets, unless it was logged before as it is.

    Args:
        tracker: where to.
        results: the results folder.
        claims: what papers claim.
        dataset: only runs on this data set, and claims about it.
        synthetic: whether to log runs whose images or weights are made up, too.
        every_claim: whether to log claims about data sets without runs, too.

    Returns:
        Where each is, see `WandbTracker.log`; and one note for each run that was left out or is unfinished.

    Raises:
        InputError: there is nothing to log, or W&B cannot be reached.
    """
    told, notes, failures, problems = [], [], [], set()
    try:
        for name in _with_runs(results, dataset, failures):
            try:
                runs, warnings = select_runs(results, name, synthetic)
            except InputError as error:
                failures.append(error)
                continue
            notes += warnings
            for run in each(runs):
                problems.add(run.problem)
                try:
                    subject, warnings = finished(run, tracker.panel)
                except UNREADABLE as error:
                    notes.append(f"{run.label} left out: {error}")
                    continue
                notes += warnings
                told.append(tracker.log(results, subject))
        names = sorted({problem.dataset for problem in problems})
        if every_claim:
            known = [[name for name in wording if name in names] or wording[:1] for wording in claims.datasets.values()]
            names = [dataset] if dataset else list(dict.fromkeys([*names, *chain.from_iterable(known)]))
        if failures and not any(map(claims.about, names)) and not problems:
            raise failures[0]
        told += [tracker.log(results, subject) for subject in published(claims, names, problems)]
    except (wandb.Error, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = "the same command goes on from here; with WANDB_MODE=offline it needs no network"
        raise InputError(f"W&B could not be reached ({reason})", remedy) from error
    return told, [*notes, *map(str, failures)]


def _with_runs(results: Path, dataset: str | None, failures: list[InputError]) -> list[str]:
    """Data sets that have runs, or just `dataset`; where there are none, why is added to `failures`."""
    try:
        return datasets(results, dataset)
    except InputError as error:
        failures.append(error)
        return []
