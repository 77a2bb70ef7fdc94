"""Where a process computes: which device, which GPU if there are several, and how many threads."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from vml_bench.errors import InputError

_held: list[FileLock] = []
"""Locks that this process holds until it ends; one that is garbage-collected is released."""


def choose_device(name: str) -> torch.device:
    """The device that a name means; "auto" is a GPU of this process's own (`reserve_gpu`), Apple's, or the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", reserve_gpu())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"runner.device={name} cannot be used ({reason})", "set runner.device=auto or cpu") from error
    return device


@cache
def reserve_gpu() -> int:
    """Index of the GPU that this process computes on: the first of those with the fewest reservations.

    A reservation is a kernel lock on a file in the temporary folder, held until the process ends, however it ends. The
    file is named by the GPU's UUID, so processes with different CUDA_VISIBLE_DEVICES mean the same GPU by it. Only one
    user's processes on one machine see each other's reservations, and a process whose `runner.device` names a GPU makes
    none. If every GPU is reserved, the process shares one and says so.
    """
    user = os.getuid() if hasattr(os, "getuid") else "gpus"  # Windows: its temporary folder is the user's own
    folder = Path(tempfile.gettempdir()) / f"vml-bench-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    uuids = [torch.cuda.get_device_properties(index).uuid for index in range(torch.cuda.device_count())]
    for others in itertools.count():
        for index, uuid in enumerate(uuids):
            lock = FileLock(folder / f"gpu-{uuid}-{others}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            _held.append(lock)
            torch.cuda.set_device(index)
            if others:
                print(f"every GPU is reserved: GPU {index} is shared with {others} more", file=sys.stderr, flush=True)
            return index
    raise AssertionError("unreachable: some lock is free")


def gpus(fewest: int = 1) -> int:
    """Number of GPUs that this process may see; what `${gpus:}` means in a launcher's configuration.

    Raises:
        InputError: fewer than `fewest`.
    """
    count = torch.cuda.device_count()
    if count < fewest:
        raise InputError(f"{count} GPUs are visible here, {fewest} or more are needed", "use hydra/launcher=processes")
    return count


def use_threads(threads: int | None) -> None:
    """Let torch use this many CPU threads; None leaves the number as it is."""
    if threads is not None:
        torch.set_num_threads(threads)
