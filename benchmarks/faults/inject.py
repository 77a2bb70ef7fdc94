"""What a process does to itself before it runs a command: faults at exact places, and a record of what it restores."""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vml_bench.cli import main
from vml_bench.metrics import MetricSuite
from vml_bench.runner.compute import ComputedPrior
from vml_bench.runner.run import Runner

Injection = Callable[[], None]

OUT_OF_MEMORY = (
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
)


def command(arguments: Sequence[str], said: Path, log: Path, injections: Sequence[Injection]) -> None:
    """Run `vml-bench` in this process, its output in a file, its restorations in another."""
    with open(said, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored by what they start with &
    tqdm.set_lock(threading.RLock())  # the inherited one is shared: a process killed with it would stop the others
    record_restorations(log)
    for inject in injections:
        inject()
    note(log, "ready")
    main(arguments)


def note(log: Path, line: str) -> None:
    """Add a line to a file that several processes write to."""
    with open(log, "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def record_restorations(log: Path) -> None:
    """Note the ids of images when their restoration begins."""
    restore = Runner.restore

    def recorded(self: Runner, batch: object) -> object:
        note(log, "".join(f"restores {image_id}\n" for image_id in batch.ids)[:-1])
        return restore(self, batch)

    Runner.restore = recorded


def on_change(root: Path, act: Callable[[int, str, Path], None]) -> None:
    """Call `act` with number, kind and path before each change to a folder: "fsync", "rename" (the new path), "remove".

    Changes to files whose names begin with a dot are left out, but for what is written through to the disk.
    """
    number = itertools.count(1)
    fsync = os.fsync

    def changing(kind: str, path: Path) -> None:
        if path.is_relative_to(root) and (kind == "fsync" or not path.name.startswith(".")):
            act(next(number), kind, path)

    def hook(event: str, arguments: tuple) -> None:
        if event == "os.rename":
            changing("rename", Path(arguments[1]))
        elif event == "os.remove":
            changing("remove", Path(arguments[0]))

    def synced(descriptor: int) -> None:
        changing("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    os.fsync = synced
    sys.addaudithook(hook)


def count_changes(root: Path, into: Path) -> None:
    """Note every change to a folder."""
    on_change(root, lambda number, kind, path: note(into, f"{kind} {path.relative_to(root)}"))


def die_at_change(root: Path, nth: int) -> None:
    """Be killed just before the n-th change to a folder."""

    def act(number: int, kind: str, path: Path) -> None:
        if number == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    on_change(root, act)


def die_before(root: Path, kind: str, pattern: str, nth: int = 1) -> None:
    """Be killed just before the n-th change of a kind to paths, within a folder, that fit a pattern."""
    fitting = itertools.count(1)

    def act(number: int, found: str, path: Path) -> None:
        if found == kind and fnmatch(path.relative_to(root).as_posix(), pattern) and next(fitting) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    on_change(root, act)


def before_restoring(nth: int, act: Injection) -> None:
    """Do something when the n-th batch is about to be restored."""
    restore, calls = Runner.restore, itertools.count(1)

    def acting(self: Runner, batch: object) -> object:
        if next(calls) == nth:
            act()
        return restore(self, batch)

    Runner.restore = acting


def die() -> None:
    """Be killed now."""
    os.kill(os.getpid(), signal.SIGKILL)


def spoil_numbers(value: float, chance: float, seed: int) -> None:
    """Let random evaluations answer NaN or ±∞, in a column of pixels of one image at random."""
    draw, answer = random.Random(seed), ComputedPrior.__call__

    def spoiled(self: ComputedPrior, x: Tensor, sigma: float) -> Tensor:
        denoised = answer(self, x, sigma)
        if draw.random() < chance:
            denoised = denoised.clone()
            image = denoised[draw.randrange(len(denoised))]
            image[..., draw.randrange(image.shape[-1])] = value
        return denoised

    ComputedPrior.__call__ = spoiled


def run_out_of_memory(chance: float, seed: int, alone: bool = False, after: int = 0) -> None:
    """Raise, at random, what allocators raise: in the prior, in the scores, in the features of more than one image.

    Args:
        chance: of each call.
        seed: of chance.
        alone: a single image does not fit, either.
        after: calls that succeed in any case.
    """
    draw, calls = random.Random(seed), itertools.count(1)

    def limited(compute: Callable) -> Callable:
        def tried(self: object, images: Tensor, *arguments: object) -> object:
            if (len(images) > 1 or alone) and next(calls) > after and draw.random() < chance:
                raise draw.choice(OUT_OF_MEMORY)
            return compute(self, images, *arguments)

        return tried

    for owner, name in ((ComputedPrior, "__call__"), (MetricSuite, "__call__"), (MetricSuite, "features")):
        setattr(owner, name, limited(getattr(owner, name)))


def limit_file_size(size: int) -> None:
    """Let no file grow beyond so many bytes: what a full disk looks like where none can be mounted."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def turn_clock_back(seconds: float) -> None:
    """Let the wall clock jump back a second each time it is asked, from `seconds` in the future."""
    now, asked = time.time, itertools.count()
    time.time = lambda: now() + seconds - next(asked)


def record_waiting(log: Path) -> None:
    """Note each time that this process sleeps, which is how locks are waited for."""
    sleep = time.sleep

    def noted(seconds: float) -> None:
        note(log, "waits")
        sleep(seconds)

    time.sleep = noted


def rewrite(file: Path, old: str, new: str) -> None:
    """Change a text file, as an editor would."""
    text = file.read_text()
    if old not in text:
        raise ValueError(f"{file} does not hold {old!r}")
    file.write_text(text.replace(old, new))
