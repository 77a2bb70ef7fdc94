"""What a problem, a prior and a run are, as plain data from which their names come (docs/identity.md).

A *problem* is what was asked: images, operator, σ_y, seed. A *run* is a problem under one method with its settings, one
prior and one way of computing. Each has a canonical form; its name is ten digits of that form's sha256. Two numbers
stand in one table only where their problems have one name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import os
import pkgutil
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import torch
from torch import Tensor, nn

from vml_bench.contract import ImageSet
from vml_bench.files import sha256
from vml_bench.settings import hints_of

CONTENT = "content"
"""Key under which a form holds the sha256 of what lies at a path."""
DIGITS = 10
"""Hexadecimal digits of a name."""

STEPS = 1 << 16
"""Levels for each unit of a pixel's value, in its digest: a 16-bit picture has half as many, and what threads and CPU
move in an image that is drawn in float64, about 1e-14, makes no other image of it."""

Form = dict[str, Any]
"""A canonical form: JSON's types alone, keys sorted when it is hashed."""


@dataclass(frozen=True)
class AsBefore:
    """Marks an option as one that at this value changes nothing: a form leaves it out then.

    An option added to a method keeps every name if its default means that it is as if it were not there:

    >>> momentum: Annotated[float, AsBefore(0.0)] = 0.0

    Attributes:
        value: that value. It is not read from the default, so that changing the default changes names.
    """

    value: Any


class Aside:
    """Marks an option that says where something lies or what else is kept, and never changes a number."""


def content_digest(path: Path) -> str:
    """sha256 of a file, or of all files of a folder by relative name."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(path).as_posix()} {sha256(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def name_of(form: Form) -> str:
    """The name that a form has: `DIGITS` hexadecimal digits of its sha256."""
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()[:DIGITS]


def form_of(node: Mapping[str, Any], supplied: Iterable[str] = (), files: bool = True) -> Form:
    """The form of a configuration node with a `_target_`: {class or function name: {parameter: value}}.

    Every parameter counts, given or default, but those marked `Aside`, and those that stand at their `AsBefore` value.
    Of a path what lies there counts, not the path. Where the target lies does not count.

    Args:
        node: plain data, resolved.
        supplied: parameters that the harness gives when it builds the target, such as the images' shape.
        files: whether what lies at a path is hashed here; False where it is hashed otherwise, as weights are.

    Raises:
        OSError: a file cannot be read.
        ValueError, TypeError, AttributeError, ImportError: the target cannot be found or has no signature.
    """
    target = pkgutil.resolve_name(node["_target_"])
    hints = hints_of(target)
    values: Form = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in supplied or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in node:
            value = node[name]
        elif parameter.default is parameter.empty:
            continue
        else:
            value = _default(target, name, parameter.default)
        hint = hints.get(name, Any)
        if _holds_path(value, hint):
            if files and Path(value).exists():
                values[name] = {CONTENT: content_digest(Path(value))}
        elif not _left_out(value, hint):
            values[name] = canonical(value, hint)
    known = {*inspect.signature(target).parameters, "_target_", "_partial_", "_convert_", "_recursive_"}
    values |= {name: canonical(value) for name, value in node.items() if name not in known}  # taken by **options
    return {target.__name__: values}


def form_of_object(thing: Any) -> Form:
    """The form of a dataclass's instance, such as a schedule that is a default: as `form_of` of its own node."""
    hints = hints_of(type(thing))
    values = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing) if field.init}
    kept = {name: value for name, value in values.items() if not _left_out(value, hints.get(name, Any))}
    return {type(thing).__name__: {name: canonical(value, hints.get(name, Any)) for name, value in kept.items()}}


def canonical(value: Any, hint: Any = Any) -> Any:
    """A value as JSON holds it, by the type that is declared for it: for a float 0, 0.0 and -0.0 are one."""
    hint = _plain(hint)
    if get_origin(hint) in (Union, types.UnionType):
        hint = _choice(value, [_plain(choice) for choice in get_args(hint)])
    if isinstance(value, Mapping):
        is_node = isinstance(value.get("_target_"), str)
        return form_of(value) if is_node else {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        kinds = [kind for kind in get_args(hint) if kind is not Ellipsis] or [Any]
        kinds = kinds if len(kinds) == len(value) else [kinds[0]] * len(value)
        return [canonical(item, kind) for item, kind in zip(value, kinds, strict=True)]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, float)):
        return _number(value, hint)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return form_of_object(value)
    return getattr(value, "__name__", None) or (str(value) if isinstance(value, torch.dtype) else type(value).__name__)


def with_source(form: Form, source: str | None) -> Form:
    """The form of a method; where it has no module that could be named, the sha256 of its source counts, too.

    Args:
        form: from `form_of` its sampler.
        source: the text of its class; None for one that can be imported.
    """
    if source is None:
        return form
    digest = hashlib.sha256(source.encode()).hexdigest()
    return {name: {**values, "source": {CONTENT: digest}} for name, values in form.items()}


