"""Bootstrap intervals of many columns' means at once, and over whole scenes; seeded, so the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

RESAMPLES = 2000
SEED = 0
CHUNK = 2**22
"""Most numbers in one table of resamples; where one table is enough it is kept for runs of as many images."""
EQUAL = 1e-12
"""Values that differ by less, relative to the largest, are equal up to rounding; and so is a resample's mean to the
mean, relative to the largest deviation."""


def bootstrap_intervals(values: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Bias-corrected and accelerated bootstrap intervals of means over images (Efron 1987), seeded.

    All columns share the resamples, so that P means cost one matrix product. The acceleration is the jackknife's,
    for a mean Σd³ / 6(Σd²)^{3/2} with d the deviations from it. From 16 images the measured coverage is about 92 %,
    from 100 about 94 %.

    Args:
        values: (n, P), one row per image.
        level: nominal coverage.

    Returns:
        (P, 2), low and high; the mean itself twice where all values of a column are equal up to rounding; NaN where
        n < 2 or a value is not finite.
    """
    values = np.asarray(values, np.float64)
    bounds = np.full((values.shape[1], 2), np.nan)
    if len(values) < 2:
        return bounds
    finite = np.isfinite(values).all(axis=0)
    size = np.abs(np.where(finite, values, 0)).max(axis=0)
    constant = finite & (np.ptp(np.where(finite, values, 0), axis=0) <= EQUAL * size)
    bounds[constant] = values[0, constant, None]
    varied = np.flatnonzero(finite & ~constant)
    mean = values[:, varied].mean(axis=0)
    deviations = values[:, varied] - mean
    scale = np.abs(deviations).max(axis=0)
    deviations /= scale
    means = np.concatenate([counts @ deviations for counts in _resamples(len(values))]) / len(values)

    bias = ndtri(np.where(np.abs(means) <= EQUAL, 0.5, means < 0).mean(axis=0))
    acceleration = (deviations**3).sum(axis=0) / (6 * (deviations**2).sum(axis=0) ** 1.5)
    ends = bias + ndtri([(1 - level) / 2, (1 + level) / 2])[:, None]
    shares = ndtr(bias + ends / (1 - acceleration * ends))
    for i in np.flatnonzero(np.isfinite(shares).all(axis=0)):
        bounds[varied[i]] = mean[i] + scale[i] * np.quantile(means[:, i], shares[:, i])
    return bounds


def bootstrap_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """`bootstrap_intervals` of one column: (n,) -> (low, high)."""
    low, high = bootstrap_intervals(np.asarray(values, np.float64)[:, None], level)[0]
    return float(low), float(high)


def _resamples(n: int) -> Iterator[np.ndarray]:
    """How often each of n images is drawn in each of `RESAMPLES` resamples, in successive tables (R, n)."""
    if RESAMPLES * n <= CHUNK:
        yield _small_resamples(n)
        return
    rng, rows = np.random.default_rng(SEED), max(1, CHUNK // n)
    for start in range(0, RESAMPLES, rows):
        yield _draw(rng, n, min(rows, RESAMPLES - start))


@lru_cache(maxsize=4)
def _small_resamples(n: int) -> np.ndarray:
    counts = _draw(np.random.default_rng(SEED), n, RESAMPLES)
    counts.flags.writeable = False
    return counts


def _draw(rng: np.random.Generator, n: int, resamples: int) -> np.ndarray:
    """(resamples, n), every row summing to n."""
    drawn = rng.integers(n, size=(resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def scene_interval(
    values: np.ndarray, scenes: np.ndarray, statistic: str = "mean", level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval over scenes, seeded: whole scenes are drawn, for their images are not independent.

    Args:
        values: (n,), one per image.
        scenes: (n,), the scene of each.
        statistic: "mean" or "median", of the images of the drawn scenes together.
        level: nominal coverage.

    Returns:
        (low, high); NaN where there are fewer than two scenes or a value is not finite.
    """
    values = np.asarray(values, np.float64)
    names, index = np.unique(np.asarray(scenes, str), return_inverse=True)
    if len(names) < 2 or not np.isfinite(values).all():
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    table = np.full((len(names), np.bincount(index).max()), np.nan)
    for k, row in enumerate(table):
        row[: (index == k).sum()] = values[index == k]
    pick = getattr(np, f"nan{statistic}" if np.isnan(table).any() else statistic)
    drawn = np.random.default_rng(SEED).integers(len(names), size=(RESAMPLES, len(names)))
    pieces = np.array_split(drawn, -(-drawn.size * table.shape[1] // CHUNK))
    estimates = np.concatenate([pick(table[rows].reshape(len(rows), -1), axis=1) for rows in pieces])
    low, high = np.quantile(estimates, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
