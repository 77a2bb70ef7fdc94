"""Sweeps as a user starts them, and what they leave on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from vml_bench.store.parts import read_features, read_rows

MEASURED = ["seconds", "memory_mb"]
"""Columns that differ from run to run."""


def start(*overrides: str, folder: Path, path: Path | None = None) -> subprocess.Popen:
    """`vml-bench run -m OVERRIDES` in a folder, a thread a process; `path` goes before the others on PATH."""
    search = os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]])
    return subprocess.Popen(
        [sys.executable, "-m", "vml_bench.cli", "run", "-m", *overrides],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": search},
    )


def sweep(*overrides: str, folder: Path, path: Path | None = None) -> tuple[int, str]:
    """Exit code and output of a sweep that has ended."""
    process = start(*overrides, folder=folder, path=path)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def pictures(results: Path) -> dict[str, bytes]:
    """Every PNG under a results folder by its path in it."""
    return {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("*.png")}


def runs(results: Path) -> dict[str, Path]:
    """Every run's folder by its path in a results folder."""
    return {str(file.parent.relative_to(results)): file.parent for file in results.glob("runs/*/*/*/*/run.json")}


def assert_equal_results(ours: Path, theirs: Path) -> None:
    """Same runs, and in each the same rows, features and pictures, byte for byte; only times and memory differ."""
    mine, others = runs(ours), runs(theirs)
    assert mine.keys() == others.keys()
    assert pictures(ours) == pictures(theirs)
    for name, folder in mine.items():
        rows, expected = (read_rows(each).drop(columns=MEASURED) for each in (folder, others[name]))
        pd.testing.assert_frame_equal(rows, expected, check_exact=True)
        features, expected_features = (read_features(each) for each in (folder, others[name]))
        assert features.keys() == expected_features.keys()
        for network, vectors in features.items():
            assert {key: vector.tobytes() for key, vector in vectors.items()} == {
                key: vector.tobytes() for key, vector in expected_features[network].items()
            }
