"""Images in the rows of Parquet files, as Hugging Face stores them: a column image {bytes, path}."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from vml_bench.errors import InputError

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ParquetImage:
    """An image in one row of a Parquet file.

    Attributes:
        file: the Parquet file.
        group: its row group.
        row: row within the group.
    """

    file: Path
    group: int
    row: int

    def __str__(self) -> str:
        return f"{self.file} (row group {self.group}, row {self.row})"

    def read(self) -> bytes:
        data = _column(self.file, self.file.stat().st_mtime_ns, self.group, "bytes")[self.row]
        if not data:
            raise OSError("the row holds no bytes")
        return data


@lru_cache(maxsize=2)
def _column(file: Path, mtime_ns: int, group: int, field: str) -> list:
    """One field of the image column in a row group; OSError if it cannot be read.

    The last two are cached, until the file's modification time changes.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            column = table.read_row_group(group, columns=[f"image.{field}"])["image"]
        return [image.get(field) if image else None for image in column.to_pylist()]
    except (pyarrow.ArrowException, KeyError) as error:
        raise OSError(str(error)) from error


def _row_groups(file: Path) -> int:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            fields = {table.schema.column(i).path for i in range(len(table.schema))}
            if {"image.bytes", "image.path"} <= fields:
                return table.num_row_groups
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read ({error})", "download the file again") from error
    raise InputError(f"{file} has no column image {{bytes, path}}", "give Parquet files as Hugging Face writes them")


def find_parquet_images(name: str, files: Sequence[Path]) -> dict[str, ParquetImage]:
    """Images of Parquet files by id, in order of rows.

    An id is the stored path's file name without suffix; where a row has none that can name a file, all images are
    numbered by row from 00000, over the files in order.

    Raises:
        InputError: a file cannot be read or has another form, or two rows would share an id.
    """
    rows, paths = [], []
    for file in files:
        for group in range(_row_groups(file)):
            try:
                column = _column(file, file.stat().st_mtime_ns, group, "path")
            except OSError as error:
                raise InputError(f"{file} cannot be read ({error})", "download the file again") from error
            rows += [ParquetImage(file, group, row) for row in range(len(column))]
            paths += column
    ids = [PurePosixPath((path or "").replace("\\", "/")).stem for path in paths]
    if not all(SAFE.fullmatch(image_id) for image_id in ids):
        ids = [f"{number:05d}" for number in range(len(rows))]
    found: dict[str, ParquetImage] = {}
    for image_id, row in zip(ids, rows, strict=True):
        if image_id in found:
            raise InputError(f"data set '{name}': {found[image_id]} and {row} would share an id", "remove one of them")
        found[image_id] = row
    return found
