"""What a check finds: something on disk that is not what it should be, or that is worth a line and harms nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vml_bench.store.runs import UNREADABLE, reason

RERUN = "rerun"
"""Remedy: the run's own command; images that are invalid are recomputed."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Finding:
    """A defect, which has a remedy, or a note, which needs none.

    Attributes:
        file: what is wrong.
        what: why, in words that follow the file's name.
        remove: the file to remove first; None: nothing is in the way of the remedy.
        mend: the command that then mends it; `RERUN`: that of the run it belongs to; None: it is a note.
    """

    file: Path
    what: str
    remove: Path | None = None
    mend: str | None = RERUN


def attempt(file: Path, read: Callable[[Path], Read]) -> Read | Finding:
    """What `read` makes of a file, or why it cannot."""
    try:
        return read(file)
    except FileNotFoundError:
        return Finding(file, "is missing")
    except UNREADABLE as error:
        return Finding(file, f"cannot be read ({reason(error, file.parent)[:200]})")


def some(names: Iterable[str], shown: int = 3) -> str:
    """ "a, b, c and 4 more": the first few of several names."""
    names = list(names)
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
