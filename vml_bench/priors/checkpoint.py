"""Reads weights safely, and compares them tensor by tensor with their network."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vml_bench.errors import InputError

SHOWN = 8
"""How many differences a message lists."""
DEEPEST = 8
"""How many parts a prefix may have."""
NOT_WEIGHTS = (
    (
        rb"version https://git-lfs",
        "is a Git LFS pointer, a few lines of text that stand for the weights",
        "run `git lfs pull` in the clone that it is from, or download the file itself",
    ),
    (
        rb"\s*<(!doctype|html|head|\?xml|error)",
        "is a web page or a server's error message, saved in place of the weights",
        "download the file itself: from Google Drive past its warning (a browser or gdown does it), from Hugging Face "
        "at …/resolve/…, not at …/blob/…",
    ),
    (
        rb"PK\x03\x04",
        "ends early: the list of contents at the end of a .pt file is missing, as after a broken download",
        "download the rest with `curl -L -C - -O URL`, or fetch it again",
    ),
)
"""How a file that cannot be read begins (a regular expression), what it is then, and what to do."""

FAMILIES = (
    (
        "first_stage_model.",
        "a latent diffusion model (LDM)",
        "convert it to diffusers' pipeline (unet/, vqvae/, scheduler/), and choose prior=diffusers with its folder",
    ),
    ("input_blocks.", "guided-diffusion (ADM)", "choose a prior of that kind: `vml-bench run --help` lists them"),
    ("temb.dense.", "the DDIM program", "choose prior=celebahq256_sdedit, or a DDPM of the same architecture"),
    ("down_blocks.", "diffusers", "choose prior=diffusers, with prior.checkpoint=FOLDER that also has its config.json"),
    ("all_modules.", "score_sde", "convert it to diffusers' UNet2DModel, and choose prior=diffusers"),
    ("map_layer0.", "EDM", "convert it to diffusers' UNet2DModel, and choose prior=diffusers"),
)
"""What is part of a tensor's name in each family of networks, the family, and what to do with a file of it."""


