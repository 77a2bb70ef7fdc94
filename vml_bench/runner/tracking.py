"""What a tracker is; its failure never ends a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

Row = dict[str, Any]
"""The row of one image, as in a run's table."""


class Tracker(Protocol):
    """Follows one run after another. A subclass defines what it needs; the rest does nothing.

    Attributes:
        name: as in `tracker=…`.
        remedy: what to do if it fails.
    """

    name: str
    remedy: str

    def start(self, folder: Path) -> None:
        """A run starts or goes on; its folder holds configuration, record and the rows of earlier starts."""

    def images_done(self, rows: Sequence[Row]) -> None:
        """The rows of these images are on disk now."""

    def finish(self, failed: bool) -> None:
        """The run has ended: all its images are done, or it was stopped (`failed`)."""


class NoTracker(Tracker):
    """Tracks nothing."""

    name = "none"
    remedy = ""


class Guarded:
    """Passes events on to a tracker; if it fails, says so once on stderr and passes nothing on any more.

    Args:
        tracker: the tracker.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def images_done(self, rows: Sequence[Row]) -> None:
        """See `Tracker.images_done`."""
        self.tell("images_done", rows)

    def tell(self, event: str, *arguments: Any) -> None:
        """Call the tracker's method `event`."""
        tracker = self._tracker
        try:
            getattr(tracker, event)(*arguments)
        except Exception as error:  # whatever a tracker's library raises, the run goes on
            self._tracker = NoTracker()
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            line = f"warning: tracker={tracker.name} stopped ({reason}); the run goes on. {tracker.remedy}"
            tqdm.write(line, file=sys.stderr)


@contextmanager
def tracked(tracker: Tracker, folder: Path) -> Iterator[Guarded]:
    """Track what is done in the block as one run; no failure of the tracker leaves the block.

    Args:
        tracker: the tracker.
        folder: the run's folder, with its configuration and record.
    """
    guarded = Guarded(tracker)
    guarded.tell("start", folder)
    failed = True
    try:
        yield guarded
        failed = False
    finally:
        guarded.tell("finish", failed)
