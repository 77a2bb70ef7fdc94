"""What is computed from runs, kept by the content that it was computed from: only what changed is computed again.

A file below results/.cache holds a digest and, on the next line, JSON. What is damaged, out of date or cannot be
written is treated as absent; deleting the folder costs time and nothing else. It is JSON in one file, not
joblib.Memory's pickles in two files per value: results are handed around, reading a pickle runs what it says, and 1,000
kept rows come back three times faster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from vml_bench.configuration import PACKAGE
from vml_bench.files import sha256
from vml_bench.text import write_files

Keep = Callable[[str, Callable[[], Any]], Any]
"""Gives the value of a key, ready for JSON: as it was kept, or made now by a function."""


def digest(lines: Iterable[str]) -> str:
    """Digest of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache
def version_of(modules: tuple[str, ...]) -> str:
    """Digest of the code of modules of this package, and the versions of what they compute with."""
    files = [PACKAGE.joinpath(*name.split(".")).with_suffix(".py") for name in modules]
    return digest([np.__version__, pd.__version__, scipy.__version__, *map(sha256, files)])


@contextmanager
def kept(results_dir: str | Path, name: str) -> Iterator[Keep]:
    """Yields what gives a value that is made at most once for each key.

    Values are written when the block ends, by an error too. If it ends well, those not asked for are forgotten.

    Args:
        results_dir: the results folder.
        name: of the file in its .cache.
    """
    file = Path(results_dir, ".cache", name)
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError, AttributeError):
        said, content = file.read_text().split("\n", 1)
        if said == digest([content]):
            known = dict(json.loads(content).items())
    used: dict[str, Any] = {}

    def value(key: str, make: Callable[[], Any]) -> Any:
        if key not in used:
            used[key] = known[key] if key in known else make()
        return used[key]

    unused = known
    try:
        yield value
        unused = {}
    finally:
        left = unused | used
        if left.keys() != known.keys():
            content = json.dumps(left)
            with suppress(OSError):
                write_files(file.parent, {".gitignore": "*\n", file.name: f"{digest([content])}\n{content}"})
