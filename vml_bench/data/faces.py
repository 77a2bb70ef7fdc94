"""FFHQ and CelebA-HQ at 256×256."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from vml_bench.data.decode import decode
from vml_bench.data.parquet import find_parquet_images
from vml_bench.data.resize import check_reduction, reduce_to
from vml_bench.data.selection import celeba_part, check_first, read_ids, take_first
from vml_bench.data.stored import Stored, StoredImages, find_images
from vml_bench.errors import InputError

SIDE = 256
SIZES = [(256, 256), (1024, 1024)]
FFHQ_IMAGES = 70_000
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"


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

    def __init__(self, name: str, stored: Mapping[str, Stored], ids: Iterable[str], reduce: str) -> None:
        self.reduce = check_reduction(reduce)
        super().__init__(name, (3, SIDE, SIDE), stored, ids)

    def prepare(self, data: bytes, label: str) -> Image.Image:
        return reduce_to(decode(data, label, sizes=SIZES), SIDE, self.reduce)


class FFHQ(Faces):
    """FFHQ (Karras et al. 2019) by its own numbering: id 00042 is image 42 of 70,000.

    Which images belong to the data set does not depend on which files exist: a missing one is an error when a run asks
    for it, and no other takes its place.

    Args:
        root: folder of NNNNN.png, flat or in FFHQ's folders of a thousand (00000/00042.png).
        first: the first n images, 00000 onward: 100 for this paper and DAPS, 1,000 for DPS.
        list: text file of ids to use instead of the first n, see `read_ids`.
        reduce: see `Faces`.
        name: name under which results are filed.

    Raises:
        InputError: no such folder, two images with one id, an option that cannot be used.
    """

    def __init__(
        self,
        root: str | Path,
        first: int | None = 100,
        list: str | Path | None = None,
        reduce: str = "box",
        name: str = "ffhq256",
    ) -> None:
        check_first(first)
        count = min(first or FFHQ_IMAGES, FFHQ_IMAGES)
        ids = read_ids(list) if list else [f"{number:05d}" for number in range(count)]
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

    def __init__(
        self,
        root: str | Path,
        first: int | None = 100,
        list: str | Path | None = None,
        parquet: str = "validation-*.parquet",
        reduce: str = "box",
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
        if list:
            ids = read_ids(list)
        elif mapping.is_file() and partition.is_file():
            ids = take_first(name, celeba_part(mapping, partition), first)
        else:
            ids = take_first(name, tuple(stored), first)
        super().__init__(name, stored, ids, reduce)
