"""W&B for the tests: offline, silent, all of its files under the test's own folder, its service ended afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from vml_bench.columns import KEYS

WHICH = [name for name in KEYS if name not in ("n", "diverged")]
"""Columns of a leaderboard's row that say which run it is."""


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B without a key, whatever this machine has."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "wandb_own" / name.lower()))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    wandb.teardown()


@pytest.fixture(scope="package", autouse=True)
def _end_of_service() -> Iterator[None]:
    yield
    wandb.teardown()


def unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        node = nested
        *parents, leaf = name.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return nested


class OfflineRun:
    """An offline run as wandb's own reader reads it.

    Attributes:
        run: what the run record says: run_id, run_group, job_type, display_name, tags, project …
        config: the configuration.
        history: what was logged, entry after entry.
        summary: the last value of everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        answer = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", folder],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
        records = [json.loads(line) for line in answer.stdout.splitlines()]
        (self.run,) = (record["run"] for record in records if record["type"] == "run")
        self.config = unflatten(self.run["config"]["update"])
        self.history = [record["history"]["item"] for record in records if record["type"] == "history"]
        flat: dict[str, Any] = {}
        for record in records:
            if record["type"] == "summary":
                flat |= record["summary"]["update"]
        self.summary = unflatten(flat)

    def table(self, key: str = "images") -> list[dict[str, Any]]:
        """The rows of a table, that of all images or another."""
        content = json.loads((self.folder / "files" / self.summary[key]["path"]).read_text())
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def waiting(results: Path) -> list[Path]:
    """Folders of offline runs that wait for their upload."""
    return sorted((results / "wandb").glob("offline-run-*"))
