"""What cells of a sweep share: priors, metric networks and data sets, each built once in a process."""

from __future__ import annotations

from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vml_bench.errors import InputError

_built: dict[str, Any] = {}


def build(config: DictConfig, what: str, *arguments: Any, **keywords: Any) -> Any:
    """Instantiate a configuration node; what the user can mend surfaces as `InputError`.

    Args:
        config: node with a `_target_`.
        what: name of the group, for messages.
    """
    try:
        built = instantiate(config, *arguments, **keywords)
        return built
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        reason = " ".join(str(error).split())
        raise InputError(f"{what} cannot be built: {reason}", f"check conf/{what}") from error


def shared(config: DictConfig, what: str, device: torch.device | None = None) -> Any:
    """Build a node, or return what an equal node built before; networks are moved to `device` once."""
    key = f"{what}@{device}\n{OmegaConf.to_yaml(config, resolve=True, sort_keys=True)}"
    if key not in _built:
        built = build(config, what)
        if device is not None and hasattr(built, "to"):
            built = built.to(device)
        _built[key] = built
    return _built[key]
