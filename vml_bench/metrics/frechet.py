"""Distances between two sets of features, by clean-fid's own functions (Parmar, Zhang, Zhu 2022).

A Fréchet distance from n images is biased upward, the more so when n does not exceed the number of
features d, for then the covariance is rank deficient: print n beside it. The kernel distance is unbiased between
independent sets; between restorations and originals of the same images it is biased downward, below zero
for good restorations, because each image meets its own original.
"""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
from scipy.linalg import LinAlgWarning


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of two sets of features (Heusel et al. 2017).

    Args:
        features: (n, d).
        reference: (m, d).

    Returns:
        The squared distance; NaN where n or m is below 2 or the matrix root has an imaginary part, which
        is warned of.
    """
    if min(len(features), len(reference)) < 2:
        return float("nan")
    from cleanfid.fid import fid_from_feats

    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # scipy's, on the form of sqrtm that clean-fid calls
            warnings.simplefilter("ignore", LinAlgWarning)  # singular whenever n ≤ d; the trace holds to 1e-5
            return float(fid_from_feats(np.asarray(features, np.float64), np.asarray(reference, np.float64)))
    except ValueError as error:
        warnings.warn(f"Fréchet distance of {len(features)} images left out: {error}", RuntimeWarning, stacklevel=2)
        return float("nan")


def kernel_distance(
    features: np.ndarray, reference: np.ndarray, seed: int = 0, subsets: int = 100, subset_size: int = 1000
) -> float:
    """Squared MMD under the kernel (xᵀy/d + 1)³, the mean over random subsets (Bińkowski et al. 2018).

    Args:
        features: (n, d).
        reference: (m, d).
        seed: seeds the subsets; NumPy's global generator, which clean-fid draws from, is put back afterwards.
        subsets: number of subsets; one where each would be the whole set.
        subset_size: largest size of a subset.

    Returns:
        The distance, which can be negative; NaN where n or m is below 2.
    """
    if min(len(features), len(reference)) < 2:
        return float("nan")
    from cleanfid.fid import kernel_distance as subset_mean

    n, m = len(features), len(reference)
    if n == m <= subset_size:  # every subset is the whole set
        subsets = 1
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(seed)  # noqa: NPY002
        return subset_mean(np.asarray(features, np.float64), np.asarray(reference, np.float64), subsets, subset_size)
    finally:
        np.random.set_state(state)  # noqa: NPY002
