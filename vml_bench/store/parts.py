"""The files of a store: rows and features of images, one part for each batch until they are merged.

A part holds rows and features of one batch in one file: both are there or neither is. The merged table holds the rows
of all merged parts, the merged features "ids" (n,) and an array (n, d) for each network, NaN where an image has none.

An image that is in a part and in the merged files has the part's values: a part is younger. Reading a damaged file
raises one of `DAMAGED`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vml_bench.files import replacing
from vml_bench.store import layout

PREFIX = "features/"
"""Before a network's name in the columns of a part."""
DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, pa.ArrowException)
"""What reading a damaged file raises."""

Vectors = Mapping[str, Mapping[str, np.ndarray]]
"""Features (d,) by network and image id."""


@dataclass(frozen=True)
class Part:
    """Rows of images and their features.

    Attributes:
        rows: one row per image, "image_id" among its columns.
        features: for each network (d,) by image id; an image need not have any.
    """

    rows: pd.DataFrame
    features: Vectors


def table(folder: Path) -> Path:
    """Where merged rows lie."""
    return folder / layout.TABLE


def features_file(folder: Path) -> Path:
    """Where merged features lie."""
    return folder / layout.FEATURES


def part_files(folder: Path) -> list[Path]:
    """The parts that are not merged yet, by name."""
    return sorted((folder / layout.PARTS).glob("[!.]*.parquet"))


def write_part(file: Path, rows: Sequence[Mapping], features: Vectors) -> None:
    """Write a batch, whole or not at all, and through to the disk."""
    columns = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    ids = [row["image_id"] for row in rows]
    for network, vectors in features.items():
        columns = columns.append_column(PREFIX + network, _vectors_column(ids, vectors))
    _write_table(file, columns)


def _vectors_column(ids: Sequence[str], vectors: Mapping[str, np.ndarray]) -> pa.Array:
    kind = pa.list_(pa.from_numpy_dtype(next(iter(vectors.values())).dtype))
    return pa.array([vectors.get(image_id) for image_id in ids], type=kind)


def _write_table(file: Path, columns: pa.Table) -> None:
    with replacing(file, durable=True) as partial:
        pq.write_table(columns, partial, write_page_checksum=True)


def write_merged(folder: Path, rows: pd.DataFrame, features: Vectors) -> None:
    """Write the merged table and features, each whole or not at all; no features leave no file."""
    with replacing(features_file(folder), durable=True) as partial:
        ids = [image_id for image_id in rows["image_id"] if any(image_id in of for of in features.values())]
        arrays = {network: _with_gaps(ids, vectors) for network, vectors in features.items() if vectors}
        np.savez(partial, ids=np.array(ids, dtype=str), **arrays)
    if not ids:
        features_file(folder).unlink()
    _write_table(table(folder), pa.Table.from_pandas(rows, preserve_index=False))


def _with_gaps(ids: Sequence[str], vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    gap = np.full_like(next(iter(vectors.values())), np.nan)
    return np.stack([vectors.get(image_id, gap) for image_id in ids])


def read_part(file: Path) -> Part:
    """Read a part, or the merged table, which has no features."""
    columns = pq.read_table(file, page_checksum_verification=True)
    if "image_id" not in columns.column_names:
        raise ValueError(f"{file.name} lacks the column image_id")
    networks = [name for name in columns.column_names if name.startswith(PREFIX)]
    rows = columns.drop_columns(networks).to_pandas()
    rows = rows.assign(image_id=rows["image_id"].astype(str))
    features = {}
    for network in networks:
        column = columns[network].combine_chunks()
        present = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.drop_null().flatten().to_numpy()
        vectors = values.reshape(present.sum(), len(values) // max(1, present.sum()))
        features[network.removeprefix(PREFIX)] = dict(zip(rows["image_id"][present], vectors, strict=True))
    return Part(rows, features)


def read_merged_features(file: Path) -> dict[str, dict[str, np.ndarray]]:
    """The features of one npz; nothing where there is none.

    Raises:
        ValueError: an array does not fit its file's ids.
        Another of `DAMAGED`: the file cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return {}
    ids = [str(image_id) for image_id in arrays.pop("ids")]
    found = {}
    for network, array in arrays.items():
        if array.ndim != 2 or len(array) != len(ids):
            raise ValueError(f"{file.name}: '{network}' has shape {array.shape} for {len(ids)} ids")
        vectors = zip(ids, array, strict=True)
        found[network] = {i: vector for i, vector in vectors if not vector.size or not np.isnan(vector).all()}
    return found


def read_rows(folder: Path, check: bool = False) -> pd.DataFrame:
    """Rows of a store, each image once: parts first, then what is merged; empty without either.

    Parts are read first, so that what another process merges meanwhile is found in the merged table.

    Args:
        folder: of the store.
        check: whether a merged table that lists an image twice is damaged, too.
    """
    frames = [part.rows for part in _read_parts(folder)]
    with suppress(FileNotFoundError):
        merged = read_part(table(folder)).rows
        if check and len(twice := merged.loc[merged["image_id"].duplicated(), "image_id"]):
            raise ValueError(f"{layout.TABLE} lists '{twice.iloc[0]}' twice")
        frames.append(merged)
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame({"image_id": pd.Series(dtype=str)})
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return rows.drop_duplicates("image_id", ignore_index=True)


def read_features(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Features (d,) of a store by network and image id, parts before what is merged."""
    young = [part.features for part in _read_parts(folder)]
    return pooled([*young, read_merged_features(features_file(folder))])


def pooled(sources: Iterable[Vectors]) -> dict[str, dict[str, np.ndarray]]:
    """The features of several sources; of an image that several have, those of the first."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for network, vectors in (item for source in sources for item in source.items()):
        known = found.setdefault(network, {})
        for image_id, vector in vectors.items():
            known.setdefault(image_id, vector)
    return found


def _read_parts(folder: Path) -> Iterator[Part]:
    """The parts one after the other; one that is merged and removed meanwhile is passed over."""
    for file in part_files(folder):
        with suppress(FileNotFoundError):
            yield read_part(file)
