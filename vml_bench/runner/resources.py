"""What cells of a sweep share: priors, metric networks and data sets, each built once per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vml_bench.errors import InputError

_built: dict[str, Any] = {}


def build(config: DictConfig, what: str, *arguments: Any, **keywords: Any) -> Any:
    """Instantiate a configuration node; what the user can fix surfaces as `InputError`.

    Args:
        config: node with a `_target_`.
        what: name of the group, for messages.
    """
    try:
        return instantiate(config, *arguments, **keywords)
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        reason = " ".join(str(error).split())
        raise InputError(f"{what} cannot be built: {reason}", f"check conf/{what}") from error


def build_operator(config: DictConfig, image_shape: tuple[int, int, int], dtype: torch.dtype) -> Any:
    """Instantiate a task's operator for images of a shape and dtype; its node may be a `_partial_` or not."""
    supplied = {"image_shape": image_shape, "dtype": dtype}
    if config.get("_partial_"):
        return build(config, "task")(**supplied)
    return build(config, "task", **supplied)


def shared(what: str, make: Callable[[], Any], *depends: DictConfig | torch.device) -> Any:
    """Return what `make` builds, or what it built before for equal `depends`.

    Args:
        what: name of the thing.
        make: builds it.
        depends: all that it depends on: configuration nodes, the device.
    """
    parts = [
        OmegaConf.to_yaml(part, resolve=True, sort_keys=True) if isinstance(part, DictConfig) else str(part)
        for part in depends
    ]
    key = "\n".join([what, *parts])
    if key not in _built:
        _built[key] = make()
    return _built[key]
