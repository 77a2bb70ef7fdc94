"""Commands that take Hydra's overrides and options: run, plan."""

from __future__ import annotations

import gc
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.errors import InputError, raise_all

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig

    from vml_bench.runner.progress import Done


FAILED: list[InputError] = []
"""What was wrong with cells that this process ran, or had run by a launcher."""
DONE: list[Done] = []
"""What came of the others."""

HOME = re.compile(r"([+]{0,2}[\w./@]+=)(~(?:/.*)?)", re.DOTALL)
LAUNCHER = ("hydra/launcher", "hydra.launcher")
"""Overrides that a plan, which launches nothing, leaves aside."""
LAUNCHER_EXTRA = "pip install 'vml-bench[launchers]'"


class Ran:
    """The outcome of a cell that was run, noted in `DONE` where it is made and where it arrives, as `Failed` is."""

    def __init__(self, done: Done) -> None:
        self.done = done
        DONE.append(done)

    def __reduce__(self) -> tuple[type[Ran], tuple[Done]]:
        return type(self), (self.done,)


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


@contextmanager
def refusals(config_name: str, overrides: Sequence[str]) -> Iterator[None]:
    """What Hydra, a resolver or a launcher refuses, as what the user can do about it.

    Raises:
        InputError: an override or a name that Hydra refuses, with what it offers instead; a launcher that is not
            installed or has no SLURM here; a launched process that was killed.
    """
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    from vml_bench.keys import unread

    try:
        yield
    except OverrideParseException as error:
        raise as_written(str(error.override)) from error
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


def as_written(override: str) -> InputError:
    """The refusal of an argument that Hydra's grammar does not take, with the argument as it must be written."""
    from vml_bench.runner.command import override_value

    key, is_override, value = override.partition("=")
    if not is_override:
        return InputError(f"{override!r} is no override", "write key=value; `vml-bench run --help` lists the keys")
    plain = not {'"', "\\"} & set(value)  # the simpler quotes within a shell's
    quoted = shlex.quote(f'{key}="{value}"' if plain else f"{key}={override_value(value)}")
    return InputError(f"Hydra's grammar does not take {override!r} as it stands", f"quote the value: {quoted}")


def hydra_command(config_name: str, task: Callable, overrides: Sequence[str]) -> None:
    """Compose `conf/<config_name>.yaml` with Hydra overrides and hand it to `task` (once a cell in a sweep).

    Raises:
        InputError: see `refusals`.
    """
    import hydra
    from omegaconf import OmegaConf

    from vml_bench.configuration import config_dir

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hands us the exception; we print it as one line
    sys.argv = ["vml-bench", *overrides]
    OmegaConf.register_new_resolver("gpus", gpus, replace=True)
    application = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(task)
    with refusals(config_name, overrides):
        application()


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


def home(overrides: Sequence[str]) -> list[str]:
    """Overrides with `~` in front of a path as a shell would have it: `dataset.root=~/images`."""
    from vml_bench.runner.command import override_value

    return [
        f"{match[1]}{override_value(os.path.expanduser(match[2]))}" if (match := HOME.fullmatch(text)) else text
        for text in overrides
    ]


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

    def task(config: DictConfig) -> Failed | Ran:
        from vml_bench.runner.validation import check_values

        try:
            check_values(config)

            from vml_bench.runner.cell import Cell  # and torch with it, seconds later
            from vml_bench.runner.command import given
            from vml_bench.runner.run import Runner
            from vml_bench.text import say

            runner = Runner(Cell(config, given()))
            runner.run()
            done = runner.done()
            say(done.line())
            if not DONE and done.picture:
                say(f"a picture: {done.picture}")
            sys.stdout.flush()
            return Ran(done)
        except InputError as error:
            if os.getpid() != parent:  # a launcher's process has a log of its own
                print(f"vml-bench: {error}", file=sys.stderr)
            return Failed(error)

    FAILED.clear()
    DONE.clear()
    hydra_command("config", task, home(overrides))
    if len(DONE) + len(FAILED) > 1 and DONE:
        from vml_bench.runner.progress import summary
        from vml_bench.text import say

        say(summary(DONE))
        sys.stdout.flush()  # before what is said of the others
    raise_all(FAILED)


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's garbage collector at rest: in what is imported it finds nothing, and takes a seventh of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def plan(arguments: Sequence[str]) -> None:
    """Print what the same command with `run` would cost; nothing is written or launched."""
    import argparse

    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from vml_bench.configuration import config_dir
    from vml_bench.runner.command import override_value
    from vml_bench.text import say

    parser = argparse.ArgumentParser(prog="vml-bench plan", description=plan.__doc__)
    parser.add_argument("--measure", action="store_true", help="time a pass of the network here, not estimate it")
    parser.add_argument("-m", "--multirun", action="store_true", help="the overrides hold lists: plan their sweep")
    parser.add_argument("-cd", "--config-dir", type=Path, help="a folder of further configuration")
    parser.add_argument("overrides", nargs="*", help="as of `vml-bench run`")
    given = parser.parse_intermixed_args(arguments)
    overrides = [text for text in home(given.overrides) if not text.lstrip("+").startswith(LAUNCHER)]
    if given.config_dir:
        overrides.append(f"hydra.searchpath=[{override_value(f'file://{given.config_dir.expanduser().resolve()}')}]")
    with refusals("config", overrides), initialize_config_dir(str(config_dir()), version_base="1.3"):
        from vml_bench.runner.sweep import planned

        cells = planned("config", overrides, GlobalHydra.instance().config_loader(), given.multirun)
        first = next(cells)  # what Hydra refuses is refused before torch is imported

        with uncollected():
            from vml_bench.plan import format_plan
            from vml_bench.plan import plan as plan_cells

        text = format_plan(plan_cells(chain([first], cells), given.measure))
    say(text)
