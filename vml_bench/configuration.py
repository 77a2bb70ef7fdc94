"""Configuration on disk: Hydra's own, in the checkout or inside the installed package; and what a run says of itself.

Runs' folders are handed around, so what is read of them is plain data, and nothing in it is acted upon.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
LARGEST = 1 << 20
"""Bytes of a run's config.yaml; one of a sweep's largest cells has 4,000."""

DEEPEST = 50
"""Nesting of a run's config.yaml; libyaml's own recursion has no bound but the stack."""
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


def read_config(file: Path) -> dict[str, Any]:
    """The configuration in a run's folder, as plain data.

    A tag builds no object, `_target_` is a word like others, and `${oc.env:…}` stays text and is not looked up in this
    machine's environment. Aliases, a few lines of which unfold to gigabytes, and deep nesting, which ends the process,
    are refused.

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
        for event in yaml.parse(text, loader) if UNUSUAL.search(text) or text.count("[") > DEEPEST else ():
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
    """run.json, how a run was made.

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
