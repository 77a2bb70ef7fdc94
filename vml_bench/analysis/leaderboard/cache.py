"""Finished rows of a leaderboard, kept by the content they were made from: only what changed is computed again.

results/.cache/<dataset>.rows holds one line per run: a digest of the rest of the line, then JSON. What is damaged, out
of date or cannot be written is treated as absent; deleting the folder costs time and nothing else. The rows are JSON in
one file, not joblib.Memory's pickles in two files per run: results are handed around, reading a pickle runs what it
says, and 1,000 kept rows come back three times faster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from vml_bench.configuration import PACKAGE
from vml_bench.files import replacing, sha256
from vml_bench.store import layout, parts
from vml_bench.store.features import feature_files

MODULES = (
    *("analysis.leaderboard.aggregate", "analysis.leaderboard.intervals", "columns", "identity", "metrics.frechet"),
    *("store.features", "store.parts", "store.runs"),
)
"""The code that makes rows."""


@dataclass(frozen=True)
class Finished:
    """What a leaderboard takes from a run's tables.

    Attributes:
        row: its row, by column.
        images: digest of the ids of its images.
        warnings: what a reader must know about it.
    """

    row: dict[str, Any]
    images: str
    warnings: tuple[str, ...]


def digest_of(files: Iterable[Path]) -> str:
    """Digest of files by name and content. Raises OSError where one cannot be read."""
    return _digest(*(f"{file.name} {sha256(file)}" for file in files))


@lru_cache(maxsize=1)
def code_version() -> str:
    """Digest of the code that makes rows, and the versions of what it computes with."""
    files = [PACKAGE.joinpath(*name.split(".")).with_suffix(".py") for name in MODULES]
    return _digest(np.__version__, pd.__version__, scipy.__version__, *map(sha256, files))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


class RowCache:
    """Finished rows of one data set. A row is on disk as soon as it is finished; rows not asked for are forgotten.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
    """

    def __init__(self, results_dir: str | Path, dataset: str) -> None:
        self._file = Path(results_dir, ".cache", f"{dataset}.rows")
        self._known = dict(_rows(self._file))
        self._used: dict[str, Finished] = {}
        self._originals: dict[Path, str] = {}

    def __enter__(self) -> RowCache:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and not self._known.keys() <= self._used.keys():
            with suppress(OSError), replacing(self._file) as partial:
                partial.write_bytes(b"".join(_line(key, row) for key, row in self._used.items()))

    def row(self, folder: Path, originals: Path, finish: Callable[[], Finished]) -> Finished:
        """The row of a run: as it was kept, or finished now and kept."""
        try:
            key = self._fingerprint(folder, originals)
        except OSError:  # a file cannot be read, so nothing tells whether the row is still right
            return finish()
        row = self._known.get(key)
        if row is None:
            row = finish()
            with suppress(OSError):
                self._append(_line(key, row))
        self._used[key] = row
        return row

    def _fingerprint(self, folder: Path, originals: Path) -> str:
        """Digest of what a row is made from: the run's files, the originals' features if it has features, the code."""
        tables = [folder / layout.CONFIG, folder / layout.RECORD, parts.table(folder), folder / layout.SCENES]
        own = feature_files(folder)
        files = digest_of([*(file for file in tables if file.is_file()), *own])
        if own and originals not in self._originals:
            self._originals[originals] = digest_of(feature_files(originals))
        return _digest(code_version(), "/".join(folder.parts[-3:]), files, self._originals[originals] if own else "")

    def _append(self, line: bytes) -> None:
        if not self._file.parent.is_dir():
            with replacing(self._file.with_name(".gitignore")) as partial:
                partial.write_text("*\n")
        with open(self._file, "ab") as file:
            file.write(line)


def _line(key: str, row: Finished) -> bytes:
    """A line of the file; the line break comes first and ends what a stopped process may have left."""
    content = json.dumps([key, row.row, row.images, row.warnings]).encode()
    return b"\n" + hashlib.sha256(content).hexdigest().encode() + b" " + content


def _rows(file: Path) -> Iterator[tuple[str, Finished]]:
    """The rows of a file whose lines are whole, by fingerprint."""
    lines: list[bytes] = []
    with suppress(OSError):
        lines = file.read_bytes().split(b"\n")
    for line in lines:
        digest, _, content = line.partition(b" ")
        if content and hashlib.sha256(content).hexdigest().encode() == digest:
            with suppress(ValueError, TypeError):
                key, row, images, warnings = json.loads(content)
                yield key, Finished(dict(row), images, tuple(warnings))
