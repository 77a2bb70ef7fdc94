"""Files that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well, delete it otherwise.

    The temporary name keeps the suffix, for writers that choose a format by it. Parent folders are made.

    Args:
        path: where the file shall be.
        durable: write it through to the disk before it is moved, so that it is whole even after a power cut.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        if durable:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: str | Path, content: Mapping) -> None:
    """Write a dictionary as indented JSON, whole or not at all, and through to the disk."""
    with replacing(path, durable=True) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
