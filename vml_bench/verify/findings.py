"""What a check finds: a defect, which has a remedy, or a note, which needs none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

RERUN = "rerun"
"""Remedy: the run's own command; images that are invalid are recomputed."""


@dataclass(frozen=True)
class Defect:
    """Something on disk that is not what it should be.

    Attributes:
        file: what is wrong.
        what: why, in words that follow the file's name.
        remove: the file to remove first; None: nothing is in the way of the remedy.
        mend: the command that then mends it; `RERUN`: that of the run it belongs to.
    """

    file: Path
    what: str
    remove: Path | None = None
    mend: str = RERUN


@dataclass(frozen=True)
class Note:
    """Something on disk that is worth a line and harms nothing.

    Attributes:
        file: what it is about.
        what: the line, in words that follow the file's name.
    """

    file: Path
    what: str


Finding = Defect | Note


def some(names: Iterable[str], shown: int = 3) -> str:
    """ "a, b, c and 4 more": the first few of several names."""
    names = list(names)
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
