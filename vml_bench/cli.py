"""The command `vml-bench`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.errors import InputError

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig
    from pandas import DataFrame

    from vml_bench.published import Published

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


def leaderboard(arguments: argparse.Namespace) -> None:
    """Write tables and figures from what is on disk, and print the tables.

    Raises:
        InputError: nothing to show, features asked for whose weights are not at hand, or a data set about which
            nothing is published.
    """
    from vml_bench import leaderboard as tables
    from vml_bench.figures import write_figures
    from vml_bench.published import read_published
    from vml_bench.runner.validation import choose_device

    results: Path = arguments.results
    claims = read_published() if arguments.published else None
    if claims and arguments.dataset:
        claims.require(arguments.dataset)
    networks = {name: tables.extractor(name, choose_device(arguments.device)) for name in arguments.features}
    frames, written, failures = {}, [], []
    try:
        found = tables.datasets(results, arguments.dataset)
    except InputError as error:
        found, failures = [], [error]
    for dataset in found:
        try:
            for name, extract in networks.items():
                tables.store_features(results, dataset, name, extract, arguments.synthetic)
            frame, warnings = tables.build(results, dataset, arguments.synthetic)
        except InputError as error:
            failures.append(error)
            continue
        for warning in warnings:
            print(f"note: {warning}", file=sys.stderr)
        print(tables.format_table(frame))
        frames[dataset] = frame
        written += tables.write(frame, results / dataset)
        if not arguments.no_figures:
            written += write_figures(results, dataset, synthetic=arguments.synthetic)
    if not frames and not claims:
        raise_all(failures)
    for error in failures:
        print(f"note: {error}", file=sys.stderr)
    if frames and not arguments.dataset:
        written.append(tables.write_csv(list(frames.values()), results / "leaderboard.csv"))
    if claims:
        written += published(claims, results, arguments.dataset, frames)
    print("\n".join(["", *(f"wrote {path}" for path in written)]))


def published(claims: Published, results: Path, dataset: str | None, frames: dict[str, DataFrame]) -> list[Path]:
    """Compare leaderboards with what papers claim; print and write the comparison, and return its paths."""
    from vml_bench.published import compare, format_comparison, write_comparison

    written = []
    for name in [dataset] if dataset else claims.names(list(frames)):
        frame = frames.get(name)
        comparison = compare(claims.about(name), frame)
        print(f"\n{format_comparison(comparison, name)}")
        synthetic = frame is not None and frame.attrs["synthetic"]
        written += write_comparison(comparison, name, results / name, synthetic)
    return written


def tuning(arguments: argparse.Namespace) -> None:
    """Print and write what a tuning sweep found: every setting of every method, best LPIPS first."""
    from vml_bench.leaderboard.tuning import tuning_table, write_tuning

    frame = tuning_table(arguments.results, arguments.dataset)
    print(frame.to_markdown(index=False, floatfmt=".3f"))
    print("\n".join(["", *(f"wrote {path}" for path in write_tuning(frame, arguments.results / arguments.dataset))]))


def protocols(arguments: argparse.Namespace) -> None:
    """Rescore a run from its pictures under other conventions; write and print how far each moves the numbers."""
    from vml_bench import protocols as report
    from vml_bench.runner.validation import choose_device

    frame = report.rescore(arguments.run, choose_device(arguments.device))
    print(report.format_report(frame))
    print("\n".join(["", *(f"wrote {path}" for path in report.write(frame, arguments.run))]))


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch weights into the cache; one that cannot be had does not keep the others from coming."""
    from vml_bench.fetch import obtain
    from vml_bench.fetch.catalogue import BY_HAND, FETCHABLE

    if arguments.list:
        print(obtain.listing())
        return
    failures = []
    for what in arguments.what or [entry.name for entry in FETCHABLE]:
        try:
            print(f"{what}: {obtain.fetch(what, arguments.mirror)}", flush=True)
        except InputError as error:
            failures.append(error)
    if not arguments.what:
        print(f"by hand: {', '.join(entry.name for entry in BY_HAND)}; `vml-bench fetch NAME` says how")
    raise_all(failures)