def flat(form: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A form's values by dotted key, classes by the key of what they stand at: {"schedule": "EDMSchedule", …}."""
    found: dict[str, Any] = {}
    for key, value in form.items():
        if isinstance(value, Mapping) and len(value) == 1 and isinstance(inner := next(iter(value.values())), Mapping):
            found[prefix + key] = next(iter(value))
            found |= flat(inner, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def settings_of(form: Form, configured: Form) -> dict[str, Any]:
    """What a method's form has otherwise than that of its configuration: value by dotted key.

    Keys that only the configuration has are those of another class, or stand at their `AsBefore` value here.
    """
    (name, ours), (theirs_name, theirs) = next(iter(form.items())), next(iter(configured.items()))
    known = flat(theirs)
    differing = {key: value for key, value in flat(ours).items() if key not in known or known[key] != value}
    return differing if name == theirs_name else {"sampler": name, **differing}


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings as a row shows them: "eta=0.5, schedule.levels=100"."""
    return ", ".join(f"{key}={shown(value)}" for key, value in settings.items())


def shown(value: Any) -> str:
    """A canonical value as an override would give it; of a file the first digits of its hash."""
    if isinstance(value, Mapping) and value.keys() == {CONTENT}:
        return f"file {str(value[CONTENT])[:DIGITS]}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, list) else str(value)


def image_digest(image: Tensor) -> str:
    """sha256 of one image (C, H, W): its shape, its dtype and its values, to `STEPS`."""
    described = f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}\0"
    levels = (image.double() * STEPS).round().to(torch.int64)
    return hashlib.sha256(described.encode() + levels.contiguous().numpy().tobytes()).hexdigest()


def digests_of(images: ImageSet) -> dict[str, str]:
    """`image_digest` of every image of a data set, by id."""
    return {image_id: image_digest(images.load(image_id)) for image_id in images.ids}


def images_name(images: ImageSet, digests: Mapping[str, str]) -> str:
    """The name of a set of images: of their ids, scenes and pixels, in whatever order.

    Args:
        images: the data set.
        digests: `digests_of` it.
    """
    lines = sorted(f"{image_id}\0{images.scene(image_id)}\0{digests[image_id]}" for image_id in images.ids)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGITS]


def problem_form(
    images: str, operator: Mapping[str, Any], noise_std: float, seed: int, reference: Form | None = None
) -> Form:
    """What was asked.

    Args:
        images: `images_name`.
        operator: configuration node of the operator.
        noise_std: σ_y ≥ 0, images in [-1, 1].
        seed: of masks, measurement noise and the methods' own noise.
        reference: the form of what restorations are held against, where that is not the images themselves.
    """
    asked = {"images": images, "operator": form_of(operator, ("image_shape", "dtype"))}
    asked |= {"noise_std": canonical(noise_std, float), "seed": int(seed)}
    return asked | ({"reference": reference} if reference else {})


def prior_form(node: Mapping[str, Any], prior: object) -> Form:
    """What a prior is: its node without paths, and the sha256 of its weights.

    The weights are those of the file that it names as `checkpoint`, and with them counts what it says itself in
    `described`; without such a file, its learned parameters are hashed; a prior in closed form has none, and is told by
    its node alone.

    Args:
        node: its configuration node.
        prior: built of that.
    """
    if file := getattr(prior, "checkpoint", None):
        return form_of(node, files=False) | {"weights": sha256(file)} | (getattr(prior, "described", None) or {})
    form = form_of(node)
    module = prior if isinstance(prior, nn.Module) else getattr(prior, "network", None)
    if isinstance(module, nn.Module) and next(module.parameters(), None) is not None:
        return form | {"parameters": parameters_digest(module)}
    return form


def parameters_digest(module: nn.Module) -> str:
    """sha256 over names, dtypes, shapes and values of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def run_form(problem: Form, method: Form, prior: Form | None, compute: Form, starts: int = 1) -> Form:
    """What was computed.

    Args:
        problem: from `problem_form`.
        method: from `form_of` its sampler.
        prior: from `prior_form`; None for a method that asks no prior.
        compute: how the network was computed, options at their `AsBefore` value left out.
        starts: of the method on each image; 1 is left out.
    """
    form = {
        "problem": name_of(problem),
        "method": method,
        "prior": None if prior is None else name_of(prior),
        "compute": compute if prior is not None else {},
    }
    return form | ({"starts": starts} if starts > 1 else {})


def _default(target: Callable[..., Any], name: str, default: Any) -> Any:
    """A parameter's default; where a dataclass makes it anew for each instance, one of those."""
    if dataclasses.is_dataclass(target):
        field = next(field for field in dataclasses.fields(target) if field.name == name)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return default


def _left_out(value: Any, hint: Any) -> bool:
    """Whether a parameter changes nothing, by its declaration or, for an `AsBefore`, by its value."""
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    if any(mark is Aside or isinstance(mark, Aside) for mark in marks):
        return True
    if any(isinstance(mark, AsBefore) and canonical(value, hint) == canonical(mark.value, hint) for mark in marks):
        return True
    return value is None and _is_path(hint)


def _holds_path(value: Any, hint: Any) -> bool:
    """Whether a parameter is a path: by its type, or because a text that looks like one names a file."""
    if not isinstance(value, (str, Path)):
        return False
    if _is_path(hint):
        return True
    looks = isinstance(value, Path) or os.sep in value or bool(Path(value).suffix)
    return looks and Path(value).is_file()


def _is_path(hint: Any) -> bool:
    plain = _plain(hint)
    return Path in (plain, *get_args(plain))


def _plain(hint: Any) -> Any:
    """A type without its marks."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _choice(value: Any, choices: Sequence[Any]) -> Any:
    """The member of a union that a value is meant as."""
    if isinstance(value, (list, tuple)):
        return next((choice for choice in choices if get_args(choice)), Any)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return next((choice for choice in (float, int) if choice in choices), Any)
    return Any


def _number(value: float, hint: Any) -> float | int:
    """A number as declared; without a declaration a whole one is an int."""
    whole = isinstance(value, int) or (math.isfinite(value) and value == int(value))
    if hint is float or not whole:
        return float(value) + 0.0  # −0.0 + 0.0 is 0.0
    return int(value)
