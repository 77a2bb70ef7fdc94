"""Finished rows of a leaderboard, kept by the content they were made from: only what changed is computed again.

results/.cache/<dataset>.rows holds one line per run: a digest of the rest of the line, then JSON. Whatever is damaged,
out of date or cannot be written is as if it were not there; deleting the folder costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
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
from vml_bench.store.features import Originals, feature_files

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


class Fingerprints:
    """What rows depend on, as digests: every file of a run that its row is made from, the originals' features where
    the run has features, and the code."""

    @staticmethod
    def of(folder: Path, originals: Originals) -> str:
        """The digest of a run; nothing where a file cannot be read, so that nothing is kept under it."""
        tables = [folder / layout.CONFIG, folder / layout.RECORD, parts.table(folder), folder / layout.SCENES]
        own = feature_files(folder)
        with suppress(OSError):
            files = digest_of([*(file for file in tables if file.is_file()), *own])
            place = "/".join(folder.parts[-3:])
            return _digest(code_version(), place, files, _originals(originals.folder) if own else "")
        return ""


@lru_cache(maxsize=64)
def _stamped(files: tuple[tuple[str, int, int], ...]) -> str:
    return digest_of([Path(name) for name, _, _ in files])


def _originals(folder: Path) -> str:
    """Digest of the originals' features, taken once as long as the files keep size and time."""
    status = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in feature_files(folder)]
    return _stamped(tuple(status))


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
    """Finished rows of one data set; a row is on disk as soon as it is put in, and a closed cache holds what was used.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
    """

    def __init__(self, results_dir: str | Path, dataset: str) -> None:
        self._file = Path(results_dir, ".cache", f"{dataset}.rows")
        self._known, self._whole = _read(self._file)
        self._used: dict[str, Finished] = {}

    def __enter__(self) -> RowCache:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and not (self._whole and self._known.keys() <= self._used.keys()):
            with suppress(OSError), replacing(self._file) as partial:
                partial.write_bytes(b"".join(_line(key, row) for key, row in self._used.items()))

    def get(self, key: str) -> Finished | None:
        """The row kept under a fingerprint."""
        found = self._known.get(key)
        if found is not None:
            self._used[key] = found
        return found

    def put(self, key: str, row: Finished) -> Finished:
        """Keep a row under a fingerprint, if there is one, and return it."""
        if key:
            self._used[key] = row
            with suppress(OSError):
                self._append(_line(key, row))
        return row

    def _append(self, line: bytes) -> None:
        if not self._file.parent.is_dir():
            with replacing(self._file.with_name(".gitignore")) as partial:
                partial.write_text("*\n")
        with open(self._file, "ab") as file:
            file.write(line)


def _line(key: str, row: Finished) -> bytes:
    """A line of the file; it begins with the line break, which ends what a stopped process may have left."""
    content = json.dumps([key, row.row, row.images, row.warnings]).encode()
    return b"\n" + hashlib.sha256(content).hexdigest().encode() + b" " + content


def _read(file: Path) -> tuple[dict[str, Finished], bool]:
    """The rows of a file, and whether every line of it is one."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError:
        return {}, True
    rows = dict(_rows(lines))
    return rows, len(rows) == sum(map(bool, lines))


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[str, Finished]]:
    for line in lines:
        digest, _, content = line.partition(b" ")
        if content and hashlib.sha256(content).hexdigest().encode() == digest:
            with suppress(ValueError, TypeError):
                key, row, images, warnings = json.loads(content)
                yield key, Finished(dict(row), images, tuple(warnings))
