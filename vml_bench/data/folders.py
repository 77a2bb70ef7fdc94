"""Data sets that are folders of images: one's own, ImageNet, and FFHQ and CelebA-HQ at 256×256."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field, NonNegativeInt, PositiveInt

from vml_bench.data.decode import decode
from vml_bench.data.parquet import find_parquet_images
from vml_bench.data.resize import Reduction, centre_crop, reduce_to
from vml_bench.data.selection import celeba_test, chosen, read_ids
from vml_bench.data.stored import ImageFile, Stored, StoredImages, find_images
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.settings import checked

Fit = Literal["exact", "crop", "resize", "tile"]
SIDE = 256
"""Height and width of the published data sets."""
FACE_SIZES = [(256, 256), (1024, 1024)]
FFHQ_IMAGES, IMAGENET_IMAGES = 70_000, 50_000
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
IMAGENET_MODES = ("RGB", "L", "CMYK")
"""ImageNet holds greyscale and CMYK JPEGs; they become RGB by Pillow's convert, as in guided-diffusion."""


class ImageFolder(StoredImages):
    """Images of one size in a folder, in the natural order of their names; an id is a name without suffix.

    A camera's note of how it was held (EXIF) is followed.

    Args:
        root: the folder; its subfolders are not searched.
        image_shape: (C, H, W) of the data set, C = 3, or 1 for grey images; None: RGB of the first image's size.
        name: name under which results are filed.
        first: the first n images; None: all.
        list: text file of ids to use instead of the first n, see `read_ids`.
        fit: how an image of another size becomes one of `image_shape`, which must be given then. "exact": it is
            refused; "crop": its centre is cut out; "resize": it is resized (bicubic, antialiased) until it just covers
            the shape, then its centre is cut out; "tile": it is cut into as many tiles as it has room for, from the
            upper left, each an image of its own with the id "name-row-column".

    Raises:
        InputError: no such folder, no image in it, two images with one id, an image that is smaller than the shape, or
            an option that cannot be used.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        image_shape: Sequence[int] | None,
        name: str,
        first: PositiveInt | None = None,
        list: str | Path | None = None,
        fit: Fit = "exact",
    ) -> None:
        found: dict[str, Stored] = find_images(name, root, subfolders=False)
        if image_shape is None and fit != "exact":
            raise InputError(f"dataset.fit={fit} to no size", "set dataset.image_shape=[3,H,W], the prior's")
        if image_shape is not None and image_shape[0] not in (1, 3):
            raise InputError(f"images of {image_shape[0]} channels", "set dataset.image_shape to [3,H,W] or [1,H,W]")
        self.fit = fit
        if fit == "tile":
            found = {i: tile for image_id, file in found.items() for i, tile in tiles(image_id, file, image_shape)}
        super().__init__(name, image_shape or (3, 0, 0), found, chosen(name, tuple(found), first, list))
        if image_shape is None:
            width, height = self.prepare(self._read(self.ids[0]), str(found[self.ids[0]])).size
            self.image_shape = (3, height, width)

    def prepare(self, data: bytes, label: str) -> Image.Image:
        channels, height, width = self.image_shape
        sizes = [(width, height)] if height and self.fit == "exact" else ()
        grey = channels == 1
        image = decode(data, label, ("RGB", "L") if grey else ("RGB",), sizes, upright=True, grey=grey)
        if self.fit in ("crop", "resize"):
            return fitted(image, width, height, self.fit == "resize", label)
        return image

    def distinct(self, image_id: str) -> str:
        """See `StoredImages`; tiles may be equal, as those of a sky are, unless their files are."""
        stored = self._stored[image_id]
        return f"{stored.box} of {stored.whole}" if isinstance(stored, Tile) else super().distinct(image_id)


@dataclass(frozen=True)
class Tile:
    """A part of an image in a file of its own; its bytes are those of a PNG of the part.

    Attributes:
        file: of the whole image.
        whole: digest of its bytes.
        box: left, upper, right and lower.
    """

    file: ImageFile
    whole: str
    box: tuple[int, int, int, int]

    def __str__(self) -> str:
        return f"{self.file} at {self.box[:2]}"

    def read(self) -> bytes:
        image = decode(self.file.read(), str(self.file), ("RGB", "L"), upright=True)
        encoded = io.BytesIO()
        image.crop(self.box).save(encoded, format="png")
        return encoded.getvalue()


def tiles(image_id: str, file: ImageFile, image_shape: Sequence[int]) -> Iterator[tuple[str, Tile]]:
    """The tiles of an image, by id.

    Raises:
        InputError: it cannot be read, or has no room for one.
    """
    _, high, wide = image_shape
    try:
        data = file.read()
        width, height = decode(data, str(file), ("RGB", "L"), upright=True).size
    except OSError as error:
        raise InputError(f"image {file} cannot be read ({error})", "replace the file or remove it") from error
    if width < wide or height < high:
        raise too_small(str(file), (width, height), (wide, high))
    whole = hashlib.sha256(data).hexdigest()
    for row in range(height // high):
        for column in range(width // wide):
            left, upper = column * wide, row * high
            yield f"{image_id}-{row}-{column}", Tile(file, whole, (left, upper, left + wide, upper + high))


def fitted(image: Image.Image, width: int, height: int, resize: bool, label: str) -> Image.Image:
    """The central part of an image, (width, height), after it was resized to just cover that if `resize` says so.

    Raises:
        InputError: it is smaller, and is not to be resized.
    """
    if resize:
        scale = max(width / image.width, height / image.height)
        size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        image = image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)
    if image.width < width or image.height < height:
        raise too_small(label, image.size, (width, height))
    left, upper = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, upper, left + width, upper + height))


def too_small(label: str, size: tuple[int, int], wanted: tuple[int, int]) -> InputError:
    """The refusal of an image out of which nothing of the data set's size can be cut."""
    (width, height), (wide, high) = size, wanted
    return InputError(
        f"image {label} is {width}×{height} pixels, less than {wide}×{high}", "remove it, or set dataset.fit=resize"
    )


