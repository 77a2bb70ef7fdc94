"""A configuration node against the signature of what it builds: names and types, before anything is built."""

from __future__ import annotations

import collections.abc
import inspect
import pkgutil
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from vml_bench.configuration import config_dir
from vml_bench.errors import InputError

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
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
        InputError: it names nothing, or something that is not there, or an argument does not fit.
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
    """Refuse a method or operator from outside that is called as one of the project's: runs are named by that name.

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
    """Names of all that the project's configuration builds."""
    texts = (file.read_text(encoding="utf-8") for file in config_dir().rglob("*.yaml"))
    return frozenset(target.rpartition(".")[2] for text in texts for target in TARGET.findall(text))


def check_arguments(target: Callable[..., Any], given: Mapping[str, Any], where: str) -> None:
    """Check the names of arguments, and their types where they are annotated.

    Raises:
        InputError: an argument that is unknown or of another type, by its key.
    """
    try:
        parameters = inspect.signature(target).parameters
        of_fields = not inspect.isclass(target) or is_dataclass(target)
        hints = get_type_hints(target if of_fields else target.__init__)
    except (TypeError, ValueError, NameError):  # a built-in, or an annotation that is there for readers alone
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
        if not fits(value, hint):
            raise InputError(f"{where}.{name}={value!r} does not fit", f"set it to {in_words(hint)}")


def fits(value: object, hint: Any) -> bool:
    """Whether plain data can stand for an argument so annotated; True where the annotation is none of plain data's."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in get_args(hint))
    is_node = isinstance(value, Mapping) and "_target_" in value
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    if hint in (str, Path):
        return isinstance(value, str)
    if hint in (bool, type(None)):
        return isinstance(value, hint)
    if origin in (tuple, list, collections.abc.Sequence):
        kinds = get_args(hint)
        if not isinstance(value, list):
            return is_node
        if origin is tuple and Ellipsis not in kinds:
            return len(value) == len(kinds) and all(map(fits, value, kinds))
        return all(fits(item, kinds[0]) for item in value)
    if origin is collections.abc.Callable:
        return is_node
    return True


def in_words(hint: Any) -> str:
    """An annotation as a reader of the configuration knows it."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(in_words, get_args(hint))))
    if get_origin(hint) in (tuple, list, collections.abc.Sequence):
        return f"a list, of which each is {' or '.join(dict.fromkeys(map(in_words, get_args(hint))))}"
    if get_origin(hint) is collections.abc.Callable:
        return "a node with a _target_"
    return SCALARS.get(hint, "a text" if hint is Path else "something else")
