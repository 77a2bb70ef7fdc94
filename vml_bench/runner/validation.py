"""Everything that can be wrong with a cell's configuration, found before any compute is spent."""

from __future__ import annotations

import math
import re

import torch
from omegaconf import DictConfig

from vml_bench.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def validate(config: DictConfig) -> None:
    """Check the values that the harness itself reads.

    Raises:
        InputError: the first value that cannot be used.
    """
    for group in ("dataset", "task", "method"):
        name = config[group].name
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(
                f"{group}.name={name!r} cannot name a folder",
                "use letters, digits, '.', '_' and '-', starting with a letter or digit",
            )
    noise_std = config.task.noise_std
    if not is_number(noise_std) or not 0 <= noise_std < math.inf:
        raise InputError(
            f"task.noise_std={noise_std} is no noise level", "set task.noise_std to σ_y ≥ 0, images in [-1, 1]"
        )
    for key in ("batch_size", "limit"):
        value = config.runner[key]
        if key == "limit" and value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"runner.{key}={value} is no number of images", f"set runner.{key} to 1 or more")
    if not isinstance(config.seed, int):
        raise InputError(f"seed={config.seed} is no integer", "set seed to an integer")


def is_number(value: object) -> bool:
    """Whether a value is an int or a float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def choose_device(name: str) -> torch.device:
    """The device that a name means; "auto" is CUDA where there is one, then Apple's, then the processor.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"runner.device={name} cannot be used ({reason})", "set runner.device=auto or cpu") from error
    return device
