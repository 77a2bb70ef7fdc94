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
        try:
            self._earlier = set(json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._earlier = set()
            if (self.path / "index.html").exists():
                found = f"{self.path} holds an index.html that is not a report"
                raise InputError(found, "choose another folder with --out") from error

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
        if not path.is_file() or not filecmp.cmp(source, path):
            with replacing(path) as partial:
                try:
                    (os.link if link else shutil.copy2)(source, partial)
                except OSError:
                    shutil.copy2(source, partial)
        return path

    def close(self) -> None:
        """Remove what an earlier report wrote and this one did not, with folders that become empty."""
        for name in self._earlier - self._written:
            path = self.path / str(name)
            if self.path.resolve() in path.resolve().parents:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # a folder that is not empty stays
                    os.removedirs(path.parent)
        self.text(MANIFEST, json.dumps({"files": sorted(self._written)}, indent=0) + "\n")
