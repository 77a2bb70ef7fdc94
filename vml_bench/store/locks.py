"""Image locks: which process works on which image. Kernel locks, which end with the process that holds them.

Byte i of the file `locks` stands for the i-th image of the data set. A process that restores an image holds a record
lock on its byte; the kernel, or the file server, gives it up when the process ends, however it ends. So there is no
lock to go stale, no clock to trust and nothing to clean up.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

try:
    import fcntl
except ImportError:  # no record locks on Windows
    fcntl = None

HELD = (errno.EACCES, errno.EAGAIN)
"""What the kernel says of a byte that another process has locked."""


class ImageLocks:
    """The image locks of this process on one run.

    Record locks belong to a process: two `ImageLocks` on one file in a process do not exclude each other, and closing
    one gives up both. Where the file system has no locks, everything is granted, with a line on stderr; there
    `runner.shard` keeps processes apart.

    Args:
        file: the file whose bytes are locked; made where it is missing.
        order: the ids of all images of the data set.
    """

    def __init__(self, file: Path, order: Sequence[str]) -> None:
        self._byte = {image_id: position for position, image_id in enumerate(order)}
        self._path = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        self._locks = fcntl is not None

    def take(self, image_ids: Sequence[str], size: int) -> list[str]:
        """Lock up to `size` of `image_ids`, in order, leaving out those that another process holds."""
        return list(islice((image_id for image_id in image_ids if self._lock(self._byte[image_id])), size))

    def release(self, image_ids: Sequence[str]) -> None:
        """Give up the locks on some images."""
        for image_id in image_ids if self._locks else ():
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._byte[image_id])

    def close(self) -> None:
        """Give up all locks."""
        os.close(self._file)

    def _lock(self, byte: int) -> bool:
        if not self._locks:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno in HELD:
                return False
            self._locks = False
            print(
                f"{self._path} cannot be locked ({error.strerror}): processes on the same run would do the same "
                "images; keep them apart with runner.shard=i/n",
                file=sys.stderr,
            )
        return True
