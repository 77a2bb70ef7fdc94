"""Configuration on disk: Hydra's own, in the checkout or inside the installed package; and what a run says of itself.

Runs' folders are handed around, so what is read of them is plain data, and nothing in it is acted upon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
LARGEST = 1 << 20
"""Bytes of a run's configuration; one of a sweep's largest cells has 4,000."""

DEEPEST = 50
"""Nesting of a run's configuration; libyaml's own recursion has no bound but the stack."""
UNUSUAL = re.compile(r"[&{]|^[ \t?:-]{50}", re.MULTILINE)
"""What a file must hold to have an alias or to nest deep without that many brackets; no run writes it."""


def config_dir() -> Path:
    """The folder of Hydra configuration groups: `conf/` of the checkout, or its copy in the wheel."""
    checkout = PACKAGE.parent / "conf"
    return checkout if (checkout / "config.yaml").is_file() else PACKAGE / "conf"


def published_file() -> Path:
    """What papers claim: `results/published.yaml` of the checkout, or its copy in the wheel."""
    checkout = PACKAGE.parent / "results" / "published.yaml"
    return checkout if checkout.is_file() else PACKAGE / "published.yaml"


def option(group: str, choice: str, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """One option of a configuration group with the options that it builds on, as plain data, not resolved.

    Args:
        group: "method", "task", …
        choice: the option as an override names it, such as "ddrm" or "oracle/ddrm".
        folders: further folders of configuration, searched first.

    Raises:
        OSError, ValueError: there is none, or it cannot be read.
    """
    file = next(
        (f for f in (Path(folder, group, f"{choice}.yaml") for folder in (*folders, config_dir())) if f.is_file()), None
    )
    if file is None:
        raise ValueError(f"there is no {group}={choice}")
    own = read_config(file, ours=True)
    merged: dict[str, Any] = {}
    defaults = own.pop("defaults", [])
    for base in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if base == "_self_":
            merged = _merged(merged, own)
        elif isinstance(base, str):
            merged = _merged(merged, option(group, base.removesuffix("@_here_"), folders))
    return merged


@lru_cache(maxsize=8)
def choices(group: str) -> dict[str, str]:
    """For each `name` in a group of the project's own configuration, its choice: dps_published is published/dps."""
    root = config_dir() / group
    found = [file.relative_to(root).with_suffix("").as_posix() for file in sorted(root.rglob("*.yaml"))]
    names = {choice: option(group, choice).get("name") for choice in found}
    return {str(name): choice for choice, name in names.items() if name is not None}


@lru_cache(maxsize=8)
def named_options(group: str) -> dict[str, dict[str, Any]]:
    """Every option of a group of the project's own configuration that has a `name`, by that name."""
    return {name: option(group, choice) for name, choice in choices(group).items()}


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the second over the first."""
    out = dict(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = _merged(out[key], value) if both else value
    return out


def read_config(file: Path, ours: bool = False) -> dict[str, Any]:
    """The configuration in a run's folder, as plain data.

    A tag builds no object, `_target_` is a word like others, and `${oc.env:…}` stays text and is not looked up in this
    machine's environment. Aliases, a few lines of which unfold to gigabytes, and deep nesting, which ends the process,
    are refused, except in one of the user's own configuration groups (`ours`).

    Raises:
        OSError, ValueError: it cannot be read, or is no configuration.
    """
    import yaml  # only what reads results pays for it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if file.stat().st_size > LARGEST:
        raise ValueError(f"{file.name} has more than {LARGEST} bytes")
    text = file.read_text(encoding="utf-8")
    try:
        depth = 0
        unusual = not ours and (UNUSUAL.search(text) or text.count("[") > DEEPEST)
        for event in yaml.parse(text, loader) if unusual else ():
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
                raise ValueError(f"{file.name} holds an alias, or nests more than {DEEPEST} deep")
        config = yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{file.name}: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file.name} holds no configuration")
    return config


def read_record(file: Path) -> dict[str, Any]:
    """The record of a run, how it was made.

    Raises:
        OSError, ValueError: it cannot be read, or is no JSON object.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{file.name} nests too deep") from error
    if not isinstance(record, dict):
        raise ValueError(f"{file.name} holds no record")
    return record


def mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What a record has under a key; empty where that is no mapping, for a record may say anything."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
