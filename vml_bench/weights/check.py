"""Whether a file in the cache folder is the published one."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from vml_bench.errors import InputError
from vml_bench.files import sha256
from vml_bench.weights.cache import cache_dir
from vml_bench.weights.catalogue import Weights, find
from vml_bench.weights.lock import Lock


def verify(file: Path, entry: Weights, record: bool = True) -> Path:
    """Check a file in the cache folder by size and hash.

    Args:
        file: the file.
        entry: what it should be.
        record: whether to record its hash in lock.json, where later checks look it up.

    Raises:
        InputError: it is another file.
    """
    lock = Lock(file.parent)
    seen = lock[file.name]
    remedy = f"delete it and run `vml-bench fetch {entry.name}`"
    if problem := size_problem(file.stat().st_size, entry.about, entry.size):
        raise InputError(f"{file} has {problem}", remedy)
    digest = lock.digest(file)
    if other := difference(digest, {"the published one": entry.sha256, "in lock.json": seen and seen.sha256}):
        raise InputError(f"{file} is another file: {other}", remedy)
    if record:
        lock.record(file, digest, "placed by hand")
    return file


def verified(name: str, otherwise: str) -> Path:
    """The cached weights that a network is about to be built from, hashed again even if lock.json knows them.

    Args:
        name: see `catalogue.names`; weights without a published sha256 are refused.
        otherwise: how to do without them, for errors.

    Raises:
        InputError: the file is missing or another one, or everyone may write to it or to its folder.
    """
    entry = find(name)
    file = entry.found(cache_dir()) or cache_dir() / entry.files[0]
    if not file.is_file():
        raise InputError(
            f"{file} ({entry.what}) is missing", f"run `vml-bench fetch {name}`, place it there, or {otherwise}"
        )
    refuse_world_writable(file)
    if entry.sha256 is None or difference(sha256(file), {"published": entry.sha256}):
        raise InputError(
            f"{file} is not the published file (sha256 differs)", f"delete it and run `vml-bench fetch {name}`"
        )
    return file


def size_problem(size: int, about: int, exact: int | None) -> str | None:
    """How a size in bytes differs from the exact one or, where that is unknown, from 90 to 110 % of `about`."""
    if abs(size - (exact or about)) > (0 if exact else about / 10):
        return f"{size} bytes, not {exact or f'about {about}'}"
    return None


def difference(digest: str, expected: Mapping[str, str | None]) -> str | None:
    """How a sha256 differs from the known ones; None if it agrees with all.

    Args:
        digest: the sha256.
        expected: whose -> sha256 or its first digits; None where unknown.
    """
    for whose, known in expected.items():
        if known and not digest.startswith(known):
            return f"sha256 {digest[:12]}…, {whose} is {known[:12]}…"
    return None


def refuse_world_writable(file: Path) -> None:
    """Refuse a file that any user of the machine could replace between check and use.

    Raises:
        InputError: everyone may write to the file or to its folder. (Windows has no such permission.)
    """
    if os.name == "nt":
        return
    for path in (file.parent, file):
        if path.stat().st_mode & stat.S_IWOTH:
            raise InputError(f"{path} is writable for everyone", f"chmod o-w {path}, or set VML_BENCH_CACHE elsewhere")
