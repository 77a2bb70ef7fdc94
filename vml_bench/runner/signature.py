"""Checks a configuration node against the signature of what it builds: names, types and limits, before building."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.settings import CONFIG, remedy

SCALARS = ("int_type", "float_type", "bool_type", "string_type", "none_required", "literal_error")
"""Types of pydantic's findings on a node that no node can mend."""
LARGEST = 2**63
OURS = ("vml_bench", "baselines")
TARGET = re.compile(r"_target_: *([\w.]+)")
RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
"""Keys of a node that are Hydra's own."""


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
        of_fields = not inspect.isclass(target) or is_dataclass(target)
        hints = get_type_hints(target if of_fields else target.__init__, include_extras=True)
    except (TypeError, ValueError, NameError):  # a built-in, or an annotation meant only for readers
        return
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in given.items():
        if name not in parameters and not takes_any:
            raise InputError(f"{where}.{name} is unknown", f"choose among {', '.join(parameters)}")
        if isinstance(value, Mapping) and "_target_" in value:
            check_node(value, f"{where}.{name}")
        for i, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, Mapping) and "_target_" in item:
                check_node(item, f"{where}.{name}.{i}")
        hint = hints.get(name, Any)
        if wanted := misfit(value, hint):
            raise InputError(f"{where}.{name}={value!r} does not fit", wanted)


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
