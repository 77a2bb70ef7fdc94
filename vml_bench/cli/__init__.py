"""The command `vml-bench`."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vml_bench.cli import results, sweeps, upkeep
from vml_bench.errors import InputError

USAGE_ERROR = 2
NO_ROOM_OR_RIGHT = (errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EROFS)
"""What the system says where nothing can be written."""

HYDRA_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": sweeps.run,
    "plan": sweeps.plan,
}
"""Commands that take Hydra's overrides and options."""


def parser() -> argparse.ArgumentParser:
    """The command line; `run` and `plan` take Hydra overrides."""
    top = argparse.ArgumentParser(
        prog="vml-bench", description="Benchmarks for inverse problems with diffusion models."
    )
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("--dataset", help="one data set; default: every one with results")
    runs.add_argument("--results", type=Path, default=Path("results"), help="results folder (runner.results_dir)")
    runs.add_argument("--synthetic", action="store_true", help="runs with made-up weights or images, too")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in HYDRA_COMMANDS.items():
        commands.add_parser(name, help=command.__doc__.splitlines()[0], add_help=False)
    table = commands.add_parser(
        "leaderboard", parents=[runs], help="write and print tables and figures from results on disk"
    )
    table.add_argument("--no-figures", action="store_true", help="tables only")
    table.add_argument("--tex-intervals", action="store_true", help="intervals in the LaTeX tables, too")
    table.add_argument("--published", action="store_true", help="compare with what papers claim, too")
    table.add_argument(
        "--features",
        action="append",
        default=[],
        metavar="NETWORK",
        help="first compute these features from the pictures on disk (alex, inception, inception_legacy_pytorch, "
        "inception_torch_fidelity, inception_torchvision); may be given several times",
    )
    table.add_argument("--device", default="auto", help="where --features runs: auto, cpu, cuda, cuda:N, mps")
    table.set_defaults(act=results.leaderboard)
    page = commands.add_parser(
        "report", parents=[runs], help="write a page of tables, plots and pictures from results on disk"
    )
    page.add_argument("--out", type=Path, help="the page's folder; default: report/ in the results folder")
    page.set_defaults(act=results.report)
    tuned = commands.add_parser("tuning", help="what a tuning sweep found: every setting of every method")
    tuned.add_argument("--results", type=Path, default=Path("results/tuning"), help="its results folder")
    tuned.add_argument("--dataset", default="photos64_tune", help="its data set")
    tuned.set_defaults(act=results.tuning)
    watch = commands.add_parser(
        "track", parents=[runs], help="log what is on disk and what papers claim in Weights & Biases"
    )
    watch.add_argument("--project", help="W&B project; default: $WANDB_PROJECT, or vml-bench")
    watch.add_argument("--entity", help="W&B user or team; default: $WANDB_ENTITY, or the key's own")
    watch.add_argument("--tag", help="a W&B tag that is part of the runs' ids, as in tracker.tag")
    watch.set_defaults(act=results.track)
    versus = commands.add_parser(
        "compare", parents=[runs], help="which methods are apart and which are tied, on the same images"
    )
    versus.add_argument(
        "--metric",
        default="lpips_alex",
        help="what to print: lpips_alex, lpips_vgg, psnr, ssim, or a metric of your own; the files hold all",
    )
    versus.add_argument(
        "--by",
        default="auto",
        choices=("auto", "image", "photograph"),
        help="what to draw anew: image, photograph (an id up to its first '-'); auto: photograph for photos64",
    )
    versus.set_defaults(act=results.compare)
    refer = commands.add_parser("cite", parents=[runs], help="BibTeX of what stands behind the runs on disk")
    refer.set_defaults(act=results.cite)
    rescore = commands.add_parser("protocols", help="how far each convention alone moves the numbers of a run")
    rescore.add_argument("run", type=Path, help="folder of a run: <results>/runs/<dataset>/<task>/<method>/<run>")
    rescore.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps")
    rescore.set_defaults(act=results.protocols)
    one = commands.add_parser("show", help="one run: its command, problem, prior, settings, scores and pictures")
    one.add_argument("run", help="its folder, its name (the ten digits), or the first of them")
    one.add_argument("--results", type=Path, default=Path("results"), help="results folder (runner.results_dir)")
    one.add_argument("--image", metavar="ID", help="show this image's row and paths in place of the run")
    one.set_defaults(act=results.show)
    get = commands.add_parser("fetch", help="fetch and verify weights (no resuming); say where to get data sets")
    get.add_argument("what", nargs="*", help="names as in --list, or targets as of doctor; default: all weights")
    get.add_argument("--list", action="store_true", help="list everything with size, licence and whether it is here")
    get.add_argument("--mirror", metavar="URL", help="base URL of a mirror; default: $VML_BENCH_MIRROR")
    get.set_defaults(act=upkeep.fetch)
    examine = commands.add_parser("doctor", help="what is missing for a target, and the command that gets it")
    examine.add_argument("target", nargs="?", help="ffhq, imagenet, celebahq, photos or demo; default: all")
    examine.set_defaults(act=upkeep.doctor)
    check = commands.add_parser("verify", help="check all that runs left on disk, and say what to run again")
    check.add_argument("--dataset", help="one data set; default: every one with results")
    check.add_argument("--results", type=Path, default=Path("results"), help="results folder (runner.results_dir)")
    check.set_defaults(act=upkeep.verify)
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
    except OSError as error:
        if error.errno not in NO_ROOM_OR_RIGHT:
            raise
        print(f"vml-bench: {error}; make room or give access, then start the same command again", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    except KeyboardInterrupt:
        print("vml-bench: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
