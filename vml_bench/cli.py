"""The command `vml-bench`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.errors import InputError

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig

USAGE_ERROR = 2


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


def raise_all(failures: Sequence[InputError]) -> None:
    """Raise one error that names each of `failures` once; none where there are none."""
    if failures:
        raise InputError("; ".join(dict.fromkeys(map(str, failures))), "")


def run(overrides: Sequence[str]) -> None:
    """Run one cell, or a sweep of cells; a cell that cannot be run does not keep the others from running.

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


def leaderboard(arguments: argparse.Namespace) -> None:
    """Write tables and figures from what is on disk, and print the tables."""
    from vml_bench import leaderboard as tables
    from vml_bench.figures import write_figures

    frames, written = [], []
    for dataset in tables.datasets(arguments.results, arguments.dataset):
        frame, warnings = tables.build(arguments.results, dataset)
        for warning in warnings:
            print(f"note: {warning}", file=sys.stderr)
        print(tables.format_table(frame))
        frames.append(frame)
        written += tables.write(frame, arguments.results / dataset)
        if not arguments.no_figures:
            written += write_figures(arguments.results, dataset)
    if not arguments.dataset:
        written.append(tables.write_csv(frames, arguments.results / "leaderboard.csv"))
    print("\n".join(["", *(f"wrote {path}" for path in written)]))


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch weights into the cache."""
    from vml_bench.metrics import weights

    failures = []
    for what in arguments.what or weights.FETCHABLE:
        try:
            print(f"{what}: {weights.fetch(what)}")
        except InputError as error:
            failures.append(error)
    raise_all(failures)


def card(arguments: argparse.Namespace) -> None:
    """Measure the prior and write its model card."""
    from vml_bench.priors.evaluation import write_card
    from vml_bench.priors.unet import shipped_checkpoint

    print(f"wrote {write_card(arguments.checkpoint or shipped_checkpoint())}")


def parser() -> argparse.ArgumentParser:
    """The command line; `run` and `train` take Hydra overrides."""
    top = argparse.ArgumentParser(
        prog="vml-bench", description="Benchmarks for inverse problems with diffusion models."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in (
        ("run", "run a cell (dataset=… task=… method=…) or, with -m and lists, a sweep of cells"),
        ("train", "train the photos64 prior, or go on with it"),
    ):
        commands.add_parser(name, help=help_text, add_help=False)
    table = commands.add_parser("leaderboard", help="write and print tables and figures from results on disk")
    table.add_argument("--dataset", help="one data set; default: every one with results")
    table.add_argument("--results", type=Path, default=Path("results"), help="results folder (runner.results_dir)")
    table.add_argument("--no-figures", action="store_true", help="tables only")
    table.set_defaults(act=leaderboard)
    get = commands.add_parser("fetch", help="fetch the metric networks' weights")
    get.add_argument("what", nargs="*", help="lpips, inception; default: all")
    get.set_defaults(act=fetch)
    measure = commands.add_parser("card", help="measure the photos64 prior and write its model card")
    measure.add_argument("--checkpoint", type=Path, help="safetensors file; default: the shipped weights")
    measure.set_defaults(act=card)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; what the user can mend is one line on stderr and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv[:1] == ["run"]:
            run(argv[1:])
        elif argv[:1] == ["train"]:
            train(argv[1:])
        else:
            arguments = parser().parse_args(argv)
            arguments.act(arguments)
    except InputError as error:
        print(f"vml-bench: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    except KeyboardInterrupt:
        print("vml-bench: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
