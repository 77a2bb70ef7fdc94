"""Finished rows of a leaderboard, kept by the content they were made from: only what changed is computed again.

results/.cache/<dataset>.rows holds a digest and, on the next line, JSON. What is damaged, out of date or cannot be
written is treated as absent; deleting the folder costs time and nothing else. The rows are JSON in one file, not
joblib.Memory's pickles in two files per run: results are handed around, reading a pickle runs what it says, and 1,000
kept rows come back three times faster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from vml_bench.configuration import PACKAGE
from vml_bench.files import sha256
from vml_bench.store import layout
from vml_bench.store.features import feature_files
from vml_bench.store.parts import table
from vml_bench.store.runs import Run
from vml_bench.text import write_files

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
    warnings: list[str]


def digest(lines: Iterable[str]) -> str:
    """Digest of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of(files: Iterable[Path]) -> str:
    """Digest of files by name and content. Raises OSError where one cannot be read."""
    return digest(f"{file.name} {sha256(file)}" for file in files)


@cache
def code_version() -> str:
    """Digest of the code that makes rows, and the versions of what it computes with."""
    files = [PACKAGE.joinpath(*name.split(".")).with_suffix(".py") for name in MODULES]
    return digest([np.__version__, pd.__version__, scipy.__version__, *map(sha256, files)])


@contextmanager
def kept_rows(results_dir: str | Path, dataset: str) -> Iterator[Callable[[Run, Callable[[Run], Finished]], Finished]]:
    """Yields what gives the row of a run: as it was kept, or finished now by the function that it is given.

    Rows are written when the block ends, by an error too. If it ends well, rows that were not asked for are forgotten.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
    """
    file = Path(results_dir, ".cache", f"{dataset}.rows")
    known: dict[str, Finished] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        said, content = file.read_text().split("\n", 1)
        if said == digest([content]):
            known = {key: Finished(*fields) for key, fields in json.loads(content).items()}
    used: dict[str, Finished] = {}
    of_originals = cache(lambda folder: digest_of(feature_files(folder)))

    def row(run: Run, finish: Callable[[Run], Finished]) -> Finished:
        tables = [run.folder / layout.CONFIG, run.folder / layout.RECORD, table(run.folder), run.folder / layout.SCENES]
        features = feature_files(run.folder)
        try:
            files = digest_of([*filter(Path.is_file, tables), *features])
            key = digest(
                [code_version(), *run.folder.parts[-3:], files, of_originals(run.originals) if features else ""]
            )
        except OSError:  # a file cannot be read, so nothing tells whether the row is still right
            return finish(run)
        used[key] = known.get(key) or finish(run)
        return used[key]

    kept = known
    try:
        yield row
        kept = {}
    finally:
        kept = kept | used
        if kept.keys() != known.keys():
            content = json.dumps({key: astuple(finished) for key, finished in kept.items()})
            with suppress(OSError):
                write_files(file.parent, {".gitignore": "*\n", file.name: f"{digest([content])}\n{content}"})
