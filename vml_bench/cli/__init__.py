"""The command `vml-bench`."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vml_bench.cli import exchange, listing, results, sweeps, upkeep
from vml_bench.errors import InputError
from vml_bench.text import never_fail, say

USAGE_ERROR = 2
NO_ROOM_OR_RIGHT = (errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EROFS)
"""What the system says where nothing can be written."""

HYDRA_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": sweeps.run,
    "plan": sweeps.plan,
    "measurements": exchange.measurements,
    "score": exchange.score,
}
"""Commands that take Hydra's overrides and options."""


def parser() -> argparse.ArgumentParser:
    """The command line; `run` and `plan` take Hydra overrides."""
    top = argparse.ArgumentParser(
        prog="vml-bench", description="Benchmarks for inverse problems with diffusion models."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, act in HYDRA_COMMANDS.items():
        commands.add_parser(name, help=first_line(act), add_help=False)

    def command(name: str, act: Callable[[argparse.Namespace], None], *parents: argparse.ArgumentParser) -> Any:
        added = commands.add_parser(name, parents=parents, help=first_line(act), description=first_line(act))
        added.set_defaults(act=act)
        return added.add_argument

    def shared(name: str, *parents: argparse.ArgumentParser, **options: Any) -> argparse.ArgumentParser:
        made = argparse.ArgumentParser(add_help=False, parents=parents)
        made.add_argument(name, **options)
        return made

    folder = shared("--results", type=path, default=Path("results"), help="results folder (runner.results_dir)")
    dataset = shared("--dataset", folder, help="one data set; default: every one with results")
    runs = shared("--synthetic", dataset, action="store_true", help="runs with made-up weights or images, too")
    device = shared("--device", default="auto", help="where networks run: auto, cpu, cuda, cuda:N, mps")

    option = command("leaderboard", results.leaderboard, runs, device)
    option("--no-figures", action="store_true", help="tables only")
    option("--tex-intervals", action="store_true", help="intervals in the LaTeX tables, too")
    option("--published", action="store_true", help="compare with what papers claim, too")
    option(
        "--features",
        action="append",
        default=[],
        metavar="NETWORK",
        help="first compute these features from the pictures on disk (alex, inception, inception_legacy_pytorch, "
        "inception_torch_fidelity, inception_torchvision); may be given several times",
    )
    option = command("report", results.report, runs)
    option("--out", type=path, help="the page's folder; default: report/ in the results folder")
    option = command("tuning", results.tuning)
    option("--results", type=path, default=Path("results/tuning"), help="its results folder")
    option("--dataset", default="photos64_tune", help="its data set")
    option = command("track", results.track, runs)
    option("--project", help="W&B project; default: $WANDB_PROJECT, or vml-bench")
    option("--entity", help="W&B user or team; default: $WANDB_ENTITY, or the key's own")
    option("--tag", help="a W&B tag that is part of the runs' ids, as in tracker.tag")
    option("--published", action="store_true", help="what papers claim about data sets without runs, too")
    option = command("compare", results.compare, runs)
    option(
        "--metric",
        default="lpips_alex",
        help="what to print: lpips_alex, lpips_vgg, psnr, ssim, or a metric of your own; the files hold all",
    )
    option(
        "--by",
        default="auto",
        choices=("auto", "image", "photograph"),
        help="what to draw anew: image, photograph (an id up to its first '-'); auto: photograph for photos64",
    )
    command("cite", results.cite, runs)
    option = command("protocols", results.protocols, device)
    option("run", type=path, help="folder of a run: <results>/runs/<dataset>/<task>/<method>/<run>")
    option = command("show", results.show, folder)
    option("run", help="its folder, its name (the ten digits), or the first of them")
    option("--image", metavar="ID", help="show this image's row and paths in place of the run")
    option = command("list", listing.names)
    option("what", choices=listing.KINDS, help="what to list")
    option("--config-dir", type=path, help="a folder with configuration of your own, listed too")
    option = command("fetch", upkeep.fetch)
    option("what", nargs="*", help="names as in --list, or targets as of doctor; default: all weights")
    option("--list", action="store_true", help="list everything with size, licence and whether it is here")
    option("--mirror", metavar="URL", help="base URL of a mirror; default: $VML_BENCH_MIRROR")
    option = command("doctor", upkeep.doctor)
    option("target", nargs="?", help="ffhq, imagenet, celebahq, photos or demo; default: all")
    command("verify", upkeep.verify, dataset)
    return top


def path(text: str) -> Path:
    """A path that an option gives, `~` as a shell would have it."""
    return Path(text).expanduser()


def first_line(act: Callable[..., None]) -> str:
    """What a command does, by its docstring."""
    return str(act.__doc__).splitlines()[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; what the user can mend is one line on stderr and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    never_fail(sys.stdout, sys.stderr)
    if sys.version_info >= (3, 14):
        print("vml-bench: Python 3.14 is not supported, for Hydra 1.3 fails on it; use 3.10 to 3.13", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)
    if "" not in sys.path:
        sys.path.append("")  # the current folder, last: classes of a user's own, which hide no package
    try:
        if argv and argv[0] in ("run", "plan") and listing.asked(argv):
            print(listing.help_of(argv[0], first_line(HYDRA_COMMANDS[argv[0]])))
        elif argv and argv[0] in HYDRA_COMMANDS:
            HYDRA_COMMANDS[argv[0]](argv[1:])
        else:
            arguments = parser().parse_args(argv)
            arguments.act(arguments)
    except InputError as error:
        say(f"vml-bench: {error}", sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in NO_ROOM_OR_RIGHT:
            raise
        say(f"vml-bench: {error}; make room or give access, then start the same command again", sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    except KeyboardInterrupt:
        print("vml-bench: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