class ImageNet(StoredImages):
    """ILSVRC 2012 validation images at 256×256: halved by box, bicubic to 256 on the short side, centre-cropped.

    Source: Dhariwal and Nichol 2021, guided-diffusion, image_datasets.py. An id is a file's name without suffix
    (ILSVRC2012_val_00000293), whatever folder it lies in.

    Args:
        root: folder of the images, flat or by class (n01440764/ILSVRC2012_val_00000293.JPEG).
        first: the first n by name, or from `start` on; None: all.
        list: text file of ids to use instead of the first n, see `read_ids`.
        name: name under which results are filed.
        start: number of the first image, of 50,000, so that which images are taken does not depend on which files
            exist; None: the first of those that are there.

    Raises:
        InputError: no such folder, fewer images than `first`, two with one id, an option that cannot be used.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        first: PositiveInt | None = 100,
        list: str | Path | None = None,
        name: str = "imagenet256",
        start: Annotated[PositiveInt | None, Field(le=IMAGENET_IMAGES), AsBefore(None)] = None,
    ) -> None:
        found = find_images(name, root)
        if start and not list:
            ids = [f"ILSVRC2012_val_{number:08d}" for number in range(start, IMAGENET_IMAGES + 1)[:first]]
        else:
            ids = chosen(name, tuple(found), first, list)
        super().__init__(name, (3, SIDE, SIDE), found, ids)

    def prepare(self, data: bytes, label: str) -> Image.Image:
        return centre_crop(decode(data, label, modes=IMAGENET_MODES), SIDE, label)


class Faces(StoredImages):
    """Aligned RGB faces of 256×256 pixels, or of 1024×1024, which are reduced; anything else is refused.

    Args:
        name: name under which results are filed.
        stored: where the images are, by id.
        ids: ids of the data set, in order.
        reduce: how 1024×1024 images become 256×256. "box": halved twice by the mean of each 2×2 block, which is what
            guided-diffusion's data loader, the trainer of ADM networks, makes of them (to within rounding, the lower
            levels of StyleGAN's tfrecords too). "lanczos" is the default of StyleGAN2-ADA's dataset_tool; "bicubic" is
            Pillow's antialiased one. Which of them made a given copy of FFHQ 256 is rarely stated.
    """

    def __init__(self, name: str, stored: Mapping[str, Stored], ids: Iterable[str], reduce: Reduction) -> None:
        self.reduce = reduce
        super().__init__(name, (3, SIDE, SIDE), stored, ids)

    def prepare(self, data: bytes, label: str) -> Image.Image:
        return reduce_to(decode(data, label, sizes=FACE_SIZES), SIDE, self.reduce)


class FFHQ(Faces):
    """FFHQ (Karras et al. 2019) by its own numbering: id 00042 is image 42 of 70,000.

    Which images belong to the data set does not depend on which files exist: a missing one is an error when a run asks
    for it, and no other takes its place.

    Args:
        root: folder of NNNNN.png, flat or in FFHQ's folders of a thousand (00000/00042.png).
        first: how many images: 100 for this paper and DAPS, 1,000 for DPS; None: all.
        list: text file of ids to use instead, see `read_ids`.
        reduce: see `Faces`.
        name: name under which results are filed.
        start: number of the first image.
        step: from one image's number to the next's.

    Raises:
        InputError: no such folder, two images with one id, an option that cannot be used.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        first: PositiveInt | None = 100,
        list: str | Path | None = None,
        reduce: Reduction = "box",
        name: str = "ffhq256",
        start: Annotated[NonNegativeInt, Field(lt=FFHQ_IMAGES), AsBefore(0)] = 0,
        step: Annotated[PositiveInt, AsBefore(1)] = 1,
    ) -> None:
        numbers = range(start, FFHQ_IMAGES, step)[:first]
        ids = read_ids(list) if list else [f"{number:05d}" for number in numbers]
        super().__init__(name, find_images(name, root), ids, reduce)