def doctor(arguments: argparse.Namespace) -> None:
    """Say what is missing for a target and how to get it; exit code 1 where something is."""
    from vml_bench import doctor as clinic

    missing = False
    for name in clinic.targets(arguments.target):
        needs = clinic.examine(name)
        print(clinic.report(name, needs), end="\n\n")
        missing |= any(need.missing for need in needs)
    if missing:
        raise SystemExit(1)


def card(arguments: argparse.Namespace) -> None:
    """Measure the prior and write its model card."""
    from vml_bench.priors.evaluation import write_card
    from vml_bench.priors.unet import shipped_checkpoint

    print(f"wrote {write_card(arguments.checkpoint or shipped_checkpoint())}")


HYDRA_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"run": run, "plan": plan, "train": train}
"""Commands that take Hydra's overrides and options."""


def parser() -> argparse.ArgumentParser:
    """The command line; `run` and `train` take Hydra overrides."""
    top = argparse.ArgumentParser(
        prog="vml-bench", description="Benchmarks for inverse problems with diffusion models."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in HYDRA_COMMANDS.items():
        commands.add_parser(name, help=command.__doc__.splitlines()[0], add_help=False)
    table = commands.add_parser("leaderboard", help="write and print tables and figures from results on disk")
    table.add_argument("--dataset", help="one data set; default: every one with results")
    table.add_argument("--results", type=Path, default=Path("results"), help="results folder (runner.results_dir)")
    table.add_argument("--no-figures", action="store_true", help="tables only")
    table.add_argument("--published", action="store_true", help="compare with what papers claim, too")
    table.add_argument("--synthetic", action="store_true", help="show runs with made-up weights or images, too")
    table.add_argument(
        "--features",
        action="append",
        default=[],
        metavar="NETWORK",
        help="first compute these features from the pictures on disk (alex, inception, inception_legacy_pytorch, "
        "inception_torch_fidelity, inception_torchvision); may be given several times",
    )
    table.add_argument("--device", default="auto", help="where --features runs: auto, cpu, cuda, cuda:N, mps")
    table.set_defaults(act=leaderboard)
    tuned = commands.add_parser("tuning", help="what a tuning sweep found: every setting of every method")
    tuned.add_argument("--results", type=Path, default=Path("results/tuning"), help="its results folder")
    tuned.add_argument("--dataset", default="photos64_tune", help="its data set")
    tuned.set_defaults(act=tuning)
    rescore = commands.add_parser("protocols", help="how far each convention alone moves the numbers of a run")
    rescore.add_argument("run", type=Path, help="folder of a run: <results>/runs/<dataset>/<task>/<method>/<run>")
    rescore.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps")
    rescore.set_defaults(act=protocols)
    get = commands.add_parser("fetch", help="fetch weights, resumable and verified; say where data sets are to be had")
    get.add_argument("what", nargs="*", help="names as in --list; default: all that need no account")
    get.add_argument("--list", action="store_true", help="what there is, its size and licence, and whether it is here")
    get.add_argument("--mirror", metavar="URL", help="base URL that holds the files; default: $VML_BENCH_MIRROR")
    get.set_defaults(act=fetch)
    examine = commands.add_parser("doctor", help="what is missing for a target, and the command that gets it")
    examine.add_argument("target", nargs="?", help="ffhq, imagenet, celebahq, photos or demo; default: all")
    examine.set_defaults(act=doctor)
    measure = commands.add_parser("card", help="measure the photos64 prior and write its model card")
    measure.add_argument("--checkpoint", type=Path, help="safetensors file; default: the shipped weights")
    measure.set_defaults(act=card)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; what the user can mend is one line on stderr and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in HYDRA_COMMANDS:
            HYDRA_COMMANDS[argv[0]](argv[1:])
        else:
            arguments = parser().parse_args(argv)
            arguments.act(arguments)
    except InputError as error:
        print(f"vml-bench: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("vml-bench: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
