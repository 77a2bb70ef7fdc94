"""What can be chosen: the command list, and the help of run and plan. Neither composes a configuration."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

KINDS = {"methods": "method", "tasks": "task", "datasets": "dataset", "priors": "prior", "metrics": "metrics"}
"""What `vml-bench list` lists, and the group of configuration that holds it."""
GROUPS = ("dataset", "task", "method", "prior", "metrics", "tracker", "experiment", "hydra/launcher")
SENTENCE = re.compile(r"(.+?\.)(?=\s|$)(?!\s[a-z0-9(])", re.DOTALL)
"""A first sentence; what goes on with a small letter or a number, as after "et al.", is part of it."""
USAGE = """\
vml-bench {command}: {about}

    vml-bench {command} dataset=photos64 task=sr4 method=ddrm            one cell
    vml-bench {command} -m task=sr4,denoise method=ddrm,dps              a sweep: every combination of the lists
    vml-bench {command} method=ddrm method.sampler.eta=0.5               a setting, by its key
    vml-bench {command} experiment=demo                                  a sweep that conf/experiment holds

options:
    -m, --multirun       the overrides hold lists: a sweep
    --config-dir DIR     a folder with configuration of your own (docs/extend.md)
"""
OF_RUN = """\
    --cfg job            print the configuration and stop; --hydra-help: Hydra's other options
"""
OF_PLAN = """\
    --measure            time a pass of the network here, not estimate it
"""


def options(group: str, folder: Path | None = None) -> Iterator[tuple[str, str]]:
    """The options of a group, as an override names them, and what each is, by the comment at its head.

    Args:
        group: "method", …
        folder: further configuration, as of `--config-dir`.
    """
    from vml_bench.configuration import config_dir

    for root in (config_dir() / group, *([folder.expanduser() / group] if folder else [])):
        for file in sorted(root.rglob("*.yaml")):
            yield file.relative_to(root).with_suffix("").as_posix(), comment(file.read_text(encoding="utf-8"))


def comment(text: str) -> str:
    """The first sentence of the comment at the head of a file; its `title`, where it begins with none."""
    lines = [line[1:].strip() for line in text.splitlines()]
    end = next((i for i, line in enumerate(text.splitlines()) if not line.startswith("#")), len(lines))
    said = " ".join(line for line in lines[:end] if not line.startswith("@package"))
    if not said:
        title = re.search(r"^ +title: *(.+)$", text, re.MULTILINE)
        return title[1] if title else ""
    return said[: match.end(1)] if (match := SENTENCE.match(said)) else said


def names(arguments: argparse.Namespace) -> None:
    """List what can be chosen: methods, tasks, datasets, priors or metrics, a line each."""
    from vml_bench.text import escape_terminal, shortened

    found = list(options(KINDS[arguments.what], arguments.config_dir))
    longest = max(len(name) for name, _ in found)
    for name, said in found:
        print(shortened(escape_terminal(f"{name:{longest}}  {said}")))


def help_of(command: str, about: str) -> str:
    """What `vml-bench run --help` or `plan --help` prints."""
    from vml_bench.configuration import config_dir
    from vml_bench.text import folded

    text = (config_dir() / "config.yaml").read_text(encoding="utf-8")
    ours = re.sub(r"  - (_self_|override hydra/.*)\n", "", text[: text.index("\nhydra:")])
    groups = [f"    {group}: {', '.join(name for name, _ in options(group))}" for group in GROUPS]
    usage = USAGE.format(command=command, about=about) + {"run": OF_RUN, "plan": OF_PLAN}[command]
    parts = [
        usage,
        "groups and their choices (`vml-bench list methods` says what each is):\n" + "\n".join(map(folded, groups)),
        "keys and their defaults, conf/config.yaml:\n" + textwrap.indent(ours.strip(), "    "),
    ]
    return "\n\n".join(part.rstrip() for part in parts)


def asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for help."""
    return any(text in ("-h", "--help") for text in arguments)
