"""What a data set is to the rest of the harness."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

import torch
from torch import Tensor


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

        Raises:
            InputError: one of the images cannot be used.
        """
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
