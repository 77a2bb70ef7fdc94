"""Which images of a data set are used: the first n, those of a list, or a published part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vml_bench.errors import InputError

CELEBA_PARTS = {"train": "0", "validation": "1", "test": "2"}


def read_lines(file: Path, key: str) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        InputError: it cannot be read; `key` says how it was given.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{key}: {file} cannot be read ({error})", "give a text file") from error
    return [line for line in lines if line.strip()]


def read_ids(file: str | Path) -> tuple[str, ...]:
    """Ids in a list file, one per line.

    A path or file name stands for its id, and what follows a space is ignored, so that lists like DDRM's and DGP's
    imagenet_val_1k.txt ("n01440764/ILSVRC2012_val_00000293.JPEG 0") serve as they are. Lines that begin with # are
    comments.

    Raises:
        InputError: it cannot be read, names nothing, or names an image twice.
    """
    lines = [line for line in read_lines(Path(file), "dataset.list") if not line.lstrip().startswith("#")]
    ids = tuple(PurePosixPath(line.split()[0].replace("\\", "/")).stem for line in lines)
    if not ids:
        raise InputError(f"dataset.list: {file} names no image", "write one id per line")
    twice = sorted({image_id for image_id in ids if ids.count(image_id) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise InputError(f"dataset.list: {file} names {', '.join(twice[:3])} more than once", "name each image once")
    return ids


def take_first(name: str, ids: Sequence[str], first: int | None) -> tuple[str, ...]:
    """The first n of the ids; None: all.

    Raises:
        InputError: n is not a number of images, or there are fewer.
    """
    check_first(first)
    if not ids:
        raise InputError(f"data set '{name}' holds no images", "set dataset.root to the folder of images")
    if first is not None and len(ids) < first:
        raise InputError(
            f"data set '{name}' holds {len(ids)} of the {first} images asked for",
            f"add the others, or set dataset.first={len(ids)}",
        )
    return tuple(ids[:first])


def check_first(first: int | None) -> None:
    """Refuse a `dataset.first` that is not a number of images.

    Raises:
        InputError: it is neither None nor a whole number of 1 or more.
    """
    if first is not None and (isinstance(first, bool) or not isinstance(first, int) or first < 1):
        raise InputError(f"dataset.first={first} is not a number of images", "set dataset.first to 1 or more, or null")


def celeba_part(mapping: Path, partition: Path, part: str = "test") -> tuple[str, ...]:
    """Ids of the CelebA-HQ images that belong to a part of CelebA's own division.

    CelebA-HQ's 30,000 images divide into 24,183 for training, 2,993 for validation and 2,824 for testing.

    Args:
        mapping: CelebAMask-HQ's CelebA-HQ-to-CelebA-mapping.txt: lines "idx orig_idx orig_file" after a header.
        partition: CelebA's list_eval_partition.txt: lines "000001.jpg 0", with 0 train, 1 validation, 2 test.
        part: "train", "validation" or "test".

    Raises:
        InputError: a file cannot be read or has another form.
    """
    if part not in CELEBA_PARTS:
        raise InputError(f"CelebA has no part '{part}'", f"choose among {', '.join(CELEBA_PARTS)}")
    try:
        parts = dict(line.split() for line in read_lines(partition, "CelebA's division"))
        rows = [line.split() for line in read_lines(mapping, "CelebA-HQ's mapping")[1:]]
        return tuple(index for index, _, original in rows if parts[original] == CELEBA_PARTS[part])
    except InputError:
        raise
    except (ValueError, KeyError) as error:
        raise InputError(f"{mapping} and {partition} do not match ({error})", "download both files again") from error
