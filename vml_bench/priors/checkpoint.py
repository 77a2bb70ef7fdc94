"""Reads weights safely, and compares them tensor by tensor with their network."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vml_bench.errors import InputError

SHOWN = 8


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read tensors and the JSON under the metadata key "config" of a safetensors file.

    Raises:
        InputError: the file is missing, is not a safetensors file, or carries no configuration.
    """
    path = existing(path, "set prior.checkpoint to a file, or run `python -m vml_bench.train` to make one")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors, config = load_file(path), json.loads(metadata["config"])
        if not isinstance(config, dict):
            raise ValueError("the configuration is not an object")
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"weight file {path} is not a whole safetensors file ({error})", "copy or train it again"
        ) from error
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(
            f"weight file {path} carries no network configuration", "use a file written by `python -m vml_bench.train`"
        ) from error
    return tensors, config


def existing(path: str | Path, remedy: str) -> Path:
    """The path of a weight file.

    Raises:
        InputError: it does not exist, or is not a file but a folder, a pipe or a device.
    """
    path = Path(path)
    if not path.is_file():
        found = "is not a file" if path.exists() else "does not exist"
        raise InputError(f"weight file {path} {found}", remedy)
    return path


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a file that holds named tensors only: safetensors, or a flat dictionary that `torch.save` wrote.

    Pickles are read by torch's weights-only unpickler, which runs nothing; its zip files are mapped into
    memory, so that only the parts in use are read. `torch.save` does not compress: a zip file with a
    compressed member is refused, for mapped it would be read as noise, and unpacked it could be of any size.

    Raises:
        InputError: the file is missing or broken, or holds anything but floating-point tensors by name.
    """
    path = existing(path, "set prior.checkpoint to a file of weights")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            mapped = zipfile.is_zipfile(path)
            if mapped:
                _refuse_compressed(path)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # what a broken or hostile pickle raises is up to the pickle
        raise InputError(*_why_unreadable(path, error)) from error
    entries = dict(content) if isinstance(content, Mapping) else {f"one {type(content).__name__}": None}
    odd = [_shown(name) for name, value in entries.items() if not (isinstance(name, str) and _is_plain(value))]
    if odd or not entries:
        raise InputError(
            f"weight file {path} is not a dictionary of floating-point tensors: it holds {_listed(odd) or 'nothing'}",
            "set prior.checkpoint to a file of weights alone",
        )
    return entries


def _refuse_compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError(f"its member {_shown(member.filename)} is compressed, which torch.save never does")


def _is_plain(value: object) -> bool:
    """Whether a value is a dense floating-point tensor with its numbers in memory."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and not value.is_nested
        and value.device.type == "cpu"
    )


def _shown(name: object) -> str:
    """A tensor's name in printable form; for a name that is not text, its type."""
    if not isinstance(name, str):
        return f"a name of type {type(name).__name__}"
    return "".join(character if character.isprintable() else "?" for character in name[:200])


def _why_unreadable(path: Path, error: Exception) -> tuple[str, str]:
    """Problem and remedy for a file that could not be read."""
    if isinstance(error, pickle.UnpicklingError):
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        return (
            f"weight file {path} holds something other than tensors"
            + (f" (its pickle asks for {asked[1]})" if asked else "")
            + ": it was refused, and nothing of it was run",
            "fetch the published file again",
        )
    reason = _shown(" ".join(str(error).split(". ")[0].split())) or type(error).__name__
    return f"weight file {path} is not a whole file of tensors ({reason})", "copy or fetch it again"


def check_tensors(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Compare the names and shapes of `tensors` with those that a network needs, one by one.

    Raises:
        InputError: any tensor is missing, unknown or of another shape; lists them.
    """
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = [f"missing {name} {expected[name]}" for name in expected.keys() - found.keys()]
    faults += [f"unknown {_shown(name)} {found[name]}" for name in found.keys() - expected.keys()]
    faults += [
        f"{name} is {found[name]} where {expected[name]} is needed"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if faults:
        raise InputError(
            f"checkpoint {source} does not fit the network: {_listed(sorted(faults))}",
            "set prior.checkpoint to the file this prior names",
        )


def _listed(faults: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    return ", ".join(faults[:SHOWN]) + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
