"""How far a run is, image by image: equal figures whether it is watched or read from disk afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from vml_bench.configuration import read_record
from vml_bench.runner.tracking import Row
from vml_bench.store import layout, read_rows

CONSTANT = ("nfe", "vjp", "memory_mb")
"""What hardly changes from image to image, and so has no running mean."""


def rows_on_disk(folder: Path) -> list[Row]:
    """The rows of a run's folder, none where no image is done yet."""
    return read_rows(folder).to_dict("records")


def images_wanted(folder: Path) -> int:
    """How many images a run was asked for, by its record."""
    return len(read_record(folder / layout.RECORD)["ids"])


class Progress:
    """Running figures of one run.

    Args:
        rows: images that are done already.
    """

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.images = 0
        self.diverged = 0
        self._sums: dict[str, float] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> dict[str, float]:
        """Count one more image.

        Returns:
            `images` and `diverged`, so many so far; `nfe_per_second`, network evaluations of single images a second
            in this image's batch; and the running mean of each number of a row over the images that did not
            diverge. NaN where there is no value.
        """
        self.images += 1
        self.diverged += row["status"] != layout.OK
        numbers = {
            name: float(value)
            for name, value in row.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in CONSTANT
        }
        for name, value in numbers.items():
            self._sums[name] = self._sums.get(name, 0.0) + (value if row["status"] == layout.OK else 0.0)
        good = self.images - self.diverged
        means = {name: self._sums[name] / good if good else math.nan for name in numbers}
        speed = row["nfe"] / row["seconds"] if row["seconds"] else math.nan
        return {"images": self.images, "diverged": self.diverged, "nfe_per_second": speed, **means}
