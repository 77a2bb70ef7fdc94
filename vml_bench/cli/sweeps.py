"""Commands that take Hydra's overrides and options: run, plan, train."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.errors import InputError, raise_all

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig


def hydra_command(config_name: str, task: Callable, overrides: Sequence[str]) -> None:
    """Compose `conf/<config_name>.yaml` with Hydra overrides and hand it to `task` (once a cell in a sweep).

    Raises:
        InputError: an override or a name that Hydra refuses, with what it offers instead.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from vml_bench.configuration import config_dir

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hands us the exception; we print it as one line
    sys.argv = ["vml-bench", *overrides]
    application = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(task)
    try:
        application()
    except (HydraException, OmegaConfBaseException) as error:
        said = " ".join(str(error).split("Config search path")[0].split())
        raise InputError(said, "`vml-bench run --help` lists groups and keys") from error


def run(overrides: Sequence[str]) -> None:
    """Run a cell (dataset=… task=… method=…) or, with -m and lists, a sweep of cells.

    A cell that cannot be run does not keep the others from running.

    Raises:
        InputError: what was wrong with the cells that could not be run.
    """
    parent, failures = os.getpid(), []

    def task(config: DictConfig) -> None:
        from vml_bench.runner.cell import run_cell

        try:
            print(f"results in {run_cell(config)}", file=sys.stderr)
        except InputError as error:
            if os.getpid() != parent:  # a launcher's own process: Hydra carries the error back
                raise
            failures.append(error)

    hydra_command("config", task, overrides)
    raise_all(failures)


def plan(overrides: Sequence[str]) -> None:
    """Print what the same command with `run` would cost; nothing is written."""
    cells: list[DictConfig] = []
    with tempfile.TemporaryDirectory() as scratch:
        quiet = ["~hydra.callbacks.progress", f"hydra.run.dir={scratch}", f"hydra.sweep.dir={scratch}"]
        hydra_command("config", cells.append, [*overrides, *quiet])

    from vml_bench.plan import format_plan
    from vml_bench.plan import plan as plan_cells

    print(format_plan(plan_cells(cells)))


def train(overrides: Sequence[str]) -> None:
    """Train the photos64 prior, or go on with it."""

    def task(config: DictConfig) -> None:
        from hydra.utils import instantiate

        from vml_bench.priors.training import train as train_prior

        train_prior(
            instantiate(config.prior, _convert_="all"),
            instantiate(config.training),
            Path(config.folder),
            Path(config.weights),
        )

    hydra_command("train", task, overrides)
