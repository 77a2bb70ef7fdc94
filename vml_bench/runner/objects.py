"""A method that was built in Python, as the configuration that builds it again.

A run is named by its configuration and recorded as one. So an object becomes a node: its class, and for each parameter
of `__init__` the attribute of that name. A class of a notebook or a script (`__main__`) has no module by which others
could import it; its source text goes into the configuration, and the sha256 of that into the run's name.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vml_bench.errors import InputError

UNNAMED = "__main__"
"""The module of what is defined in a notebook or a script."""


def node_of(thing: object, where: str) -> dict[str, Any]:
    """The node that builds an object anew: `_target_` and the values of all parameters.

    Args:
        thing: the object.
        where: how errors name it.

    Raises:
        InputError: its class cannot be found by name, or a parameter is not kept as an attribute of plain data.
    """
    made_by = type(thing)
    target = f"{made_by.__module__}.{made_by.__qualname__}"
    try:
        found = pkgutil.resolve_name(target)
    except (AttributeError, ImportError, ValueError):
        found = None
    if found is not made_by:
        what = "has been defined anew since" if inspect.isclass(found) else "cannot be found by its name"
        raise InputError(
            f"{where}: class {made_by.__qualname__} {what}",
            "build the object again"
            if inspect.isclass(found)
            else "define it at the top level of a module or notebook",
        )
    values = {name: _plain(getattr(thing, name), f"{where}.{name}") for name in _parameters(thing, where)}
    return {"_target_": target, "_convert_": "all", **values}


def source_of(thing: object) -> str | None:
    """The source text of the classes that an object is made of, as far as they are of `__main__`; None if none is.

    What such a class takes from elsewhere in the notebook, a function say, is not part of it.

    Raises:
        InputError: the text is not at hand.
    """
    texts = dict.fromkeys(
        _text(kind) for part in _parts(thing) for kind in type(part).__mro__ if kind.__module__ == UNNAMED
    )
    return "\n\n".join(texts) or None


def _parameters(thing: object, where: str) -> list[str]:
    """Names of the parameters that its class takes.

    Raises:
        InputError: one is not kept as an attribute.
    """
    try:
        parameters = inspect.signature(type(thing)).parameters
    except (TypeError, ValueError):  # a built-in
        parameters = {}
    lost = [name for name in parameters if not hasattr(thing, name)]
    if lost or any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values()):
        raise InputError(
            f"{where}: {type(thing).__name__} keeps no attribute '{''.join(lost[:1])}' of its parameter of that name",
            "make it a dataclass, or keep each argument under its own name",
        )
    return list(parameters)


def _plain(value: Any, where: str) -> Any:
    """A parameter's value as plain data.

    Raises:
        InputError: it is none.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.replace("${", "\\${") if isinstance(value, str) else value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if hasattr(value, "__qualname__") or isinstance(value, (torch.Tensor, torch.nn.Module)):  # a function, a network
        raise InputError(
            f"{where}: a {type(value).__name__} cannot be recorded as a setting",
            "give a number, a text, a list or an object with such parameters; a path for what lies in a file",
        )
    return node_of(value, where)


def _parts(thing: object) -> Iterator[object]:
    """An object and the objects among its parameters, theirs too."""
    yield thing
    for name in _parameters(thing, type(thing).__name__):
        value = getattr(thing, name)
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(item, (bool, int, float, str, Path, Mapping, type(None))):
                yield from _parts(item)


def _text(kind: type) -> str:
    """The source of a class of a notebook or a script, found by the source of one of its functions.

    `inspect.getsource` finds no class of a notebook, which is no file.

    Raises:
        InputError: it is not at hand.
    """
    own = [function for function in vars(kind).values() if inspect.isfunction(function)]
    for code in (function.__code__ for function in own):
        try:
            lines, _ = inspect.findsource(code)
            tree = ast.parse("".join(lines))
        except (OSError, SyntaxError):  # made by a decorator, say
            continue
        for node in ast.walk(tree):
            is_class = isinstance(node, ast.ClassDef) and node.name == kind.__name__
            if is_class and node.lineno < code.co_firstlineno <= node.end_lineno:
                first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
                return "".join(lines[first - 1 : node.end_lineno])
    raise InputError(
        f"the source of class {kind.__qualname__} is not at hand, so a run of it could not be told from others",
        "write it into a file and import it",
    )
