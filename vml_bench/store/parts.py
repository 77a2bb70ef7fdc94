"""The files of a store: rows and features of images, one part for each batch until they are merged.

A part holds rows and features of one batch in one file: both are there or neither is. The merged table holds the rows
of all merged parts, the merged features "ids" (n,) and an array (n, d) for each network, NaN where an image has none.

An image that is in a part and in the merged files has the part's values: a part is younger.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
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
    return sorted(file for file in (folder / layout.PARTS).glob("*.parquet") if not file.name.startswith("."))


def write_part(file: Path, rows: Sequence[Mapping], features: Vectors) -> None:
    """Write a batch, whole or not at all, and through to the disk."""
    columns = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    ids = [row["image_id"] for row in rows]
    for network, vectors in features.items():
        columns = columns.append_column(PREFIX + network, _vectors_column(ids, vectors))
    with replacing(file, durable=True) as partial:
        pq.write_table(columns, partial, write_page_checksum=True)


def _vectors_column(ids: Sequence[str], vectors: Mapping[str, np.ndarray]) -> pa.Array:
    kind = pa.list_(pa.from_numpy_dtype(next(iter(vectors.values())).dtype))
    return pa.array([vectors.get(image_id) for image_id in ids], type=kind)


def read_part(file: Path) -> Part:
    """Read a part; one of `DAMAGED` is raised where that cannot be done."""
    columns = pq.read_table(file, page_checksum_verification=True)
    networks = [name for name in columns.column_names if name.startswith(PREFIX)]
    rows = columns.drop_columns(networks).to_pandas()
    ids = [str(image_id) for image_id in rows["image_id"]]
    features = {}
    for network in networks:
        column = columns[network].combine_chunks()
        present = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.drop_null().flatten().to_numpy()
        vectors = values.reshape(present.sum(), len(values) // max(1, present.sum()))
        known = [image_id for image_id, there in zip(ids, present, strict=True) if there]
        features[network.removeprefix(PREFIX)] = dict(zip(known, vectors, strict=True))
    return Part(rows, features)


def write_merged(folder: Path, rows: pd.DataFrame, features: Vectors) -> None:
    """Write the merged table and features, each whole or not at all; no features leave no file."""
    with replacing(features_file(folder), durable=True) as partial:
        ids = [image_id for image_id in rows["image_id"] if any(image_id in of for of in features.values())]
        arrays = {network: _with_gaps(ids, vectors) for network, vectors in features.items() if vectors}
        np.savez(partial, ids=np.array(ids, dtype=str), **arrays)
    if not ids:
        features_file(folder).unlink()
    with replacing(table(folder), durable=True) as partial:
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), partial, write_page_checksum=True)


def _with_gaps(ids: Sequence[str], vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    gap = np.full_like(next(iter(vectors.values())), np.nan)
    return np.stack([vectors.get(image_id, gap) for image_id in ids])


def read_table(folder: Path) -> pd.DataFrame | None:
    """The merged rows; None where there are none yet. Raises one of `DAMAGED`."""
    try:
        rows = pq.read_table(table(folder), page_checksum_verification=True).to_pandas()
    except FileNotFoundError:
        return None
    return rows.assign(image_id=rows["image_id"].astype(str))


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
    for network, array in arrays.items():
        if array.ndim != 2 or len(array) != len(ids):
            raise ValueError(f"{file.name}: '{network}' has shape {array.shape} for {len(ids)} ids")
    return {
        network: {
            i: vector for i, vector in zip(ids, array, strict=True) if vector.size == 0 or not np.isnan(vector).all()
        }
        for network, array in arrays.items()
    }


def read_parts(folder: Path) -> Iterator[Part]:
    """The parts one after the other; one that is merged and removed meanwhile is passed over."""
    for file in part_files(folder):
        try:
            yield read_part(file)
        except FileNotFoundError:
            continue


def read_rows(folder: Path) -> pd.DataFrame:
    """Rows of a store, each image once: parts first, then what is merged; empty without either.

    Parts are read first, so that what another process merges meanwhile is found in the merged table.

    Raises:
        One of `DAMAGED`: a file cannot be read.
    """
    frames = [part.rows for part in read_parts(folder)]
    merged = read_table(folder)
    if merged is not None:
        frames.append(merged)
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame({"image_id": pd.Series(dtype=str)})
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return rows.drop_duplicates("image_id", ignore_index=True)


def read_features(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Features (d,) of a store by network and image id, parts before what is merged.

    Raises:
        One of `DAMAGED`: a file cannot be read.
    """
    young: dict[str, dict[str, np.ndarray]] = {}
    for part in read_parts(folder):
        for network, vectors in part.features.items():
            known = young.setdefault(network, {})
            for image_id, vector in vectors.items():
                known.setdefault(image_id, vector)
    merged = read_merged_features(features_file(folder))
    return {network: {**merged.get(network, {}), **young.get(network, {})} for network in {**merged, **young}}
