"""`vml-bench fetch`: from a name to a verified file in the cache folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vml_bench.errors import InputError
from vml_bench.files import replacing, sha256
from vml_bench.text import aligned
from vml_bench.weights.cache import cache_dir
from vml_bench.weights.catalogue import BY_HAND, FETCHABLE, ByHand, Perceptual, Weights, find
from vml_bench.weights.check import difference, verify
from vml_bench.weights.download import Refused, Screen, download
from vml_bench.weights.lock import Lock

SPARE = 64 << 20
"""Bytes that a download leaves free on the disk."""


def fetch(name: str, mirror: str | None = None) -> Path:
    """Put weights into the cache folder unless they are there, verified; returns where they are.

    A file placed by hand is verified and used. A download gets its final name only after its size and sha256 have
    been checked. Where no hash is published, the first one seen is kept in lock.json and later fetches must match it.

    Args:
        name: see `catalogue.names`.
        mirror: base URL of a mirror, tried first, that serves the files by name; default $VML_BENCH_MIRROR.

    Raises:
        InputError: unknown name, a licence that a person has to accept, or no source gives the file; says what to
            place where.
    """
    entry = find(name)
    if isinstance(entry, ByHand):
        raise InputError(f"{name} has to be fetched by hand ({entry.licence}): {entry.get}", f"put {placed(entry)}")
    folder = cache_dir()
    if isinstance(entry, Perceptual):
        from vml_bench.weights.lpips import load_trunk  # and torch with it

        for net in entry.nets:
            load_trunk(net)
        return folder
    with alone(folder, name):
        there = entry.found(folder)
        return verify(there, entry) if there else from_anywhere(entry, folder, mirror)


def from_anywhere(entry: Weights, folder: Path, mirror: str | None) -> Path:
    """Try the mirror and then each source until one gives the file.

    Raises:
        InputError: none does, or the disk is full.
    """
    remedy = "free disk space, or set VML_BENCH_CACHE to another disk"
    free, needed = shutil.disk_usage(folder).free, (entry.size or entry.about) + SPARE
    if needed > free:
        raise InputError(f"{folder} has {free / 1e9:.2f} GB free, {needed / 1e9:.2f} GB are needed", remedy)
    reasons = []
    for url, file in addresses(entry, mirror):
        try:
            return from_source(entry, url, folder / file)
        except Refused as error:
            reasons.append(str(error))
        except OSError as error:
            raise InputError(f"{folder / file} cannot be written ({error})", remedy) from error
    url, file = entry.sources[0]
    raise InputError(
        f"{entry.name} could not be fetched: {'; '.join(reasons)}",
        f"run the command again, name a mirror with --mirror, or get {url} by other means (`curl -L -C - -O` resumes) "
        f"and place it at {folder / file}",
    )


def addresses(entry: Weights, mirror: str | None) -> list[tuple[str, str]]:
    """(URL, file name) of every source of the weights, in the order in which to try them.

    Raises:
        InputError: the mirror is not an http or https address.
    """
    mirror = mirror or os.environ.get("VML_BENCH_MIRROR")
    if not mirror:
        return list(entry.sources)
    if not mirror.startswith(("http://", "https://")):
        raise InputError(
            f"mirror {mirror} is no http or https address",
            "give one, or set VML_BENCH_CACHE to a folder that holds the files",
        )
    return [*((f"{mirror.rstrip('/')}/{file}", file) for _, file in entry.sources), *entry.sources]


def from_source(entry: Weights, url: str, file: Path) -> Path:
    """Download from one address into a scratch folder, verify, and only then give the file its final name.

    Raises:
        Refused: this source does not give the file.
        OSError: the file cannot be written.
    """
    lock = Lock(file.parent)
    seen = lock[file.name]
    screen = Screen(url, entry.about, entry.size or (seen.size if seen else None))
    scratch = file.with_name(f".{file.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a fetch that was killed
    try:
        download(screen, scratch / file.name)
        digest = sha256(scratch / file.name)
        expected = {"published": entry.sha256, "in lock.json": seen and seen.sha256, "stated": screen.stated}
        if other := difference(digest, expected):
            raise Refused(f"{url} gave another file: {other}")
        with replacing(file, durable=True) as partial:
            os.replace(scratch / file.name, partial)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    lock.record(file, digest, url)
    return file


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Keep a second process from fetching the same thing at the same time.

    Raises:
        InputError: another process is fetching it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(f"{name} is being fetched by another process", "wait for it to end") from error
    except PermissionError as error:
        raise InputError(
            f"{folder} cannot be written ({error})", "set VML_BENCH_CACHE to a folder that you can write"
        ) from error


def data_dir() -> Path:
    """Folder of data sets: $VML_BENCH_DATA, else `data` in the current folder."""
    return Path(os.environ.get("VML_BENCH_DATA") or "data")


def placed(entry: ByHand) -> str:
    """Which files of a data set to put where."""
    return f"{entry.put}, all in {data_dir()}/ (VML_BENCH_DATA), or set dataset.root"


def listing() -> str:
    """Table of the catalogue: name, size, whether it is here, licence, description."""
    folder = cache_dir()
    rows = [(entry, "yes" if entry.found(folder) else "no") for entry in FETCHABLE]
    rows += [(entry, "by hand") for entry in BY_HAND]
    cells = [(entry.name, f"{entry.about / 1e6:.0f}", here, entry.licence, entry.what) for entry, here in rows]
    where = f"weights are in {folder} (VML_BENCH_CACHE), data in {data_dir()} (VML_BENCH_DATA)"
    return "\n".join([*aligned([("name", "MB", "here", "licence", "what"), *cells]), "", where])
