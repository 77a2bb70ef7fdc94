"""Masks and kernels of your own, from files. A run is named by what is in them, not by where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from vml_bench.errors import InputError
from vml_bench.operators.base import check_image_shape
from vml_bench.operators.circulant import CircularBlur
from vml_bench.operators.masks import Mask, NoiseOnUnseen

SUFFIXES = (".png", ".npy")


class InpaintMask(Mask):
    """A mask from a file, or one for each image from a folder of files named by image id.

    In a picture white is seen and black is missing, in an array what is not 0 is seen. Of a picture nothing may lie
    between black and white, and transparency is refused, since it could mean either.

    Args:
        image_shape: (C, H, W).
        file: PNG or .npy of (H, W), or an array of (C, H, W); or a folder of such files.
        dtype: of the operator's tensors.
        noise_on_unseen: see `Mask`.

    Raises:
        InputError: no such file, another size, a mask that hides everything, or in `for_images` an image without one.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        file: Path | None = None,
        dtype: torch.dtype = torch.float32,
        noise_on_unseen: NoiseOnUnseen = False,
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        self.noise_on_unseen = noise_on_unseen
        self._like = torch.empty(0, dtype=dtype)
        path = existing(file, "task.operator.file", "a mask, or a folder of masks named by image id")
        self._folder = path if path.is_dir() else None
        if self._folder is None:
            super().__init__(image_shape, self.read(path), dtype, noise_on_unseen)

    def __getattr__(self, name: str) -> Tensor:
        if name == "singular_values":
            raise AttributeError("each image has a mask of its own: call for_images(image_ids, seed) first")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """The operator itself, or with a folder a copy whose singular values, (B, C, H, W), are the images' masks."""
        if self._folder is None:
            return self
        files = [self._file_of(image_id) for image_id in image_ids]
        bound = self.to()
        bound.singular_values = torch.stack([self.read(file).expand(self.image_shape) for file in files]).to(self._like)
        return bound

    def _file_of(self, image_id: str) -> Path:
        found = [self._folder / f"{image_id}{suffix}" for suffix in SUFFIXES]
        for file in found:
            if file.is_file():
                return file
        raise InputError(f"image {image_id} has no mask in {self._folder}", f"put {found[0].name} there")

    def read(self, file: Path) -> Tensor:
        """One mask: 1 where a pixel is seen, of a shape that broadcasts to (C, H, W)."""
        values = read_array(file, "a mask")
        if file.suffix == ".png" and not np.isin(values, (0, values.max())).all():
            raise InputError(f"mask {file} has greys between black and white", "save it in black and white")
        seen = torch.from_numpy(values != 0).float()
        if tuple(seen.shape) not in (self.image_shape, self.image_shape[1:]):
            raise InputError(
                f"mask {file} is {'×'.join(map(str, seen.shape))}, the images are {self.image_shape}",
                "give it the height and width of the images",
            )
        if not seen.any():
            raise InputError(f"mask {file} hides everything", "make white, or not 0, what is seen")
        return seen


class StoredBlur(CircularBlur):
    """Blur by a kernel from a file, circular at the edges.

    Args:
        image_shape: (C, H, W).
        file: PNG (grey values) or .npy of (K, L). An even side gets a row or column of zeros behind it, so that its
            middle is the pixel that stays in place.
        normalize: whether the kernel is divided by its sum, so that it keeps brightness; a picture's always is.
        dtype: of the operator's tensors.

    Raises:
        InputError: no such file, a kernel that is larger than the image, or one that sums to 0 and is to be normalised.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        file: Path | None = None,
        normalize: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        path = existing(file, "task.operator.file", "a kernel")
        kernel = torch.from_numpy(read_array(path, "a kernel").astype(np.float64))
        if kernel.dim() != 2 or not kernel.isfinite().all():
            raise InputError(f"kernel {path} is no table of finite numbers", "give it a height and a width only")
        if normalize or path.suffix == ".png":
            if not kernel.sum().abs() > 0:
                raise InputError(f"kernel {path} sums to 0", "set task.operator.normalize=false, or give another one")
            kernel = kernel / kernel.sum()
        rows, columns = kernel.shape
        kernel = torch.nn.functional.pad(kernel, (0, 1 - columns % 2, 0, 1 - rows % 2))
        super().__init__(image_shape, kernel, dtype)


def existing(file: str | Path | None, key: str, what: str) -> Path:
    """The path of what a configuration names; raises InputError where there is nothing."""
    if file is None:
        raise InputError(f"this task needs {what}", f"set {key} to a .png or .npy")
    path = Path(file).expanduser()
    if not path.exists():
        raise InputError(f"{key}={file} does not exist", f"give it {what} (.png or .npy)")
    return path


def read_array(file: Path, what: str) -> np.ndarray:
    """The values of a .npy file, or of a PNG as (H, W): 8 or 16 bits, grey, black and white, or RGB that is grey.

    Raises:
        InputError: it cannot be read, is coloured or has transparency.
    """
    if file.suffix not in SUFFIXES:
        raise InputError(f"{file} is neither a .png nor a .npy", f"save {what} as one of them")
    try:
        if file.suffix == ".npy":
            return np.load(file, allow_pickle=False)
        with Image.open(file, formats=("PNG",)) as image:
            mode, values = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{file} cannot be read ({said})", f"save {what} anew") from error
    if mode == "RGB" and (values == values[..., :1]).all():
        return values[..., 0]
    if mode not in ("1", "L", "I;16", "I"):
        raise InputError(f"{file} is of Pillow's mode {mode}", f"save {what} in grey, without transparency")
    return values
