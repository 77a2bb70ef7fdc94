"""Which images of a data set are used: the first n, those of a list, or a published part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vml_bench.errors import InputError

CELEBA_TEST = "2"
"""CelebA's own number of its test part; 0 is for training, 1 for validation."""


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
    if twice := [image_id for image_id, times in Counter(ids).items() if times > 1]:
        raise InputError(f"dataset.list: {file} names {', '.join(twice[:3])} more than once", "name each image once")
    return ids


def chosen(name: str, ids: Sequence[str], first: int | None, list: str | Path | None) -> tuple[str, ...]:
    """The ids of a list, else the first n of those that are there; None: all.

    Raises:
        InputError: the list cannot be used, or there are fewer than n.
    """
    if list:
        return read_ids(list)
    if not ids:
        raise InputError(f"data set '{name}' holds no images", "set dataset.root to the folder of images")
    if first is not None and len(ids) < first:
        raise InputError(
            f"data set '{name}' holds {len(ids)} of the {first} images asked for",
            f"add the others, or set dataset.first={len(ids)}",
        )
    return tuple(ids[:first])


def celeba_test(mapping: Path, partition: Path) -> tuple[str, ...]:
    """Ids of the 2,824 CelebA-HQ images that belong to the test part of CelebA's own division.

    Args:
        mapping: CelebAMask-HQ's CelebA-HQ-to-CelebA-mapping.txt: lines "idx orig_idx orig_file" after a header.
        partition: CelebA's list_eval_partition.txt: lines "000001.jpg 0".

    Raises:
        InputError: a file cannot be read or has another form.
    """
    divided, mapped = read_lines(partition, "CelebA's division"), read_lines(mapping, "CelebA-HQ's mapping")[1:]
    try:
        parts = dict(line.split() for line in divided)
        rows = [line.split() for line in mapped]
        return tuple(index for index, _, original in rows if parts[original] == CELEBA_TEST)
    except (ValueError, KeyError) as error:
        raise InputError(f"{mapping} and {partition} do not match ({error})", "download both files again") from error
