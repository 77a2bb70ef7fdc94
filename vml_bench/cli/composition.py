"""One cell's configuration from overrides, composed in this process: for commands and calls that are no Hydra program.

`vml-bench run` is one; there Hydra composes the configuration itself, sweeps and launchers included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml_bench.cli.sweeps import refusals
from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.runner.command import override_value

if TYPE_CHECKING:  # what starts fast imports late
    from omegaconf import DictConfig

Overrides = Sequence[str] | Mapping[str, Any]
"""["task.noise_std=0", …] as on the command line, or {"task.noise_std": 0, …}."""


def compose(overrides: Overrides, folder: str | Path | None = None) -> DictConfig:
    """The configuration of one cell, as `vml-bench run` with the same overrides has it.

    Args:
        overrides: what differs from conf/config.yaml.
        folder: further options, as of `--config-dir`.

    Raises:
        InputError: Hydra refuses one of them.
    """
    given = as_list(overrides)
    if folder is not None:
        given.append(f"hydra.searchpath=[{override_value(f'file://{Path(folder).expanduser().resolve()}')}]")
    with refusals("config", given):
        return _composed(given)


def as_list(overrides: Overrides) -> list[str]:
    """Overrides as the command line has them."""
    if isinstance(overrides, str):
        raise InputError(f"overrides={overrides!r} is one text", f"give a list: [{overrides!r}]")
    if isinstance(overrides, Mapping):
        return [f"{key}={_worded(value)}" for key, value in overrides.items()]
    return [str(override) for override in overrides]


def _composed(overrides: list[str]) -> DictConfig:
    """Compose, and leave Hydra as it was, for the caller may be a Hydra program."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    known, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra.compose("config", overrides)
    finally:
        GlobalHydra.instance().hydra = known


def _worded(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_worded(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_worded, value))}]"
    return override_value(str(value)) if isinstance(value, (str, Path)) else json.dumps(value)
