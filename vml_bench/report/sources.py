"""Where the runs of a data set are read from: the results folder, or the archive of runs that a repository keeps."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vml_bench.errors import InputError
from vml_bench.files import sha256
from vml_bench.store import layout
from vml_bench.store.runs import datasets

ARCHIVE = "runs.tar.xz"
UNPACKED = ".cache/archives"
"""Where archives are unpacked in a results folder: rows of a leaderboard are kept beside them, as beside other runs."""


def sources(results: Path, dataset: str | None = None) -> dict[str, Path]:
    """The folder that each data set's runs are read from, as a results folder is laid out.

    A data set that has no folder of runs is read from its archive (`archives`), if there is one: all but pictures.

    Args:
        results: the results folder.
        dataset: only this one.

    Returns:
        Folders by data set: `results` itself, or where its archive is unpacked.

    Raises:
        InputError: there are neither runs nor archives, or an archive is damaged.
    """
    packed = archives(results)
    root = results / layout.RUNS
    here = {folder.name for folder in root.iterdir() if folder.is_dir()} if root.is_dir() else set()
    names = datasets(results, dataset) if dataset or not packed else sorted(here | packed.keys())
    return {name: results if name in here or name not in packed else unpacked(packed[name], results) for name in names}


def archives(results: Path) -> dict[str, Path]:
    """Archives of runs in a results folder, by data set.

    One is called runs.tar.xz and holds <dataset>/<task>/<method>/<run>/…. It is the folder's own, of whatever data
    sets, or lies one or two folders down in a folder of the data set's name; of two for one data set the one less deep
    counts.
    """
    own = results / ARCHIVE
    found = dict.fromkeys(folders_in(own), own)
    for file in (file for depth in ("*", "*/*") for file in sorted(results.glob(f"{depth}/{ARCHIVE}"))):
        if first_folder(file) == file.parent.name:
            found.setdefault(file.parent.name, file)
    return found


def folders_in(archive: Path) -> list[str]:
    """The outermost folders in an archive, as far as it can be read."""
    found: dict[str, None] = {}
    with suppress(OSError, EOFError, tarfile.TarError, lzma.LZMAError), tarfile.open(archive) as tar:
        for member in tar:
            found[PurePosixPath(member.name).parts[0]] = None
    return list(found)


def first_folder(archive: Path) -> str:
    """The outermost folder of the first file in an archive; empty where it cannot be read."""
    try:
        with tarfile.open(archive) as tar:
            first = tar.next()
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError):
        return ""
    return PurePosixPath(first.name).parts[0] if first else ""


def unpacked(archive: Path, results: Path) -> Path:
    """Unpack an archive, once for each content it has had; returns the folder.

    Raises:
        InputError: it is damaged.
    """
    name = archive.resolve().parent.name
    folder = results / UNPACKED / f"{name}-{sha256(archive)[:10]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    (results / ".cache" / ".gitignore").write_text("*\n")
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(partial / layout.RUNS, filter="data")
        for earlier in folder.parent.glob(f"{name}-{'?' * 10}"):
            shutil.rmtree(earlier)
        os.replace(partial, folder)
    except (EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{archive} is damaged: {error}", f"git checkout -- {archive}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
