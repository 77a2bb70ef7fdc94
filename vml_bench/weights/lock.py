"""lock.json in the cache folder: the sha256 of every file at first use, which later fetches must match."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock

from vml_bench.errors import InputError
from vml_bench.files import replacing, sha256


@dataclass(frozen=True)
class Seen:
    """What is known of a file in the cache.

    Attributes:
        sha256: its hash when it was verified.
        size: its size then, in bytes.
        mtime_ns: its modification time then; until size or time changes, it is not hashed again.
        source: the URL it came from, or "placed by hand".
        date: when it was first seen, UTC.
    """

    sha256: str
    size: int
    mtime_ns: int
    source: str
    date: str


class Lock:
    """The lock file of a cache folder.

    Args:
        folder: the cache folder.

    Raises:
        InputError: the lock file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "lock.json"

    def __getitem__(self, name: str) -> Seen | None:
        return self._read().get(name)

    def _read(self) -> dict[str, Seen]:
        try:
            stored = json.loads(self.file.read_text())["files"] if self.file.is_file() else {}
            return {name: Seen(**entry) for name, entry in stored.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.file} cannot be read ({error})", "repair it, or delete it to trust the files in the folder"
            ) from error

    def digest(self, file: Path) -> str:
        """sha256 of a file in the folder, looked up if the file has not changed since it was verified."""
        seen, status = self[file.name], file.stat()
        if seen and (seen.size, seen.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return seen.sha256
        return sha256(file)

    def record(self, file: Path, digest: str, source: str) -> None:
        """Record a verified file; source and date stay those of the first record of the same bytes."""
        status = file.stat()
        with FileLock(f"{self.file}.lock"):
            files = self._read()
            before = files.get(file.name)
            if before and before.sha256 == digest:
                source, date = before.source, before.date
            else:
                date = datetime.now(timezone.utc).isoformat(timespec="seconds")
            files[file.name] = Seen(digest, status.st_size, status.st_mtime_ns, source, date)
            content = {"files": {name: asdict(seen) for name, seen in sorted(files.items())}}
            with replacing(self.file) as partial:
                partial.write_text(json.dumps(content, indent=2) + "\n")