class CelebAHQ(Faces):
    """CelebA-HQ (Karras et al. 2018), the images held out for testing.

    There is no single division of CelebA-HQ. Used are the ids of `list`; else, if CelebA-HQ-to-CelebA-mapping.txt and
    list_eval_partition.txt lie in `root`, CelebA's own test part (2,824 images, ids 0 to 29999 as in CelebAMask-HQ);
    else the rows of the Parquet files that `parquet` matches (the public mirror's validation-*.parquet: 2,000 images,
    a division of its own); else every image in the folder, taken to be the test images.

    Args:
        root: folder of images (flat, or one level down as CelebAMask-HQ's CelebA-HQ-img/) or of Parquet files with a
            column image {bytes, path}.
        first: the first n of those; None: all.
        list: text file of ids, see `read_ids`.
        parquet: file name pattern of the Parquet files, in `root` or in `root`/data.
        reduce: see `Faces`.
        name: name under which results are filed.

    Raises:
        InputError: no such folder, fewer images than `first`, two with one id, an option that cannot be used.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        first: PositiveInt | None = 100,
        list: str | Path | None = None,
        parquet: str = "validation-*.parquet",
        reduce: Reduction = "box",
        name: str = "celebahq256",
    ) -> None:
        root = Path(root)
        stored: Mapping[str, Stored] = find_images(name, root)
        tables = sorted({*root.glob(parquet), *root.glob(f"data/{parquet}")})
        if tables and stored:
            raise InputError(
                f"data set '{name}': {root} holds both images and {tables[0].name}", "keep one of them in dataset.root"
            )
        if tables:
            stored = find_parquet_images(name, tables)
        mapping, partition = root / MAPPING, root / PARTITION
        divided = not list and mapping.is_file() and partition.is_file()
        there = celeba_test(mapping, partition) if divided else tuple(stored)
        super().__init__(name, stored, chosen(name, there, first, list), reduce)
