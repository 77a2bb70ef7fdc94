"""Finished rows of a leaderboard, kept by the content they were made from: results/.cache/<dataset>.rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vml_bench.analysis.kept import digest, kept, version_of
from vml_bench.files import sha256
from vml_bench.store import layout
from vml_bench.store.features import feature_files
from vml_bench.store.parts import table
from vml_bench.store.runs import Run

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


def digest_of(files: Iterable[Path]) -> str:
    """Digest of files by name and content. Raises OSError where one cannot be read."""
    return digest(f"{file.name} {sha256(file)}" for file in files)


def code_version() -> str:
    """Digest of the code that makes rows, and the versions of what it computes with."""
    return version_of(MODULES)


@contextmanager
def kept_rows(results_dir: str | Path, dataset: str) -> Iterator[Callable[[Run, Callable[[Run], Finished]], Finished]]:
    """Yields what gives the row of a run: as it was kept, or finished now by the function that it is given.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
    """
    of_originals = cache(lambda folder: digest_of(feature_files(folder)))
    with kept(results_dir, f"{dataset}.rows") as keep:

        def row(run: Run, finish: Callable[[Run], Finished]) -> Finished:
            tables = [run.folder / name for name in (layout.CONFIG, layout.RECORD, layout.SCENES)]
            features = feature_files(run.folder)
            try:
                files = digest_of([*filter(Path.is_file, [*tables, table(run.folder)]), *features])
                key = digest(
                    [code_version(), *run.folder.parts[-3:], files, of_originals(run.originals) if features else ""]
                )
            except OSError:  # a file cannot be read, so nothing tells whether the row is still right
                return finish(run)
            return Finished(*keep(key, lambda: astuple(finish(run))))

        yield row