@dataclass(frozen=True)
class Stored:
    """The tensors of a weight file.

    Attributes:
        tensors: by name.
        notes: how they were found in the file, in words, where they were not simply its content.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


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


def read_tensors(path: str | Path) -> Stored:
    """Read a file that holds named tensors only: safetensors, or a dictionary that `torch.save` wrote.

    Pickles are read by torch's weights-only unpickler, which runs nothing; its zip files are mapped into
    memory, so that only the parts in use are read. `torch.save` does not compress: a zip file with a
    compressed member is refused, for mapped it would be read as noise, and unpacked it could be of any size.
    A dictionary or list that holds one set of named tensors among other things (a step, an optimiser's state) is
    unwrapped, which the notes say.

    Raises:
        InputError: the file is missing or broken, holds several sets of tensors, or anything but floating-point
            tensors by name.
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
    content, notes = _unwrapped(content, path)
    entries = dict(content) if isinstance(content, Mapping) else {f"one {type(content).__name__}": None}
    odd = [_shown(name) for name, value in entries.items() if not (isinstance(name, str) and _is_plain(value))]
    if odd or not entries:
        raise InputError(
            f"weight file {path} is not a dictionary of floating-point tensors: it holds {_listed(odd) or 'nothing'}",
            "set prior.checkpoint to a file of weights alone",
        )
    return Stored(entries, notes)


def _unwrapped(content: object, path: Path) -> tuple[object, tuple[str, ...]]:
    """The one set of named tensors among a dictionary's or a list's members, and a note of it.

    The content itself where there is none, or where it holds tensors beside it, a step of no dimension apart.

    Raises:
        InputError: there are several, or averages in another form.
    """
    members = content if isinstance(content, Mapping) else dict(enumerate(content if isinstance(content, list) else ()))
    sets = [key for key, value in members.items() if isinstance(value, Mapping) and _all_tensors(value)]
    averages = [
        key for key, value in members.items() if _says_ema(str(key)) and isinstance(value, (Mapping, list, tuple))
    ]
    if not sets or any(isinstance(value, Tensor) and value.dim() for value in members.values()):
        return content, ()
    if len(several := list(dict.fromkeys([*sets, *averages]))) > 1:
        raise InputError(*_several(path, [repr(_shown(str(key))) for key in several], "[NAME]"))
    return members[sets[0]], (f"taken from its member {_shown(str(sets[0]))!r}",)


def _all_tensors(value: Mapping) -> bool:
    return bool(value) and all(isinstance(item, Tensor) for item in value.values())


def _says_ema(name: str) -> bool:
    return bool(re.search(r"(^|[._])ema([._]|$)", name, re.IGNORECASE))


def _several(path: str | Path, names: list[str], part: str) -> tuple[str, str]:
    """Problem and remedy for a file that holds several sets of weights, such as plain and averaged (EMA) ones."""
    return (
        f"weight file {path} holds several sets of weights: {_listed(names)}",
        "save the one to use, mostly the averaged (EMA) one, as a file of its own: "
        f"torch.save(torch.load(FILE, weights_only=True){part}, NEW_FILE)",
    )


def without_prefix(stored: Stored, expected: Iterable[str], source: str | Path) -> Stored:
    """The tensors without the prefix that their names have ("module." of DataParallel), which the notes then say.

    Args:
        stored: what a file holds.
        expected: the names that the network needs.
        source: the file, for errors.

    Raises:
        InputError: the network's tensors are there under several prefixes.
    """
    names, wanted = stored.tensors.keys(), set(expected)
    probe = min(wanted)
    heads = [name.removesuffix(probe) for name in names if name.endswith(probe)]
    whole = [head for head in heads if all(head + name in names for name in wanted)]
    if len(whole) > 1:
        shown = [repr(_shown(head)) if head else "no prefix" for head in whole]
        raise InputError(*_several(source, shown, ", tensors of one prefix"))
    prefixes = accumulate(f"{part}." for part in next(iter(names)).split(".", DEEPEST)[:-1])
    shared = [prefix for prefix in prefixes if all(name.startswith(prefix) for name in names)]
    head = (whole or shared[-1:] or [""])[0]
    tensors = {name.removeprefix(head): tensor for name, tensor in stored.tensors.items()}
    if not head or any(name.startswith(head) for name in wanted) or len(tensors) < len(names):
        return stored
    return Stored(tensors, (*stored.notes, f"names without {_shown(head)!r}"))


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
    with open(path, "rb") as file:
        beginning = file.read(256)
    for pattern, what, remedy in NOT_WEIGHTS:
        if re.match(pattern, beginning, re.IGNORECASE) and not zipfile.is_zipfile(path):
            return f"weight file {path} {what}", remedy
    if isinstance(error, pickle.UnpicklingError):
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        return (
            f"weight file {path} holds something other than tensors"
            + (f" (its pickle asks for {asked[1]})" if asked else "")
            + ": it was refused, and nothing of it was run",
            "fetch the published file again; of one that you trust, save the tensors alone (`model.state_dict()`)",
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
            _remedy(expected, found, len(faults)),
        )


def _remedy(expected: Iterable[str], found: Iterable[str], faults: int) -> str:
    """What to do about a file that does not fit: by the family that its names tell, else by averages beside them."""
    needed, theirs = _family(expected), _family(found)
    if theirs and theirs != needed:
        return f"its names are those of {theirs[1]}: {theirs[2]}"
    if any(map(_says_ema, set(found) - set(expected))):
        return "it has averaged weights (EMA) beside the plain ones: save the set to use as a file of its own"
    of_another = "it is of another architecture: " if faults > SHOWN else ""
    return f"{of_another}set prior.checkpoint to the file this prior names"


def _family(names: Iterable[str]) -> tuple[str, str, str] | None:
    names = list(names)
    return next((family for family in FAMILIES if any(family[0] in name for name in names)), None)


def _listed(faults: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    return ", ".join(faults[:SHOWN]) + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
