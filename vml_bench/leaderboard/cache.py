"""Finished rows of a leaderboard, kept by the content they were made from: only what changed is computed again.

results/.cache/<dataset>.rows holds a line a run: a digest of the rest of the line, then JSON. Whatever is damaged,
out of date or cannot be written is as if it were not there; deleting the folder costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from vml_bench.files import replacing, sha256
from vml_bench.leaderboard import columns, features, intervals, runs
from vml_bench.leaderboard.features import feature_files
from vml_bench.metrics import frechet
from vml_bench.store import parts


@dataclass(frozen=True)
class Finished:
    """What a leaderboard takes from a run.

    Attributes:
        row: its row, in the order of `columns.ROW`.
        synthetic: its images or its weights are made up.
        exact: it is scored against an exact posterior.
        images: digest of the ids of its images.
        warnings: what a reader must know about it.
    """

    row: tuple[object, ...]
    synthetic: bool
    exact: bool
    images: str
    warnings: tuple[str, ...]


class Fingerprints:
    """What rows depend on, as digests: every file of a run that its row is made from, the originals' features where
    the run has features, and the code.

    Args:
        originals: folder of the originals.
    """

    def __init__(self, originals: Path) -> None:
        self._folder = originals

    def of(self, folder: Path) -> str:
        """The digest of a run; nothing where a file cannot be read, so that nothing is kept under it."""
        tables = [folder / "config.yaml", folder / "run.json", parts.table(folder), folder / "oracle.parquet"]
        own = feature_files(folder)
        with suppress(OSError):
            files = digest_of([*(file for file in tables if file.is_file()), *own])
            place = "/".join(folder.parts[-3:])
            return _digest(code_version(), place, files, self._originals if own else "")
        return ""

    @cached_property
    def _originals(self) -> str:
        return digest_of(feature_files(self._folder))


def digest_of(files: Iterable[Path]) -> str:
    """Digest of files by name and content. Raises OSError where one cannot be read."""
    return _digest(*(f"{file.name} {sha256(file)}" for file in files))


@lru_cache(maxsize=1)
def code_version() -> str:
    """Digest of the code that makes rows, and the versions of what it computes with."""
    from vml_bench.leaderboard import aggregate

    modules = (aggregate, columns, features, intervals, runs, frechet, parts)
    return _digest(np.__version__, pd.__version__, scipy.__version__, *(sha256(module.__file__) for module in modules))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


class RowCache:
    """Finished rows of one data set; a row is on disk as soon as it is put in, and a closed cache holds what was used.

    Args:
        results_dir: the folder that holds runs/.
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
    content = json.dumps([key, row.row, row.synthetic, row.exact, row.images, row.warnings]).encode()
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
                key, row, synthetic, exact, images, warnings = json.loads(content)
                yield key, Finished(tuple(row), synthetic, exact, images, tuple(warnings))
