"""Ranks with ties, and how steady they are when images are resampled."""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np
from scipy.stats import rankdata

from vml_bench.analysis.comparison.paired import unit_sums


def resampled_means(scores: np.ndarray, unit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean score of each method in each resample: scores (n, M), all finite -> (resamples, M)."""
    units = counts.shape[1]
    size = unit_sums(np.ones((len(scores), 1)), unit, units)
    return counts @ unit_sums(scores, unit, units) / (counts @ size)


def order_of(means: np.ndarray, better: int) -> np.ndarray:
    """Ranks along the last axis, 1 best; equal means (to ten digits) share the better rank.

    Args:
        means: (..., M).
        better: +1 where more is better, −1 where less is.
    """
    return rankdata(-better * np.round(means, 10), method="min", axis=-1).astype(int)


def letters(apart: np.ndarray) -> list[str]:
    """Compact letter display: two methods share a letter exactly where they are not significantly apart.

    Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons" (2004): insert and absorb.

    Args:
        apart: (M, M) symmetric, in the order in which letters are to be given.
    """
    count = len(apart)
    groups = [frozenset(range(count))]
    for i, j in zip(*np.nonzero(np.triu(apart, 1)), strict=True):
        split = [group - {k} for group in groups if {i, j} <= group for k in (i, j)]
        groups = list(dict.fromkeys([group for group in groups if not {i, j} <= group] + split))
        groups = [group for group in groups if not any(group < other for other in groups)]
    groups.sort(key=sorted)
    return ["".join(_letter(g) for g, group in enumerate(groups) if i in group) for i in range(count)]


def _letter(number: int) -> str:
    tens, one = divmod(number, len(ascii_lowercase))
    return (_letter(tens - 1) if tens else "") + ascii_lowercase[one]
