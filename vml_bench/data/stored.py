"""Data sets whose images are stored one by one, in files or in the rows of a Parquet table."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from vml_bench.contract import ImageSet
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
MAX_BYTES = 1 << 30
"""Most bytes that a stored image may have; one of `decode.MAX_PIXELS` pixels takes 300 MB uncompressed."""


class Stored(Protocol):
    """One stored image; `str` names it in errors."""

    def read(self) -> bytes:
        """Its encoded bytes; raises OSError if they cannot be read."""
        ...


One = TypeVar("One", bound=Stored)


@dataclass(frozen=True)
class ImageFile:
    """An image in a file of its own."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> bytes:
        if not self.path.is_file():  # reading a pipe or a device could block for ever
            raise OSError("it is not a file" if self.path.exists() else "it is not there")
        size = self.path.stat().st_size
        if size > MAX_BYTES:
            raise OSError(f"it has {size} bytes, more than any photograph")
        return self.path.read_bytes()


class StoredImages(ImageSet):
    """Images stored one by one; a subclass says how an image's bytes become pixels.

    Each image is read once by `check`, and again when its pixels are asked for; it must not change in between.

    Args:
        name: name under which results are filed.
        image_shape: (3, H, W).
        stored: where the images are, by id.
        ids: ids of the data set, in order; some may be missing in `stored`.
    """

    def __init__(self, name: str, image_shape: Sequence[int], stored: Mapping[str, Stored], ids: Iterable[str]) -> None:
        self.name = name
        self.image_shape = tuple(image_shape)
        self.ids = tuple(ids)
        self._stored = stored
        self._sha256: dict[str, str] = {}

    @abstractmethod
    def prepare(self, data: bytes, label: str) -> Image.Image:
        """Decode an image and bring it to the data set's size, RGB; raises InputError if it cannot be used."""

    def missing(self, ids: Iterable[str] | None = None) -> tuple[str, ...]:
        """Those of `ids` (default: all of the data set) that are not stored."""
        return tuple(image_id for image_id in (self.ids if ids is None else ids) if image_id not in self._stored)

    def load(self, image_id: str) -> Tensor:
        return from_uint8(np.asarray(self.prepare(self._read(image_id), str(self._stored[image_id]))))

    def check(self) -> None:
        """See `ImageSet.check`.

        Raises:
            InputError: images are missing or cannot be read, or two are the same.
        """
        self._refuse_missing(self.ids)
        first: dict[str, str] = {}
        for image_id in self.ids:
            self._read(image_id)
            other = first.setdefault(self.distinct(image_id), image_id)
            if other != image_id:
                raise InputError(
                    f"data set '{self.name}': {self._stored[other]} and {self._stored[image_id]} hold the same bytes",
                    "remove or replace one of them, or leave it out with dataset.list",
                )

    def distinct(self, image_id: str) -> str:
        """What no two images may share, of one that was read: the digest of its bytes."""
        return self._sha256[image_id]

    def _read(self, image_id: str) -> bytes:
        self._refuse_missing((image_id,))
        stored = self._stored[image_id]
        try:
            data = stored.read()
        except OSError as error:
            raise InputError(f"image {stored} cannot be read ({error})", "replace the file or remove it") from error
        digest = hashlib.sha256(data).hexdigest()
        if self._sha256.setdefault(image_id, digest) != digest:
            raise InputError(
                f"image {stored} changed while it was in use", "start again with files that stay as they are"
            )
        return data

    def _refuse_missing(self, ids: Sequence[str]) -> None:
        if missing := self.missing(ids):
            raise InputError(
                f"data set '{self.name}': {some(missing)} of {len(ids)} images missing",
                "put them in place, or take fewer with dataset.first or dataset.list",
            )


def some(ids: Sequence[str], shown: int = 3) -> str:
    """ "7 (a, b, c …)": how many, and the first few by name."""
    return f"{len(ids)} ({', '.join(ids[:shown])}{' …' if len(ids) > shown else ''})"


def natural(text: str) -> list[str | int]:
    """Sort key that compares numbers by value: 2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def find_images(name: str, root: str | Path, subfolders: bool = True) -> dict[str, ImageFile]:
    """Images in a folder by id, which is the file's name without suffix, in natural order.

    Args:
        name: the data set, for errors.
        root: the folder.
        subfolders: search its subfolders too, one level deep.

    Raises:
        InputError: no such folder, or two images with one id.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"data set '{name}': {root} is not a folder",
            "set dataset.root to the folder of images; `vml-bench doctor` says where published ones come from",
        )
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if subfolders else [root]
    files = [path for folder in folders for path in sorted(folder.iterdir())]
    images = [ImageFile(file) for file in files if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
    found = by_id(name, ((image.path.stem, image) for image in images))
    return {image_id: found[image_id] for image_id in sorted(found, key=natural)}


def by_id(name: str, images: Iterable[tuple[str, One]]) -> dict[str, One]:
    """Stored images by id.

    Raises:
        InputError: two have one id; `name` is the data set's.
    """
    found: dict[str, One] = {}
    for image_id, image in images:
        if found.setdefault(image_id, image) is not image:
            raise InputError(
                f"data set '{name}': {found[image_id]} and {image} would share an id", "rename or remove one of them"
            )
    return found
