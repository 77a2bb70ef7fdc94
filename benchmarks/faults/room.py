"""No room to write, or no right to: a full disk, a limit on files, a file system that is read-only."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from benchmarks.faults import inject
from benchmarks.faults.ground import NETWORK, PHOTOS, Ground, Outcome, undisturbed

AMPLE = 64 << 20


class Unavailable(Exception):
    """A fault cannot be injected here; says why."""


def _mount(folder: Path, *options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        raise Unavailable(f"no tmpfs can be mounted ({done.stderr.strip()})")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A tmpfs of `size` bytes.

    Raises:
        Unavailable: mounting is not allowed here.
    """
    folder.mkdir(parents=True)
    try:
        _mount(folder, f"size={size}")
    except FileNotFoundError as error:
        raise Unavailable("there is no command mount") from error
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, *options: str) -> None:
    """Change a mounted disk."""
    _mount(folder, "remount", *options)


@cache
def needed() -> int:
    """Bytes that an undisturbed run takes on a tmpfs, pages counted whole."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in undisturbed(PHOTOS).rglob("*") if file.is_file())


def full_disk(folder: Path, draw: random.Random, times: int) -> Outcome:
    """A disk that is too small by a random amount, and grows after the run has failed."""
    total = Outcome()
    for i in range(times):
        size = int(needed() * draw.uniform(0.02, 0.95))
        with small_disk(folder / f"disk-{i}", size) as disk:
            ground = Ground(folder / str(i), results=disk / "results")
            ended = ground.start()
            ground.spoilt(ended)
            ground.outcome.manual += not ended.complaint
            kept = ground.finished()
            remount(disk, f"size={AMPLE}")
            total += ground.healed(before=kept)
    return total


def no_large_file(folder: Path, draw: random.Random, times: int) -> Outcome:
    """No file may grow beyond a random size, between that of a picture and that of the merged features."""
    total = Outcome()
    files = [file.stat().st_size for file in undisturbed(PHOTOS).rglob("*") if file.is_file()]
    for i in range(times):
        ground = Ground(folder / str(i))
        ended = ground.start(partial(inject.limit_file_size, draw.randrange(4096, max(files))))
        ground.spoilt(ended)
        ground.outcome.manual += not ended.complaint
        total += ground.healed()
    return total


@contextmanager
def read_only(folder: Path) -> Iterator[tuple[Path, partial, partial]]:
    """A folder, and what makes it read-only and writable again: a tmpfs, or the rights of a user who is not root."""
    try:
        with small_disk(folder, AMPLE):
            yield folder, partial(remount, folder, "ro"), partial(remount, folder, "rw")
    except Unavailable:
        if os.geteuid() == 0:
            raise
        yield folder, partial(set_rights, folder, 0o555), partial(set_rights, folder, 0o755)


def set_rights(root: Path, rights: int) -> None:
    """Give a folder and all folders in it the same rights."""
    root.chmod(0o755)
    for folder, _, _ in os.walk(root, topdown=False):
        os.chmod(folder, rights)


def read_only_results(folder: Path, draw: random.Random, times: int) -> Outcome:
    """A half-done run on a read-only file system: refused before a pass is spent; its leaderboard can be read."""
    total = Outcome()
    for i in range(times):
        with read_only(folder / f"disk-{i}") as (disk, lock, unlock):
            ground = Ground(folder / str(i), NETWORK, results=disk / "results")
            ground.start(partial(inject.before_restoring, draw.randint(2, 3), inject.die))
            kept = ground.finished()
            lock()
            ended = ground.start()
            shown = ground.process(["leaderboard", "--results", str(ground.results), "--no-figures"]).end()
            unlock()
            ground.spoilt(ended)
            ground.outcome.manual += not ended.complaint or bool(ended.restored)
            ground.outcome.manual += "ddrm" not in shown.said or not shown.complaint
            total += ground.healed(before=kept)
    return total
