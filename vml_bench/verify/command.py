"""The command that makes a run again: the groups of its configuration and the overrides that set it apart."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench.configuration import config_dir
from vml_bench.runner.provenance import NOT_NAMING, run_name
from vml_bench.verify.folder import RunFolder, Unreadable

PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.-]*")
"""Strings that Hydra's overrides take without quotes."""
WORDS = ("null", "true", "false", "inf", "nan", "on", "off", "yes", "no")
NOTHING = object()
"""In place of a value that is not there."""


def command(run: RunFolder) -> str | None:
    """The `vml-bench run …` that goes on with a run, quoted for a shell; None where none has its name.

    Where config.yaml was changed by hand in one value, or is gone from a run of default settings, the command is
    that of the run as it was begun.
    """
    for overrides in _tried(run):
        try:
            named = run_name(composed(overrides))
        except (HydraException, OmegaConfBaseException):
            continue
        if named == run.path.name:
            return shlex.join(["vml-bench", "run", *overrides, *_how(run)])
    return None


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration that `vml-bench run` composes of overrides."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", list(overrides))


def _tried(run: RunFolder) -> Iterator[list[str]]:
    """Overrides that may make the run: those of config.yaml, the same without any one of them, none."""
    try:
        groups, differing = overrides_of(run)
    except (HydraException, OmegaConfBaseException):
        return
    yield [*groups, *differing]
    for i in range(len(differing)):
        yield [*groups, *differing[:i], *differing[i + 1 :]]
    yield groups


def overrides_of(run: RunFolder) -> tuple[list[str], list[str]]:
    """Overrides that choose the groups of a run's configuration, and those of single values that still differ."""
    names = dict(zip(("dataset", "task", "method"), run.path.parts[-4:], strict=False))
    made = None if isinstance(run.config, Unreadable) else OmegaConf.to_container(run.config)
    groups: list[str] = []
    for group, name in names.items():
        groups.append(f"{group}={name if made is None or name in _options(group) else _closest(group, groups, made)}")
    config = composed(groups)
    if made is None:
        return groups, []
    if (name := made["prior"]["name"]) != config.prior.name and name in _options("prior"):
        groups.append(f"prior={name}")
        config = composed(groups)
    if _distance(config, made, "metrics"):
        groups.append(f"metrics={_closest('metrics', groups, made)}")
        config = composed(groups)
    return groups, _differing(config, made)


def _options(group: str) -> list[str]:
    """The names in a group of the configuration."""
    return sorted(file.stem for file in (config_dir() / group).glob("*.yaml"))


def _closest(group: str, groups: list[str], made: dict) -> str:
    """The name in a group that is closest to what a run was made with."""
    return min(_options(group), key=lambda name: _distance(composed([*groups, f"{group}={name}"]), made, group))


def _distance(config: DictConfig, made: dict, group: str) -> int:
    """In how many values a group differs from what a run was made with."""
    return sum(
        _value(config, key) != _made(made, key) for key, _ in _leaves(config, made) if key.startswith(f"{group}.")
    )


def _differing(config: DictConfig, made: dict) -> list[str]:
    """Overrides that turn a composed configuration into the one a run was made with.

    Values that others are derived from come first, and what follows from them needs no override of its own.
    """
    OmegaConf.set_struct(config, False)
    leaves = [leaf for leaf in _leaves(config, made) if leaf[0].split(".")[0] not in NOT_NAMING]
    overrides = []
    for key, _ in sorted(leaves, key=lambda leaf: (leaf[1], leaf[0].count("."), leaf[0])):
        old, new = _value(config, key), _made(made, key)
        if old is new or _same(old, new):
            continue
        if new is NOTHING:
            overrides.append(f"~{key}")
            parent, last = _parent(config, key)
            del parent[last]
        else:
            overrides.append(f"{'+' if old is NOTHING and not _missing(config, key) else ''}{key}={literal(new)}")
            OmegaConf.update(config, key, new, merge=False)
    return overrides


def _same(old: Any, new: Any) -> bool:
    """Whether two values are written alike, 0 and 0.0 are not."""
    return type(old) is type(new) and (old == new or (isinstance(old, float) and math.isnan(old) and math.isnan(new)))


def _leaves(config: DictConfig, made: dict) -> list[tuple[str, bool]]:
    """Keys of all values of either configuration, and whether the composed one derives the value from another."""

    def walk(old: Any, new: Any, path: str) -> Iterator[tuple[str, bool]]:
        if isinstance(old, dict) and isinstance(new, dict):
            for key in [*old, *(key for key in new if key not in old)]:
                yield from walk(old.get(key, NOTHING), new.get(key, NOTHING), f"{path}.{key}" if path else key)
        else:
            yield path, isinstance(old, str) and "${" in old

    return list(walk(OmegaConf.to_container(config, resolve=False), made, ""))


def _value(config: DictConfig, key: str) -> Any:
    """A resolved value, NOTHING where there is none."""
    try:
        value = OmegaConf.select(config, key, default=NOTHING, throw_on_missing=True)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return NOTHING


def _missing(config: DictConfig, key: str) -> bool:
    """Whether a key is there and waits for a value (`???`)."""
    parent, last = _parent(config, key)
    return isinstance(parent, DictConfig) and last in parent.keys()  # noqa: SIM118, `in` leaves out what is missing


def _parent(config: DictConfig, key: str) -> tuple[DictConfig, str]:
    """The node that holds a value, and the value's name in it."""
    path, _, name = key.rpartition(".")
    return (OmegaConf.select(config, path) if path else config), name


def _made(made: dict, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(made, dict) or part not in made:
            return NOTHING
        made = made[part]
    return made


def literal(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(literal, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str) or (PLAIN.fullmatch(value) and value.lower() not in WORDS):
        return str(value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", re.sub(r"(\\*)'", r"\1\1\\'", value)) + "'"


def _how(run: RunFolder) -> list[str]:
    """What does not name the run: how many images it was asked for, and where its results lie."""
    limit = None if isinstance(run.config, Unreadable) else OmegaConf.select(run.config, "runner.limit")
    limited = run.ids and (limit is not None or isinstance(run.config, Unreadable))
    folder = [] if run.results == Path("results") else [f"runner.results_dir={literal(str(run.results))}"]
    return [*([f"runner.limit={len(run.ids)}"] if limited else []), *folder]
