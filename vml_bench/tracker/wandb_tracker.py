"""A W&B run for each cell, while it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tqdm import tqdm

from vml_bench.runner.tracking import Row
from vml_bench.store.layout import RunPlace
from vml_bench.store.runs import UNREADABLE, read_run
from vml_bench.tracker.progress import Progress, images_wanted, rows_on_disk
from vml_bench.tracker.record import outcome_of, subject_of
from vml_bench.tracker.workspace import Session, Workspace, require_wandb


@dataclass
class WandbTracker:
    """Logs progress after each image and, at the end, scores, a table of all images and a panel of a few.

    Offline where W&B has no key; the line that uploads the run is printed then. A run that goes on goes on with its
    W&B run. Under a W&B sweep's agent the run is the agent's own.

    Attributes:
        project, entity, tag, timeout: see `Workspace`.
        panel: number of images shown as pictures.

    Raises:
        InputError: wandb is not installed.
    """

    project: str | None = None
    entity: str | None = None
    tag: str | None = None
    panel: int = 4
    timeout: float = 60.0

    gave_up: ClassVar[bool] = False
    """W&B has failed in this process: later cells are not kept waiting for it."""

    name = "wandb"
    remedy = "`vml-bench track` logs afterwards what is on disk."

    def __post_init__(self) -> None:
        require_wandb()

    def start(self, folder: Path) -> None:
        """Open the W&B run, unless all images are done, and log the images of earlier starts that it lacks."""
        self._folder, self._progress, self._session = folder, Progress(), None
        self._workspace = Workspace(RunPlace.of(folder).results, self.project, self.entity, self.tag, self.timeout)
        rows = rows_on_disk(folder)
        if not WandbTracker.gave_up and len(rows) < images_wanted(folder):
            with _giving_up():
                self._session = Session(self._workspace, subject_of(folder), live=True)
                self.images_done(rows)

    def images_done(self, rows: Sequence[Row]) -> None:
        """Log the running figures after each image."""
        for row in rows if self._session else ():
            self._session.log_progress(self._progress.add(row))

    def finish(self, failed: bool) -> None:
        """Log what the run came to, unless it was logged before, and say where it is."""
        if WandbTracker.gave_up:
            return
        try:
            outcome = None if failed else outcome_of(read_run(self._folder), self.panel)[0]
        except UNREADABLE:
            if self._session:
                self._session.close()
            raise
        with _giving_up():
            if self._session:
                where = self._session.close(outcome)
            elif outcome and not self._workspace.is_logged(subject_of(self._folder), outcome):
                where = self._workspace.log(subject_of(self._folder), outcome)
            else:
                return
        tqdm.write(f"W&B: {where}", file=sys.stderr)


@contextmanager
def _giving_up() -> Iterator[None]:
    """Where W&B fails in the block, give it up for all cells of this process."""
    try:
        yield
    except Exception:
        WandbTracker.gave_up = True
        raise
