"""Paired differences under resampling: symmetric studentised bootstrap, by image or by cluster, and Holm's correction;
for what is no mean over images, a Fréchet distance, the jackknife by cluster.

Two methods restored the same images, so their difference is tested image by image. Images that share a source (crops
of one photograph) are resampled together. Efron, Tibshirani, "An introduction to the bootstrap" (1993), chapter 16;
Cameron, Gelbach, Miller, "Bootstrap-based improvements for inference with clustered errors" (2008); Holm, "A simple
sequentially rejective multiple test procedure" (1979); Efron, Stein, "The jackknife estimate of variance" (1981).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import t as student

CHUNK = 2**21
"""About how many numbers one array of the bootstrap may hold."""


@lru_cache(maxsize=8)
def draw(units: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each unit is drawn in each resample: (resamples, units), every row summing to `units`; read-only."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)
    counts.flags.writeable = False
    return counts


def unit_sums(values: np.ndarray, unit: np.ndarray, units: int) -> np.ndarray:
    """Sums over the images of each unit: (n, P) values and (n,) unit numbers -> (units, P)."""
    return (unit == np.arange(units)[:, None]).astype(np.float64) @ values


def paired_bootstrap(
    differences: np.ndarray, unit: np.ndarray, counts: np.ndarray, level: float = 0.95
) -> pd.DataFrame:
    """Test P mean differences against zero.

    t = mean / standard error is compared with t* = (mean* − mean) / error* of the resamples, by absolute value; the
    error is that of a mean over independent units (the sandwich estimator, units of unequal size). Interval and
    p-value agree: zero lies outside the interval where p ≤ 1 − level.

    Args:
        differences: (n, P), NaN where one of the two has no score.
        unit: (n,) number of each image's unit.
        counts: (resamples, units), from `draw`.
        level: nominal coverage.

    Returns:
        P rows: `n` images and `units` that count; `difference`, their mean; its bounds `low` and `high`, NaN where
        fewer than two units count, infinite where too few of them do to bound anything; and `p`, the two-sided p-value
        of "no difference", at least 1/(resamples + 1).
    """
    width = max(1, CHUNK // len(counts))
    if differences.shape[1] > width:
        pieces = np.split(differences, range(width, differences.shape[1], width), axis=1)
        return pd.concat([paired_bootstrap(piece, unit, counts, level) for piece in pieces], ignore_index=True)
    used = np.isfinite(differences)
    size = unit_sums(used.astype(np.float64), unit, counts.shape[1])
    total = unit_sums(np.where(used, differences, 0.0), unit, counts.shape[1])
    n, units = size.sum(axis=0), (size > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total.sum(axis=0) / n
        residual = total - mean * size
        residual[np.abs(residual) < 1e-12 * np.abs(total)] = 0.0  # a constant difference has no spread
        shared = size[:, :1] if (size == size[:, :1]).all() else size
        _, error = _shift_and_error(np.ones((1, len(size))), residual, shared)
        shift, errors = _shift_and_error(counts, residual, shared)
        t = np.where(mean == 0, 0.0, np.abs(mean) / error[0])
        t_star = np.abs(shift) / errors
        t_star[(shift == 0) & (errors == 0)] = 0.0
    t_star[np.isnan(t_star)] = np.inf
    place = min(int(np.ceil(level * (len(counts) + 1))), len(counts)) - 1
    bound = np.partition(t_star, place, axis=0)[place]
    p = (1 + (t_star >= t * (1 - 1e-9)).sum(axis=0)) / (len(counts) + 1)
    half = np.where(error[0] == 0, 0.0, bound * np.where(error[0] == 0, 1.0, error[0]))
    low, high, p = (np.where(units < 2, np.nan, values) for values in (mean - half, mean + half, p))
    return pd.DataFrame({"n": n.astype(int), "units": units, "difference": mean, "low": low, "high": high, "p": p})


def _shift_and_error(counts: np.ndarray, residual: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the residuals in each resample, and its standard error: (resamples, P) each.

    Args:
        counts: (resamples, units).
        residual: (units, P) sums of differences less their mean.
        size: (units, P) or (units, 1), images of each unit.
    """
    images, units = counts @ size, counts @ (size > 0)
    shift = counts @ residual / images
    squares = counts @ residual**2 - 2 * shift * (counts @ (residual * size)) + shift**2 * (counts @ size**2)
    return shift, np.sqrt(np.maximum(squares, 0) * units / (units - 1)) / images


def jackknife(whole: np.ndarray, without: np.ndarray, level: float = 0.95) -> pd.DataFrame:
    """Test P statistics against zero by leaving out one unit after the other, with Student's t of units − 1.

    A bootstrap repeats images, which changes the bias of a statistic of a covariance; leaving some out hardly does.
    The interval is about the statistic expected from as many images.

    Args:
        whole: (P,), of all images.
        without: (units, P), without each unit in turn.
        level: nominal coverage.

    Returns:
        P rows: `units`; `difference`, the statistic itself; its bounds `low` and `high`; and `p`, two-sided. Bounds and
        p are NaN where there are fewer than two units.
    """
    units = len(without)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt((units - 1) * np.var(without, axis=0)) if units > 1 else np.full(len(whole), np.nan)
        p = np.where(whole == 0, 1.0, 2 * student.sf(np.abs(whole) / error, units - 1))
    half = student.ppf((1 + level) / 2, units - 1) * error
    p = np.where(np.isnan(error), np.nan, p)
    return pd.DataFrame({"units": units, "difference": whole, "low": whole - half, "high": whole + half, "p": p})


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust the p-values of one family (m,); NaN stays NaN and does not count."""
    adjusted = np.full(len(p), np.nan)
    order = [i for i in np.argsort(p, kind="stable") if np.isfinite(p[i])]
    weighted = [p[i] * (len(order) - k) for k, i in enumerate(order)]
    adjusted[order] = np.minimum(np.maximum.accumulate(weighted), 1.0) if order else []
    return adjusted
