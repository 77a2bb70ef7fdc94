"""The cells of a sweep before any of them runs: how many, with which overrides, and their configurations."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

VALUE = re.compile(r"(?!hydra\.)(seed|[A-Za-z_]\w*(\.\w+)+)=[^{]*", re.DOTALL)
"""An override that sets one value and chooses no option of a group."""


def overrides_of(config: DictConfig) -> list[list[str]]:
    """The overrides of each cell of a sweep, as Hydra's own sweeper has them: of a key given twice, the last counts.

    Args:
        config: the sweep's own configuration, with Hydra's node.
    """
    params = config.hydra.sweeper.get("params") or {}
    texts = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    given: dict[str, list[str]] = {}
    for override in OverridesParser.create().parse_overrides(texts):
        key = override.get_key_element()
        sweeps = override.is_sweep_override()
        values = override.sweep_string_iterator() if sweeps else [override.get_value_element_as_str()]
        given[key] = [f"{key}={value}" for value in values]
    return [list(cell) for cell in itertools.product(*given.values())]


def cells_of(config: DictConfig, loader: ConfigLoader) -> Iterator[DictConfig]:
    """The configuration of each cell of a sweep, as `vml-bench run` has it, each good until the next is asked for.

    Hydra composes once for each choice of groups. Cells that differ in values alone are one configuration whose values
    change, for copying it takes as long as composing it.

    Args:
        config: the sweep's own configuration, with Hydra's node.
        loader: Hydra's, which composed it.

    Raises:
        HydraException, OmegaConfBaseException: a cell cannot be composed.
    """
    composed: dict[tuple[str, ...], DictConfig] = {}
    for overrides in overrides_of(config):
        values = [text for text in overrides if VALUE.fullmatch(text)]
        choices = tuple(text for text in overrides if text not in values)
        if choices not in composed:
            composed[choices] = _plain(loader.load_sweep_config(config, overrides))
        for override in OverridesParser.create().parse_overrides(values):
            OmegaConf.update(composed[choices], override.key_or_group, override.value(), merge=True)
        yield composed[choices]


def planned(config_name: str, overrides: Sequence[str], loader: ConfigLoader, multirun: bool) -> Iterator[DictConfig]:
    """The cells that `vml-bench run` with these overrides would run, one or a sweep's (`cells_of`).

    Args:
        config_name: of the configuration to start from.
        overrides: Hydra's.
        loader: Hydra's.
        multirun: whether a sweep was asked for (`-m`); a configuration may ask for one too.

    Raises:
        HydraException, OmegaConfBaseException: a cell cannot be composed, or a list was given without `-m`.
    """
    config = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.MULTIRUN)
    if multirun or config.hydra.mode == RunMode.MULTIRUN:
        yield from cells_of(config, loader)
        return
    if any(override.is_sweep_override() for override in OverridesParser.create().parse_overrides(list(overrides))):
        config = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.RUN)  # refuses them
    yield _plain(config)


def _plain(config: DictConfig) -> DictConfig:
    """A configuration without Hydra's own node, which no cell sees."""
    with open_dict(config):
        del config["hydra"]
    return config
