"""Commands that take Hydra's overrides and options: run, plan."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.errors import InputError, raise_all

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig


FAILED: list[InputError] = []
"""What was wrong with cells that this process ran, or had run by a launcher."""

LAUNCHER_EXTRA = "pip install 'vml-bench[launchers]'"


class Failed:
    """The outcome of a cell that could not be run.

    It is noted in `FAILED` where it is made, and where it arrives from another process: launchers hand outcomes back
    by pickling them, and Hydra's sweeper looks at no more than the first exception among them.
    """

    def __init__(self, error: InputError) -> None:
        self.error = error
        FAILED.append(error)

    def __reduce__(self) -> tuple[type[Failed], tuple[InputError]]:
        return type(self), (self.error,)


def hydra_command(config_name: str, task: Callable, overrides: Sequence[str]) -> None:
    """Compose `conf/<config_name>.yaml` with Hydra overrides and hand it to `task` (once a cell in a sweep).

    Raises:
        InputError: an override or a name that Hydra refuses, with what it offers instead; a launcher that is not
            installed or has no SLURM here; a launched process that was killed.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from vml_bench.configuration import config_dir
    from vml_bench.keys import unread

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hands us the exception; we print it as one line
    sys.argv = ["vml-bench", *overrides]
    OmegaConf.register_new_resolver("gpus", gpus, replace=True)
    application = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(task)
    try:
        application()
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__context__, InputError):  # a resolver's
            raise error.__context__ from None
        said = " ".join(str(error).split("Config search path")[0].split())
        if key := re.match(r"Could not override '([^']+)'", said):
            raise unread(key.group(1), known_keys(config_name, overrides)) from error
        remedy = LAUNCHER_EXTRA if "load 'hydra/launcher/" in said else "`vml-bench run --help` lists groups and keys"
        raise InputError(said, remedy) from error
    except RuntimeError as error:
        raise of_launcher(error) from error
    except ValueError as error:
        if not str(error).startswith("Config group override"):
            raise
        raise InputError(f"{error}", "choose an option; `vml-bench run --help` lists them") from error


def known_keys(config_name: str, overrides: Sequence[str]) -> list[str]:
    """Keys of the configuration that the overrides choose, without the values that they set."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from vml_bench.configuration import config_dir
    from vml_bench.keys import keys_of

    chosen = [text for text in overrides if re.fullmatch(r"[a-z]+=[A-Za-z0-9_/]+", text)]
    own = [Path(after).resolve() for text, after in pairwise(overrides) if text in ("--config-dir", "-cd")]
    chosen += [f"hydra.searchpath=[file://{folder}]" for folder in own]
    for choices in (chosen, []):
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(config_dir()), version_base="1.3"):
                return keys_of(OmegaConf.to_container(compose(config_name, choices)))
        except HydraException:
            continue
    return []


def gpus(fewest: int = 1) -> int:
    """What `${gpus:}` means in a launcher's configuration: the number of GPUs, `fewest` or more."""
    from vml_bench.runner.device import gpus as visible

    return visible(fewest)


def of_launcher(error: RuntimeError) -> RuntimeError | InputError:
    """The same error, or, where a launcher and not a cell raised it, what the user can do about it."""
    if 'Could not detect "srun"' in str(error):
        return InputError("there is no SLURM on this machine", "use hydra/launcher=slurm_local, processes or gpus")
    if type(error).__module__.partition(".")[0] not in ("joblib", "submitit"):
        return error
    said = str(error).strip().splitlines() or [type(error).__name__]
    if said[0].startswith("sbatch:"):
        return InputError(
            f"SLURM refused the sweep ({' '.join(said)})", "set hydra.launcher.partition, account, qos, …"
        )
    return InputError(
        f"a process of the sweep was lost ({said[0]})",
        "start the same command again: what is done is kept; logs lie in the results folder under sweeps/",
    )


def run(overrides: Sequence[str]) -> None:
    """Run a cell (dataset=… task=… method=…) or, with -m and lists, a sweep of cells.

    A cell that cannot be run does not keep the others from running, in whatever process.

    Raises:
        InputError: what was wrong with the cells that could not be run.
    """
    parent = os.getpid()

    def task(config: DictConfig) -> Failed | None:
        from vml_bench.runner.validation import check_values

        try:
            check_values(config)

            from vml_bench.runner.run import run_cell  # and torch with it, seconds later

            print(f"results in {run_cell(config)}", file=sys.stderr)
        except InputError as error:
            if os.getpid() != parent:  # a launcher's process has a log of its own
                print(f"vml-bench: {error}", file=sys.stderr)
            return Failed(error)

    FAILED.clear()
    hydra_command("config", task, overrides)
    raise_all(FAILED)


def plan(overrides: Sequence[str]) -> None:
    """Print what the same command with `run` would cost; nothing is written or launched."""
    cells: list[DictConfig] = []
    here = [item for item in overrides if not item.lstrip("+").startswith(("hydra/launcher", "hydra.launcher"))]
    with tempfile.TemporaryDirectory() as scratch:
        quiet = ["~hydra.callbacks.progress", f"hydra.run.dir={scratch}", f"hydra.sweep.dir={scratch}"]
        hydra_command("config", cells.append, [*here, *quiet])

    from vml_bench.plan import format_plan
    from vml_bench.plan import plan as plan_cells

    print(format_plan(plan_cells(cells)))
