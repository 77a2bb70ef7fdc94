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
    """Check a file that lies in the cache folder; one without a known hash is noted in lock.json as it is.

    Args:
        file: the file.
        entry: what it has to be.
        record: whether to note it.

    Raises:
        InputError: it is another file.
    """
    lock = Lock(file.parent)
    seen = lock[file.name]
    remedy = f"delete it and run `vml-bench fetch {entry.name}`"
    size = file.stat().st_size
    if (entry.size and size != entry.size) or abs(size - entry.about) > entry.about / 10:
        raise InputError(f"{file} has {size} bytes, not {entry.size or f'about {entry.about}'}", remedy)
    digest = lock.digest(file)
    if other := difference(digest, {"the published one": entry.sha256, "in lock.json": seen and seen.sha256}):
        raise InputError(f"{file} is another file: {other}", remedy)
    if record:
        lock.record(file, digest, "placed by hand")
    return file


def verified(name: str, otherwise: str) -> Path:
    """The cached file of weights that a network is about to be built from; hashed anew, whatever lock.json says.

    Args:
        name: see `catalogue.names`; of weights whose sha256 is published, any others are refused.
        otherwise: how to do without them, for errors.

    Raises:
        InputError: it is missing, others may write to it or to its folder, or it is another file.
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


def difference(digest: str, expected: Mapping[str, str | None]) -> str | None:
    """How a sha256 differs from those that are known, whole or by their first digits; None where it agrees with all.

    Args:
        digest: the file's.
        expected: whose -> sha256; None where it is not known.
    """
    for whose, known in expected.items():
        if known and not digest.startswith(known):
            return f"sha256 {digest[:12]}…, {whose} is {known[:12]}…"
    return None


def refuse_world_writable(file: Path) -> None:
    """Refuse a file that any user of the machine could have put there, or could exchange between check and use.

    Raises:
        InputError: the file or its folder is writable for everyone. (Windows keeps no such permission.)
    """
    if os.name == "nt":
        return
    for path in (file.parent, file):
        if path.stat().st_mode & stat.S_IWOTH:
            raise InputError(f"{path} is writable for everyone", f"chmod o-w {path}, or set VML_BENCH_CACHE elsewhere")
