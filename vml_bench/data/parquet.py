"""Images in the rows of Parquet files, as Hugging Face stores them: a column image {bytes, path}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vml_bench.data.stored import by_id
from vml_bench.errors import InputError

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

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
        data = _encoded(self.file, self.file.stat().st_mtime_ns, self.group)[self.row]
        if not data:
            raise OSError("the row holds no bytes")
        return data


@contextmanager
def _opened(file: Path) -> Iterator[ParquetFile]:
    """A Parquet file; what it does not hold, or is damaged, is an OSError."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            yield table
    except (pyarrow.ArrowException, KeyError) as error:
        raise OSError(str(error)) from error


@lru_cache(maxsize=2)
def _encoded(file: Path, mtime_ns: int, group: int) -> list[bytes | None]:
    """The images in a row group, encoded. The last two are cached, until the file's modification time changes."""
    with _opened(file) as table:
        return _field(table.read_row_group(group, columns=["image.bytes"]), "bytes")


def _field(table: Table, field: str) -> list:
    return [image.get(field) if image else None for image in table["image"].to_pylist()]


def find_parquet_images(name: str, files: Sequence[Path]) -> dict[str, ParquetImage]:
    """Images of Parquet files by id, in order of rows.

    An id is the stored path's file name without suffix; where a row has none that can name a file, all images are
    numbered by row from 00000, over the files in order.

    Raises:
        InputError: a file cannot be read or has another form, or two rows would share an id.
    """
    rows, paths = [], []
    for file in files:
        try:
            with _opened(file) as table:
                fields = {table.schema.column(i).path for i in range(len(table.schema))}
                if not {"image.bytes", "image.path"} <= fields:
                    raise InputError(
                        f"{file} has no column image {{bytes, path}}", "give Parquet files as Hugging Face writes them"
                    )
                for group in range(table.num_row_groups):
                    found = _field(table.read_row_group(group, columns=["image.path"]), "path")
                    rows += [ParquetImage(file, group, row) for row in range(len(found))]
                    paths += found
        except OSError as error:
            raise InputError(f"{file} cannot be read ({error})", "download the file again") from error
    ids = [PurePosixPath((path or "").replace("\\", "/")).stem for path in paths]
    if not all(SAFE.fullmatch(image_id) for image_id in ids):
        ids = [f"{number:05d}" for number in range(len(rows))]
    return by_id(name, zip(ids, rows, strict=True))
