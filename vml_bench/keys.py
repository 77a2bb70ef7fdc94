"""Which keys of a configuration are read; one that nothing reads is refused with the nearest that is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from omegaconf import DictConfig, OmegaConf

from vml_bench.errors import InputError

RUNNER = ("batch_size", "limit", "shard", "device", "threads", "results_dir")
KEYS = {
    "": ("seed", "starts", "compute", "runner", "prior", "dataset", "task", "method", "metrics", "tracker"),
    "runner": RUNNER,
    "prior": ("name", "cite", "cost", "model", "synthetic"),
    "dataset": ("name", "cite", "wants", "images"),
    "task": ("name", "noise_std", "operator"),
    "method": ("name", "about", "tasks", "by_task", "source", "sampler"),
}
"""What the harness itself reads of each group; what else stands there must be referred to by something."""
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)(?=[$}])")
"""A key that something refers to, or what of it stands before a reference within: `${method.tasks.${task.name}}`."""


def check_unread(config: DictConfig) -> None:
    """Refuse a key that nothing reads: neither the harness nor, by reference, anything that is built.

    Raises:
        InputError: names the key and the nearest that is read.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    referred = set(_references(raw))
    for group, read in KEYS.items():
        node = raw.get(group, {}) if group else raw
        for key in node if isinstance(node, Mapping) else ():
            full = f"{group}.{key}" if group else str(key)
            used = any(full == name or name.startswith(f"{full}.") or full.startswith(f"{name}.") for name in referred)
            if key not in read and not used:
                raise unread(full, keys_of(raw))


def unread(key: str, known: Sequence[str]) -> InputError:
    """The refusal of a key that nothing reads."""
    near = nearest(key, [other for other in known if other != key])
    return InputError(f"{key} is read by nothing", f"the nearest key is {near}" if near else "leave it out")


def nearest(key: str, known: Sequence[str]) -> str | None:
    """The key that was most likely meant: one of the same last name, else the one spelt most like it."""
    last = key.rpartition(".")[2]
    group = key.rpartition(".")[0]
    same = [other for other in known if other.rpartition(".")[2] == last]
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == group}
    if found := difflib.get_close_matches(last, siblings, 1, 0.6):
        return siblings[found[0]]
    if same:
        return min(same, key=lambda other: (other.count("."), other))
    return next(iter(difflib.get_close_matches(key, known, 1, 0.4)), None)


def keys_of(node: object, prefix: str = "") -> list[str]:
    """Dotted keys of all values of a configuration."""
    if not isinstance(node, Mapping):
        return [prefix]
    inner = (
        keys_of(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in node.items() if key != "_target_"
    )
    return [*([prefix] if prefix else []), *(key for keys in inner for key in keys)]


def _references(node: object) -> Iterator[str]:
    """Keys that a configuration refers to by interpolation."""
    if isinstance(node, str):
        yield from REFERENCE.findall(node)
    for value in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _references(value)
