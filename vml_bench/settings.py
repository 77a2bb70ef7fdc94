"""Settings with their limits beside the field: a frozen dataclass that pydantic checks, and its errors as one line."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from vml_bench.errors import InputError

Cls = TypeVar("Cls", bound=type)

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
    checked = dataclass(frozen=True, config=CONFIG)(cls)
    build = checked.__init__
    names = [parameter.name for parameter in fields(checked) if parameter.init]

    @functools.wraps(build)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        args = tuple(map(_hashable, args))
        values = {name: _hashable(value) for name, value in values.items()}
        try:
            build(self, *args, **values)
        except ValidationError as error:
            raise _in_one_line(error, checked, dict(zip(names, args, strict=False)) | values, names) from None

    checked.__init__ = __init__
    return checked


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


def _in_one_line(error: ValidationError, of: type, given: Mapping[str, Any], names: Sequence[str]) -> InputError:
    """The first thing that pydantic found in settings.

    Args:
        error: what it raised.
        of: the class of the settings.
        given: the values, by name.
        names: of all its settings.
    """
    details = error.errors(include_url=False)
    first = details[0]
    if isinstance(raised := first.get("ctx", {}).get("error"), InputError):  # by a __post_init__
        return raised
    place = first["loc"][0]
    if first["type"].startswith("unexpected_"):
        return InputError(f"{place} is unknown to {of.__name__}", f"choose among {', '.join(names)}")
    name = names[place] if isinstance(place, int) else place
    if name not in given:
        return InputError(f"{of.__name__} needs {name}", "give it a value")
    same = [detail | {"loc": detail["loc"][1:]} for detail in details if detail["loc"][0] == place]
    hint = get_type_hints(of)[name]
    return InputError(f"{name}={given[name]!r} does not fit {of.__name__}", remedy(same, hint))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else value
