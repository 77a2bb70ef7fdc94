"""Weights on disk: read safely, and compared tensor by tensor with the network that they are for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from vml_bench.errors import InputError

SHOWN = 8


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read tensors and the JSON under the metadata key "config" of a safetensors file.

    Raises:
        InputError: the file is missing, is no safetensors file, or carries no configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"weight file {path} does not exist", "set prior.checkpoint to a file, or run `vml-bench train` to make one"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), json.loads(metadata["config"])
    except SafetensorError as error:
        raise InputError(
            f"weight file {path} is not a whole safetensors file ({error})", "copy or train it again"
        ) from error
    except (KeyError, json.JSONDecodeError) as error:
        raise InputError(
            f"weight file {path} carries no network configuration", "use a file written by `vml-bench train`"
        ) from error


def load_exactly(network: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy `tensors` into `network` if, and only if, names and shapes agree one for one.

    Raises:
        InputError: any tensor is missing, unknown or of another shape; lists them.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = [f"missing {name} {expected[name]}" for name in expected.keys() - found.keys()]
    faults += [f"unknown {name} {found[name]}" for name in found.keys() - expected.keys()]
    faults += [
        f"{name} is {found[name]} where {expected[name]} is needed"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if faults:
        listed = ", ".join(sorted(faults)[:SHOWN]) + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
        raise InputError(
            f"checkpoint {source} does not fit the network: {listed}",
            "set prior.checkpoint to the file this prior names",
        )
    network.load_state_dict(dict(tensors))
