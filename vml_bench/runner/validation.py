"""Finds what is wrong with a cell's configuration before anything is built or computed.

Values that the harness reads are checked against `OPTIONS`, nodes against the signature of what they build: names,
types and limits.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import Field, PositiveInt, PydanticUserError, TypeAdapter, ValidationError

from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.keys import RUNNER, check_unread
from vml_bench.settings import CONFIG, hints_of, remedy
from vml_bench.store import layout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NOISE_STD = (1e-6, 1e3)
"""Smallest and largest σ_y besides 0: below it, images in [-1, 1] are known to single precision; above, not at all.

At 1e-9 (photos64 and its network in float64, two crops; inpaint_half, sr4, deblur_uniform_all_taps; DDRM, MAP-GA NP,
VML-MAP pre in the library's form) the steps lead to the answers of σ_y = 0 within 7.4e-7, and no 8-bit pixel differs.
What methods do only where σ_y is exactly 0, such as putting y into the answer, is apart: docs/published.md.
"""
Text = Annotated[str, Field(min_length=1)]
OPTIONS = {
    "batch_size": PositiveInt,
    "limit": PositiveInt | None,
    "threads": PositiveInt | None,
    "device": Text,
    "results_dir": Text,
}
"""What the values of `runner` must be; `shard` is checked where it is used."""
NODES = ("prior.model", "dataset.images", "task.operator", "method.sampler", "metrics", "tracker")
SCALARS = ("int_type", "float_type", "bool_type", "string_type", "none_required", "literal_error")
"""Types of pydantic's findings on a node that no node can mend."""
LARGEST = 2**63
OURS = ("vml_bench", "baselines")
TARGET = re.compile(r"_target_: *([\w.]+)")
RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
"""Keys of a node that are Hydra's own."""


def validate(config: DictConfig) -> None:
    """Check the values that the harness itself reads, and the names and types of what it builds.

    Raises:
        InputError: the first value that cannot be used.
    """
    from vml_bench.runner.compute import Compute, given_plainly

    values = check_values(config)
    check_unread(config)
    check_arguments(Compute, given_plainly(values["compute"]), "compute")
    for key in NODES:
        group, _, part = key.partition(".")
        check_node(values[group].get(part) if part else values[group], key)


def check_values(config: DictConfig) -> dict[str, Any]:
    """Check the values that the harness itself reads, and return them resolved.

    Torch is not imported, so that a bad value is refused in a fraction of a second.

    Raises:
        InputError: the first value that cannot be used.
    """
    check_task_settings(config)
    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        wanted = config.dataset.get("wants") if str(error.full_key).startswith("dataset.") else None
        raise InputError(f"{error.full_key} has no value", wanted or f"give it one: {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        said = " ".join(str(error).split())
        raise InputError(said, "give it a value; `vml-bench run --help` lists groups and keys") from error
    for group in ("dataset", "prior", "task", "method", "metrics", "tracker", "compute", "runner"):
        if not isinstance(values.get(group), dict):
            raise InputError(f"{group}={values.get(group)} chooses nothing", f"choose one of conf/{group}")
    for group in ("dataset", "task", "method"):
        check_name(values[group].get("name"), group)
    noise_std = values["task"].get("noise_std")
    if misfit(noise_std, float) or not (str(noise_std) in ("0", "0.0") or NOISE_STD[0] <= noise_std <= NOISE_STD[1]):
        wanted = f"set task.noise_std to σ_y ≥ 0, images in [-1, 1]: 0, or {NOISE_STD[0]:g} to {NOISE_STD[1]:g}"
        tiny = not misfit(noise_std, float) and 0 < noise_std < NOISE_STD[0]
        raise InputError(
            f"task.noise_std={noise_std} is not a noise level",
            "it is 0 in effect: set task.noise_std=0" if tiny else wanted,
        )
    runner = values["runner"]
    if absent := [key for key in RUNNER if key not in runner]:
        raise InputError(f"runner.{absent[0]} is missing", "leave it in the configuration, and set it to null")
    check_value("seed", values.get("seed"), int)
    check_value("starts", values.get("starts", 1), PositiveInt)
    for key, hint in OPTIONS.items():
        check_value(f"runner.{key}", runner[key], hint)
    return values


def check_task_settings(config: DictConfig) -> None:
    """Refuse a task for which a method that has settings per task (`method.tasks`) has none.

    Raises:
        InputError: names the tasks for which it has.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    method, task = (raw[group] if isinstance(raw.get(group), dict) else {} for group in ("method", "task"))
    name, known = task.get("name"), method.get("tasks")
    if known is not None and name is not None and name not in known:
        keys = next((", ".join(f"{key}: …" for key in settings) for settings in known.values()), "")
        raise InputError(
            f"method={method.get('name')} has no settings for task={name}",
            f"choose task={'|'.join(known)}, or give '+method.tasks.{name}={{{keys}}}'",
        )


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


def check_node(node: object, where: str) -> None:
    """Check a node with a `_target_`, and the nodes inside it.

    Args:
        node: plain data, resolved.
        where: its key in the configuration, for errors.

    Raises:
        InputError: it names nothing that can be found, or an argument does not fit.
    """
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise InputError(f"{where} names nothing to build", f"give {where}._target_, or choose another configuration")
    try:
        target = pkgutil.resolve_name(node["_target_"])
    except Exception as error:  # importing can raise anything
        said = " ".join(str(error).split())
        raise InputError(f"{where}._target_={node['_target_']} cannot be found ({said})", "correct its name") from error
    if not callable(target):
        raise InputError(f"{where}._target_={node['_target_']} cannot be called", "correct its name")
    refuse_taken_name(target, where)
    check_arguments(target, {key: value for key, value in node.items() if key not in RESERVED}, where)


def refuse_taken_name(target: Callable[..., Any], where: str) -> None:
    """Refuse a method or operator from outside that has the name of one of the project's: runs are named by it.

    Raises:
        InputError: its class has the name of another.
    """
    package = str(getattr(target, "__module__", "")).partition(".")[0]
    name = getattr(target, "__name__", "")
    if where.startswith(("method.", "task.")) and package not in OURS and name in taken_names():
        raise InputError(
            f"{where}: {target.__module__}.{name} has the name of one of the project's own classes",
            "rename the class: runs are named by it, wherever it lies",
        )


@lru_cache(maxsize=1)
def taken_names() -> frozenset[str]:
    """Names of all classes and functions that the project's configuration builds."""
    texts = (file.read_text(encoding="utf-8") for file in config_dir().rglob("*.yaml"))
    return frozenset(target.rpartition(".")[2] for text in texts for target in TARGET.findall(text))


def check_arguments(target: Callable[..., Any], given: Mapping[str, Any], where: str) -> None:
    """Check the names of arguments, and their types and limits where they are annotated.

    Raises:
        InputError: names the key of an argument that is unknown or does not fit.
    """
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # a built-in
        return
    hints = hints_of(target)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in given.items():
        if name not in parameters and not takes_any:
            raise InputError(f"{where}.{name} is unknown", f"choose among {', '.join(parameters)}")
        if isinstance(value, Mapping) and "_target_" in value:
            check_node(value, f"{where}.{name}")
        for i, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, Mapping) and "_target_" in item:
                check_node(item, f"{where}.{name}.{i}")
        check_value(f"{where}.{name}", value, hints.get(name, Any))


def check_value(key: str, value: object, hint: Any) -> None:
    """Check one value.

    Raises:
        InputError: it does not fit; says what would.
    """
    if wanted := misfit(value, hint):
        raise InputError(f"{key}={value!r} does not fit", wanted)


def misfit(value: object, hint: Any) -> str | None:
    """What plain data should have been to stand for an argument so annotated; None where it fits.

    It fits too where it is a node that may make the argument, or where the annotation is not one of plain data.
    """
    if any(isinstance(item, int) and abs(item) >= LARGEST for item in (value if isinstance(value, list) else [value])):
        return "it must be within 64 bits"
    try:
        TypeAdapter(hint, config=CONFIG).validate_json(json.dumps(value), strict=True)  # JSON's lists are tuples too
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None if any(map(_for_the_build, details)) else remedy(details, hint)
    except (PydanticUserError, NameError, NotImplementedError):  # pydantic 2.7 raises the last; not one of plain data
        return None
    return None


def _for_the_build(detail: Mapping[str, Any]) -> bool:
    """Whether only building the argument can tell if it fits."""
    value = detail["input"]
    is_node = isinstance(value, Mapping) and "_target_" in value
    return detail["type"] == "needs_python_object" or (is_node and detail["type"] not in SCALARS)
