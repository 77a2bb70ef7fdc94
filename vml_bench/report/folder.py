"""The report's folder: files appear whole, what has not changed is left alone, what is no longer part of it goes."""

from __future__ import annotations

import json
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path

from vml_bench.errors import InputError
from vml_bench.files import replacing

MANIFEST = "report.json"
PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,78}[a-z0-9_-])?")
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)|.*\.\.|.*\bx[0-9a-f]{10}$")
"""Names that mean a device on some systems, whatever their suffix; that climb; that look like a hashed name."""


def safe_name(text: str) -> str:
    """A file name for any text: itself where it is plain lower-case ASCII, else a readable rest of it and a hash.

    Distinct texts get distinct names, on file systems that ignore case too; no name needs quoting in a URL.
    """
    if PLAIN.fullmatch(text) and not RESERVED.match(text):
        return text
    readable = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:40].strip("-")
    return "-".join(part for part in (readable, f"x{sha256(text.encode()).hexdigest()[:10]}") if part)


class ReportFolder:
    """Files written by name; `close` removes those of an earlier report that this one did not write.

    Args:
        path: the folder; made if absent.

    Raises:
        InputError: it holds an index.html that no report wrote.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._written: set[str] = set()
        self._earlier = self._read_manifest()
        if self._earlier is None and (self.path / "index.html").exists():
            raise InputError(
                f"{self.path} holds an index.html that is not a report", "choose another folder with --out"
            )

    def _read_manifest(self) -> list[str] | None:
        try:
            files = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return [name for name in files if isinstance(name, str)] if isinstance(files, list) else None

    def text(self, name: str, content: str) -> Path:
        """Write a text file unless it already says the same; returns its path."""
        path, content_bytes = self.path / name, content.encode()
        self._written.add(name)
        if not path.is_file() or path.read_bytes() != content_bytes:
            with replacing(path) as partial:
                partial.write_bytes(content_bytes)
        return path

    def file(self, name: str, source: Path, link: bool = False) -> Path:
        """Bring a file in unless it is already here; returns its path.

        Args:
            name: its name in the folder.
            source: the file.
            link: share its bytes with the source through a hard link where the file system can, else copy them.
        """
        path = self.path / name
        self._written.add(name)
        if _same(source, path):
            return path
        with replacing(path) as partial:
            if not (link and _linked(source, partial)):
                shutil.copy2(source, partial)
        return path

    def close(self) -> None:
        """Remove what an earlier report wrote and this one did not, and the folders that this leaves empty."""
        for name in set(self._earlier or ()) - self._written:
            path = self.path / name
            if self.path.resolve() not in path.resolve().parents:
                continue
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self.path).parents[:-1]:
                try:
                    (self.path / folder).rmdir()
                except OSError:
                    break
        self._earlier = sorted(self._written)
        self.text(MANIFEST, json.dumps({"files": self._earlier}, indent=0) + "\n")


def _same(source: Path, path: Path) -> bool:
    """Whether two files are one, or alike in size and time of change."""
    if not path.is_file():
        return False
    a, b = source.stat(), path.stat()
    return os.path.samestat(a, b) or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
