"""`vml-bench fetch`: from a name to a verified file in the cache folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vml_bench.errors import InputError
from vml_bench.weights.cache import cache_dir
from vml_bench.weights.catalogue import BY_HAND, FETCHABLE, ByHand, Perceptual, Weights, find
from vml_bench.weights.check import difference, verify
from vml_bench.weights.download import Refused, Wanted, download, note
from vml_bench.weights.lock import Lock


def fetch(name: str, mirror: str | None = None) -> Path:
    """Put weights into the cache folder, unless they lie there verified; returns where they lie.

    A file that was placed there by hand is verified and taken. A download goes to a temporary name, and gets its own
    when size and sha256 are right. Where no hash is published, the first one seen is kept in lock.json and later
    fetches are held to it.

    Args:
        name: see `catalogue.names`.
        mirror: base URL of a mirror that holds the files by name; default $VML_BENCH_MIRROR. It is tried first.

    Raises:
        InputError: unknown name, a licence that a person has to accept, or the file cannot be had whole; says what to
            place where.
    """
    entry = find(name)
    if isinstance(entry, ByHand):
        raise InputError(f"{name} has to be got by hand ({entry.licence}): {entry.get}", f"put {placed(entry)}")
    if isinstance(entry, Perceptual):
        from vml_bench.weights.lpips import load_trunk  # and torch with it

        for net in entry.nets:
            load_trunk(net)
        return cache_dir()
    folder = cache_dir()
    with alone(folder, name):
        there = entry.found(folder)
        return verify(there, entry) if there else from_anywhere(entry, folder, mirror)


def from_anywhere(entry: Weights, folder: Path, mirror: str | None) -> Path:
    """Try the mirror and then each source, until one gives the file.

    Raises:
        InputError: none does.
    """
    reasons = []
    for url, file in addresses(entry, mirror):
        try:
            return from_source(entry, url, folder / file)
        except Refused as error:
            reasons.append(str(error))
    url, file = entry.sources[0]
    raise InputError(
        f"{entry.name} could not be fetched: {'; '.join(reasons)}",
        f"run the command again, name a mirror with --mirror, or get {url} elsewhere and place it at {folder / file}",
    )


def addresses(entry: Weights, mirror: str | None) -> list[tuple[str, str]]:
    """(URL, file name) of everywhere the weights may be had, in the order in which to try.

    Raises:
        InputError: the mirror is no http or https address.
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
    """Download from one address, verify, and only then give the file its name.

    Raises:
        Refused: this source does not have the file, or has another.
        InputError: the disk is full.
    """
    lock = Lock(file.parent)
    seen = lock[file.name]
    part = file.with_name(f"{file.name}.part")
    size = entry.size or (seen.size if seen else None)
    known = entry.sha256 or (seen.sha256 if seen else None)
    resumed = part.is_file()
    stated = download(url, part, Wanted(entry.about, size, known is not None))
    digest = lock.digest(part)
    expected = {"published": entry.sha256, "in lock.json": seen and seen.sha256, "stated": stated}
    if other := difference(digest, expected):
        part.unlink()
        note(part).unlink(missing_ok=True)
        if resumed:  # the first piece may have been another source's
            return from_source(entry, url, file)
        raise Refused(f"{url} gave another file: {other}", "")
    os.replace(part, file)
    note(part).unlink(missing_ok=True)
    lock.record(file, digest, url)
    return file


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Keep a second process from fetching the same thing at the same time.

    Raises:
        InputError: another one is at it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(f"{name} is being fetched by another process", "wait for it to end") from error
    except PermissionError as error:
        raise InputError(f"{folder} cannot be written ({error})", "set VML_BENCH_CACHE to a folder that can") from error


def data_dir() -> Path:
    """Folder of data sets: $VML_BENCH_DATA, else `data` in the current folder."""
    return Path(os.environ.get("VML_BENCH_DATA") or "data")


def placed(entry: ByHand) -> str:
    """What to put where, for a data set."""
    return f"{entry.put}, all in {data_dir()}/ (VML_BENCH_DATA), or set dataset.root"


def listing() -> str:
    """A table of all that the catalogue knows: name, size, whether it is here, licence, what it is."""
    folder = cache_dir()
    rows = [("name", "MB", "here", "licence", "what")]
    rows += [
        (entry.name, f"{entry.about / 1e6:.0f}", "yes" if entry.found(folder) else "no", entry.licence, entry.what)
        for entry in FETCHABLE
    ]
    rows += [(entry.name, f"{entry.about / 1e6:.0f}", "by hand", entry.licence, entry.what) for entry in BY_HAND]
    return "\n".join(
        [table(rows), "", f"weights lie in {folder} (VML_BENCH_CACHE), data in {data_dir()} (VML_BENCH_DATA)"]
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows of text as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
