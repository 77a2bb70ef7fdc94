"""The table of docs/published.md says how far each method is from its authors' program."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.baselines.golden_table import FILES, distances

PAGE = Path(__file__).parents[2] / "docs/published.md"
ROUNDING = 1e-9


def printed() -> dict[str, list[str]]:
    """The rows of the page, by file."""
    table = PAGE.read_text("utf-8").partition("<!-- golden -->")[2].partition("<!-- /golden -->")[0]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "`" in line)
    return {name.strip("`"): row for name, *row in cells}


def test_every_file_has_its_row():
    assert sorted(printed()) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_row_says_what_is_computed(name):
    """Two digits of what is above rounding; what is at rounding is so on any machine."""
    said, found = printed()[name], distances(name).row[1:]
    for a, b in zip(said, found, strict=True):
        assert a == b or math.isclose(float(a), float(b), rel_tol=0.05, abs_tol=ROUNDING), (said, found)
