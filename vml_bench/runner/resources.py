"""What cells of a sweep share: priors, metric networks and data sets, each built once per process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vml_bench.contract import lacking
from vml_bench.errors import InputError

_built: dict[str, Any] = {}


def build(config: DictConfig, where: str, contract: type | None = None, **supplied: Any) -> Any:
    """Instantiate a configuration node; what the user can fix surfaces as `InputError`.

    Args:
        config: node with a `_target_`; it may be a `_partial_`.
        where: its key, for messages.
        contract: what it is to be, of `vml_bench.contract`.
        supplied: further arguments.
    """
    try:
        built = instantiate(config)(**supplied) if config.get("_partial_") else instantiate(config, **supplied)
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        reason = " ".join(str(error).split())
        group = where.partition(".")[0]
        raise InputError(f"{where} cannot be built: {reason}", f"check conf/{group}") from error
    if contract:
        refuse_lacking(built, contract, where)
    return built


def build_operator(config: DictConfig, image_shape: tuple[int, int, int], dtype: torch.dtype) -> Any:
    """Instantiate a task's operator for images of a shape and dtype."""
    return build(config, "task.operator", image_shape=image_shape, dtype=dtype)


def refuse_lacking(part: object, contract: type, where: str) -> None:
    """Refuse what a configuration built where it has not all that its place asks for.

    Raises:
        InputError: names the missing members.
    """
    if missing := lacking(part, contract):
        raise InputError(
            f"{where}: {type(part).__name__} has no {', '.join(missing)}",
            f"give it what vml_bench.contract.{contract.__name__} lists",
        )


def shared(what: str, make: Callable[[], Any], *depends: DictConfig | torch.device) -> Any:
    """Return what `make` builds, or what it built before for equal `depends`.

    Args:
        what: name of the thing.
        make: builds it.
        depends: all that it depends on: configuration nodes, the device.
    """
    parts = [
        json.dumps(OmegaConf.to_container(part, resolve=True), sort_keys=True)
        if isinstance(part, DictConfig)
        else str(part)
        for part in depends
    ]
    key = "\n".join([what, *parts])
    if key not in _built:
        _built[key] = make()
    return _built[key]
