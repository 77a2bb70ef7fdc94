"""Progress as a csv file beside the results: for `tail -f`, spreadsheets and machines without a network."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from vml_bench.runner.tracking import Row
from vml_bench.store import layout
from vml_bench.tracker.progress import Progress, images_wanted, rows_on_disk


class CSVTracker:
    """Appends one line per batch to a file in the run's folder; a run that goes on appends to the same file.

    Columns: `time` (UTC) at which the batch was on disk, `wanted` images, then those of `Progress.add` after its
    last image. A value that is not finite is left empty.
    """

    name = "csv"
    remedy = f"See that {layout.PROGRESS} in the run's folder can be written."

    def start(self, folder: Path) -> None:
        """Count what is done already."""
        self._file = folder / layout.PROGRESS
        self._wanted = images_wanted(folder)
        self._progress = Progress(rows_on_disk(folder))

    def images_done(self, rows: Sequence[Row]) -> None:
        """Append a line."""
        figures = [self._progress.add(row) for row in rows][-1]
        printed = {name: f"{value:.6g}" if math.isfinite(value) else "" for name, value in figures.items()}
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = {"time": now, "wanted": self._wanted, **printed}
        columns = self._columns()
        with open(self._file, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns or list(line), extrasaction="ignore", lineterminator="\n")
            if not columns:
                writer.writeheader()
            writer.writerow(line)

    def finish(self, failed: bool) -> None:
        """Nothing is left to write."""

    def _columns(self) -> list[str]:
        """The columns that the file has, none where it is new."""
        if not self._file.is_file():
            return []
        with open(self._file, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
