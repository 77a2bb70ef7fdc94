"""Settings with their limits beside the field: a frozen dataclass that pydantic checks, and its errors as one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, ValidationError, validate_call
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from vml_bench.errors import InputError

Cls = TypeVar("Cls", bound=type)
Build = TypeVar("Build", bound=Callable[..., None])

CONFIG = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
"""Nothing is converted but an int to a float; NaN and infinity are refused; other classes are checked by isinstance."""

WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "callable_type": "a node with a _target_",
    "needs_python_object": "a node with a _target_",
    "missing": "a longer list",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
}
"""What a value must be, by the type of pydantic's error; its own words for the others."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def settings(cls: Cls) -> Cls:
    """Make a class a frozen dataclass whose values are checked when it is built, from a configuration or in Python.

    It replaces `@dataclass(frozen=True)`. A limit or a choice stands in the annotation, beside an identity mark if
    there is one; `__post_init__` is left for what concerns several fields at once.

        @settings
        class Method:
            eta: Annotated[float, Field(ge=0, le=1)] = 0.85
            steps: PositiveInt = 5
            move: Literal["flow", "renoise"] = "flow"
            momentum: Annotated[float, Field(ge=0, lt=1), AsBefore(0.0)] = 0.0
            sigma_max: PositiveFloat | None = None
            schedule: Schedule = field(default_factory=EDMSchedule)

    `Field`, `PositiveInt`, `PositiveFloat` and `NonNegativeFloat` come from pydantic, `field` from dataclasses. In
    Python `Method(eta=2)` raises InputError, "eta=2 does not fit Method; it must be at most 1". In a configuration the
    same limit is checked before anything is built, and the message has the full key: "method.sampler.eta=2 does not
    fit; it must be at most 1". A list becomes a tuple. A subclass with fields of its own needs the decorator too.
    """
    made = dataclass(frozen=True, config=CONFIG)(cls)
    names = [parameter.name for parameter in fields(made) if parameter.init]
    made.__init__ = _one_line(made.__init__, made, names)
    return made


def checked(build: Build) -> Build:
    """Check the arguments of an `__init__` as `settings` checks fields, in a class that is no dataclass.

        @checked
        def __init__(self, root: str | Path, first: PositiveInt | None = 100) -> None:

    An annotation that names a protocol or a class is checked by isinstance.
    """
    names = list(inspect.signature(build).parameters)
    return _one_line(validate_call(config=CONFIG)(build), build, names)


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of what a class or function takes, with their marks; none for a built-in, or where they are no types.

    A dataclass's are those of its fields, another class's those of its `__init__`.
    """
    of_fields = not inspect.isclass(target) or is_dataclass(target)
    try:
        return get_type_hints(target if of_fields else target.__init__, include_extras=True)
    except (TypeError, NameError):
        return {}


def _one_line(build: Build, of: Any, names: Sequence[str]) -> Build:
    """An `__init__` that says in one line what does not fit; `of` has its annotations, `names` are its parameters."""

    @functools.wraps(build)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        args = tuple(map(_hashable, args))
        values = {name: _hashable(value) for name, value in values.items()}
        try:
            build(self, *args, **values)
        except ValidationError as error:
            given = dict(zip(names, (*[self] * (names[0] == "self"), *args), strict=False)) | values
            raise _in_one_line(error, type(self).__name__, get_type_hints(of), given, names) from None

    return __init__


def remedy(details: Sequence[Mapping[str, Any]], hint: Any) -> str:
    """What a value should have been: "it must be at most 1 or null".

    Args:
        details: what pydantic found wrong with it: `ValidationError.errors()`.
        hint: the annotation that it does not fit.
    """
    wanted = [_words(detail) for detail in details] + (["null"] if type(None) in get_args(hint) else [])
    return f"it must be {' or '.join(dict.fromkeys(wanted))}"


def _words(detail: Mapping[str, Any]) -> str:
    words = WORDS.get(detail["type"], detail["msg"].removeprefix("Input should be "))
    words = words.format(**detail.get("ctx", {}))
    in_a_list = any(isinstance(place, int) for place in detail["loc"]) and detail["type"] != "missing"
    return f"a list, each item {words}" if in_a_list else words


def _in_one_line(
    error: ValidationError, of: str, hints: Mapping[str, Any], given: Mapping[str, Any], names: Sequence[str]
) -> InputError:
    """The first thing that pydantic found.

    Args:
        error: what it raised.
        of: the name of the class.
        hints: the annotations, by name.
        given: the values, by name.
        names: of all settings, by position.
    """
    details = error.errors(include_url=False)
    first = details[0]
    if isinstance(raised := first.get("ctx", {}).get("error"), InputError):  # by a __post_init__
        return raised
    place = first["loc"][0]
    if first["type"].startswith("unexpected_"):
        known = ", ".join(name for name in names if name != "self")
        return InputError(f"{place} is unknown to {of}", f"choose among {known}")
    name = names[place] if isinstance(place, int) else place
    if name not in given:
        return InputError(f"{of} needs {name}", "give it a value")
    same = [detail | {"loc": detail["loc"][1:]} for detail in details if detail["loc"][0] == place]
    return InputError(f"{name}={given[name]!r} does not fit {of}", remedy(same, hints[name]))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else value
