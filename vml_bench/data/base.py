"""What a data set is to the rest of the harness."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from vml_bench.errors import InputError

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
LONGEST = 200
"""Bytes of an id in UTF-8: file systems take names of 255, and a file in the making has a longer name than its own."""


def is_id(text: object) -> bool:
    """Whether a text can be an image's id, and so the name of a file on every system, in a table and in a page.

    Letters, digits and their marks of any script, "_", and, but not in front, space and ( ) + , - . = @ & '.
    """
    if not isinstance(text, str) or not text:
        return False
    if PLAIN.fullmatch(text):
        return True
    named = all(unicodedata.category(character)[0] in "LMN" or character in "_ ()+,-.=@&'" for character in text)
    return named and text[0] not in " ()+,-.=@&'" and len(text.encode()) <= LONGEST


def check_ids(name: str, ids: Iterable[str]) -> None:
    """Refuse ids that could not name files of their own.

    Args:
        name: the data set, for errors.
        ids: the ids.

    Raises:
        InputError: an id that `is_id` does not take, or two that are equal or differ in case or encoding alone.
    """
    remedy = "rename its file, or leave it out with dataset.list"
    seen: dict[str, str] = {}
    for image_id in ids:
        if not is_id(image_id):
            shown = ascii(image_id)
            shown = shown if len(shown) <= 80 else f"{shown[:60]}…"
            raise InputError(f"data set '{name}': {shown} cannot be the id of an image", remedy)
        key = unicodedata.normalize("NFC", image_id).casefold()
        if key in seen:
            raise InputError(
                f"data set '{name}': the ids '{seen[key]}' and '{image_id}' are one where case does not count", remedy
            )
        seen[key] = image_id


class ImageSet(ABC):
    """Images of one size, each under an id of its own.

    Attributes:
        name: name under which results are filed.
        ids: image ids in the order in which `runner.limit` takes them.
        image_shape: (C, H, W) of every image.
        dtype: of the images; the task's operator and its measurements are computed in it.
    """

    name: str
    ids: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: torch.dtype = torch.float32

    @abstractmethod
    def load(self, image_id: str) -> Tensor:
        """Return one image: (C, H, W) in [-1, 1], of `dtype`.

        Raises:
            InputError: the image cannot be read or has the wrong shape.
        """

    def scene(self, image_id: str) -> str:
        """The id under which an image's measurement noise and mask are drawn; its own, unless it is a repetition.

        Images of one scene are equal and so are their measurements: what differs is the method's own noise.
        """
        return image_id

    def manifest(self, ids: tuple[str, ...]) -> str:
        """sha256 over the ids and the pixels of `ids`, in order: which images exactly were used.

        It comes before anything of a run is written, so ids are checked here.

        Raises:
            InputError: one of the images, or its id, cannot be used.
        """
        check_ids(self.name, ids)
        digest = hashlib.sha256()
        for image_id in ids:
            digest.update(image_id.encode() + b"\0")
            digest.update(self.load(image_id).numpy().tobytes())
        return digest.hexdigest()

    def files_sha256(self, ids: tuple[str, ...]) -> dict[str, str]:
        """sha256 by id of what each image was read from: the bytes of its file, here of its pixels.

        Raises:
            InputError: one of the images cannot be used.
        """
        return {image_id: hashlib.sha256(self.load(image_id).numpy().tobytes()).hexdigest() for image_id in ids}
