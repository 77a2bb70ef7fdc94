"""How far a run is, image by image, and a CSV file of it: for `tail -f`, spreadsheets, machines without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd

from vml_bench.configuration import read_record
from vml_bench.runner.tracking import Row, Tracker
from vml_bench.store import layout
from vml_bench.store.parts import read_rows

CONSTANT = ("nfe", "vjp", "memory_mb")
"""Columns that hardly change from image to image, and so get no running mean."""


class Progress:
    """Running figures of one run: the same whether it is watched or read from disk afterwards."""

    def __init__(self) -> None:
        self.images = self.diverged = 0
        self._sums: dict[str, float] = {}

    def add(self, row: Row) -> dict[str, float]:
        """Count one more image.

        Returns:
            `images` and `diverged` so far; `nfe_per_second`, network evaluations of single images per second in this
            image's batch; and the running mean of each number of a row over the images that did not diverge. NaN
            where there is no value.
        """
        good = row["status"] == layout.OK
        self.images += 1
        self.diverged += not good
        for name, value in row.items():
            if isinstance(value, (int, float)) and name not in CONSTANT:
                self._sums[name] = self._sums.get(name, 0.0) + (value if good else 0.0)
        count = self.images - self.diverged
        means = {name: total / count if count else math.nan for name, total in self._sums.items()}
        speed = row["nfe"] / row["seconds"] if row["seconds"] else math.nan
        return {"images": self.images, "diverged": self.diverged, "nfe_per_second": speed, **means}


class CSVTracker(Tracker):
    """Appends one line per batch to a file in the run's folder; a run that goes on appends to the same file.

    Columns: `time` (UTC) at which the batch was on disk, `wanted` images, then those of `Progress.add` after its
    last image. A value that is not finite is left empty.
    """

    name = "csv"
    remedy = f"Check that {layout.PROGRESS} in the run's folder can be written."

    def start(self, folder: Path) -> None:
        """Count the images that are done already."""
        self._file = folder / layout.PROGRESS
        self._wanted = len(read_record(folder / layout.RECORD)["ids"])
        self._progress = Progress()
        for row in read_rows(folder).to_dict("records"):
            self._progress.add(row)

    def images_done(self, rows: Sequence[Row]) -> None:
        """Append a line."""
        figures = [self._progress.add(row) for row in rows][-1]
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = pd.DataFrame([{"time": time, "wanted": self._wanted, **figures}]).replace(
            [math.inf, -math.inf], math.nan
        )
        new = not self._file.exists()
        if not new:  # an earlier start may have had other metrics
            line = line.reindex(columns=pd.read_csv(self._file, nrows=0).columns)
        line.to_csv(self._file, mode="a", header=new, index=False, float_format="%.6g", lineterminator="\n")
