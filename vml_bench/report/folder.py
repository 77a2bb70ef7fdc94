"""The report's folder: files appear whole, unchanged ones are left alone, and those no longer part of it removed."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from vml_bench.errors import InputError
from vml_bench.files import replacing

MANIFEST = "report.json"
PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,78}[a-z0-9_-])?")
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)|.*\.\.|.*\bx[0-9a-f]{10}$")
"""Names of devices on some systems, whatever the suffix; names that climb; names that look hashed."""


def safe_name(text: str) -> str:
    """A file name for any text: the text itself if plain lower-case ASCII, else what is readable of it and a hash.

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
        """Copy or link a file unless it is already here; returns its path.

        Args:
            name: its name in the folder.
            source: the file.
            link: make it a hard link to the source if the file system can.
        """
        path = self.path / name
        self._written.add(name)
        if path.is_file() and filecmp.cmp(source, path):
            return path
        with replacing(path) as partial:
            if link:
                with suppress(OSError):
                    os.link(source, partial)
            if not partial.exists():
                shutil.copy2(source, partial)
        return path

    def close(self) -> None:
        """Remove what an earlier report wrote and this one did not, with folders that become empty."""
        for name in set(self._earlier or ()) - self._written:
            path = self.path / name
            if self.path.resolve() not in path.resolve().parents:
                continue
            path.unlink(missing_ok=True)
            with suppress(OSError):  # a folder that is not empty stays
                for folder in path.relative_to(self.path).parents[:-1]:
                    (self.path / folder).rmdir()
        self._earlier = sorted(self._written)
        self.text(MANIFEST, json.dumps({"files": self._earlier}, indent=0) + "\n")
