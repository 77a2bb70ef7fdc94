"""What the tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from vml_bench.configuration import config_dir

torch.set_num_threads(1)  # sums in one order, so that equal work gives equal bytes
# output is folded to COLUMNS, which xdist sets for its workers, and readline for the children of what imported it
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")  # readline's is not in os.environ


@pytest.fixture
def cell_config(tmp_path: Path) -> Callable[[Sequence[str]], DictConfig]:
    """Compose one cell's configuration from overrides, with its results under the test's own folder."""

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose("config", [f"runner.results_dir={tmp_path}", *overrides])

    return composed
