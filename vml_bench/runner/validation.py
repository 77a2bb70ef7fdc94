"""Finds what is wrong with a cell's configuration before anything is computed."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench.errors import InputError
from vml_bench.keys import RUNNER, check_unread
from vml_bench.store import layout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NOISE_STD = (1e-6, 1e3)
"""Smallest and largest σ_y besides 0: below it, images in [-1, 1] are known to single precision; above, not at all."""
NODES = ("prior.model", "dataset.images", "task.operator", "method.sampler", "metrics", "tracker")


def validate(config: DictConfig) -> None:
    """Check the values that the harness itself reads, and the names and types of what it builds.

    Raises:
        InputError: the first value that cannot be used.
    """
    from vml_bench.runner.compute import Compute
    from vml_bench.runner.signature import check_arguments, check_node

    values = check_values(config)
    check_unread(config)
    check_arguments(Compute, values["compute"], "compute")
    for key in NODES:
        group, _, part = key.partition(".")
        check_node(values[group].get(part) if part else values[group], key)


def check_values(config: DictConfig) -> dict[str, Any]:
    """Check the values that the harness itself reads, and return them resolved.

    Nothing heavy is imported: neither torch nor pydantic, so that a bad value is refused in a fraction of a second.

    Raises:
        InputError: the first value that cannot be used.
    """
    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        said = " ".join(str(error).split())
        raise InputError(said, "give it a value; `vml-bench run --help` lists groups and keys") from error
    for group in ("dataset", "prior", "task", "method", "metrics", "tracker", "compute", "runner"):
        if not isinstance(values.get(group), dict):
            raise InputError(f"{group}={values.get(group)} chooses nothing", f"choose one of conf/{group}")
    for group in ("dataset", "task", "method"):
        check_name(values[group].get("name"), group)
    noise_std = values["task"].get("noise_std")
    if not is_number(noise_std) or not (str(noise_std) in ("0", "0.0") or NOISE_STD[0] <= noise_std <= NOISE_STD[1]):
        raise InputError(
            f"task.noise_std={noise_std} is not a noise level",
            f"set task.noise_std to σ_y ≥ 0, images in [-1, 1]: 0, or {NOISE_STD[0]:g} to {NOISE_STD[1]:g}",
        )
    runner = values["runner"]
    if absent := [key for key in RUNNER if key not in runner]:
        raise InputError(f"runner.{absent[0]} is missing", "leave it in the configuration, and set it to null")
    for key, what in (("batch_size", "images"), ("limit", "images"), ("threads", "threads")):
        if key != "batch_size" and runner[key] is None:
            continue
        if not is_whole(runner[key]) or runner[key] < 1:
            raise InputError(f"runner.{key}={runner[key]} is not a number of {what}", f"set runner.{key} to 1 or more")
    for key in ("results_dir", "device"):
        if not isinstance(runner[key], str) or not runner[key]:
            raise InputError(f"runner.{key}={runner[key]!r} is not text", f"give runner.{key} some text")
    if not is_whole(values.get("seed")) or abs(values["seed"]) >= 2**63:
        raise InputError(f"seed={values.get('seed')} is not a 64-bit integer", "set seed to an integer")
    return values


def check_name(name: object, group: str) -> None:
    """Refuse a name that cannot be a folder's among the results.

    Raises:
        InputError: it would lead out of the results folder, or has another meaning there.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            f"{group}.name={name!r} cannot name a folder",
            "use up to 100 letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    if name.lower() in layout.TAKEN.get(group, ()):
        raise InputError(f"{group}.name={name} is taken in the results folder", "choose another name")


def is_whole(value: object) -> bool:
    """Whether a value is an int but not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is an int or a float but not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
