"""Commands for other programs' restorations, with Hydra's overrides: measurements, score."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.cli.composition import compose
from vml_bench.errors import InputError

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig

STAND_IN = "method=pinv"
"""A configuration needs a method; this one is taken out again."""


def _parser(act: Callable[[Sequence[str]], None], *folder: str) -> argparse.ArgumentParser:
    """What both commands take; `folder`: name and meaning of an argument before the overrides."""
    made = argparse.ArgumentParser(prog=f"vml-bench {act.__name__}", description=act.__doc__)
    if folder:
        made.add_argument(folder[0], type=Path, metavar=folder[0].upper(), help=folder[1])
    made.add_argument("--dataset", help="the same as dataset=…")
    made.add_argument("--task", help="the same as task=…")
    made.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="configuration of your own, as for `vml-bench run`"
    )
    made.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as for `vml-bench run`: task.noise_std=0, runner.limit=8, …"
    )
    return made


def _overrides(arguments: argparse.Namespace) -> list[str]:
    """All overrides, those of `--dataset` and `--task` first."""
    for text in arguments.overrides:
        if "=" not in text and not text.startswith("~"):
            raise InputError(f"{text} is no override", "give key=value, as for `vml-bench run`")
    named = [f"{key}={value}" for key in ("dataset", "task") if (value := getattr(arguments, key))]
    return [*named, *arguments.overrides]


def _composed(overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    """A cell's configuration, for what concerns its problem alone.

    Raises:
        InputError: an override chooses a method or how often it starts, or Hydra refuses one.
    """
    for override in overrides:
        if re.match(r"[+~]*(method|starts)\b", override):
            raise InputError(f"{override} has no part in this", "leave it out: another program is the method")
    return compose([*overrides, STAND_IN], config_dir)


def measurements(argv: Sequence[str]) -> None:
    """Write the measurements of a problem, for other programs to restore."""
    parser = _parser(measurements)
    parser.add_argument("--export", type=Path, required=True, metavar="FOLDER", help="where to")
    parser.add_argument("--truth", action="store_true", help="write the ground truth, too")
    arguments = parser.parse_intermixed_args(argv)
    overrides = _overrides(arguments)
    config = _composed(overrides, arguments.config_dir)

    from vml_bench.export import export  # and torch with it, seconds later

    manifest = export(arguments.export, config, overrides, arguments.config_dir, arguments.truth)
    print(f"wrote {manifest}")


def score(argv: Sequence[str]) -> None:
    """Score pictures that another program restored from exported measurements, as a run beside the others."""
    parser = _parser(score, "folder", "of <image id>.png, 8-bit RGB")
    parser.add_argument("--name", required=True, help='what to call it in tables: "DAPS, authors\' code"')
    parser.add_argument(
        "--measurements",
        type=Path,
        metavar="EXPORTED",
        help="what `vml-bench measurements` wrote: data set, task and all else are taken from it",
    )
    for what, about in (("nfe", "network evaluations"), ("vjp", "vector-Jacobian products"), ("seconds", "seconds")):
        parser.add_argument(f"--{what}", type=float, help=f"{about} that an image took, if known")
    arguments = parser.parse_intermixed_args(argv)
    overrides, config_dir, problem = _overrides(arguments), arguments.config_dir, None
    if arguments.measurements:
        from vml_bench.export import asked

        exported, config_dir, problem = asked(arguments.measurements)
        overrides = [*exported, *overrides]
    config = _composed(overrides, config_dir)

    from vml_bench.runner import external
    from vml_bench.text import say

    spent = {key: value for key in ("nfe", "vjp", "seconds") if (value := getattr(arguments, key)) is not None}
    done, notes = external.score(arguments.folder, arguments.name, config, overrides, config_dir, problem, spent)
    say(done.line())
    for note in notes:
        say(f"note: {note}", sys.stderr)
