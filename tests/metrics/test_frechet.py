"""Fréchet and kernel distances against closed forms."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from cleanfid.fid import fid_from_feats

from vml_bench.metrics.frechet import frechet_distance, frechet_interval, kernel_distance


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    mean, first, second = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 0.5]), np.array([2.0, 1.0, 0.5])
    a = rng.normal(size=(50_000, 3)) * first
    b = rng.normal(size=(50_000, 3)) * second + mean
    closed_form = (mean**2).sum() + ((first - second) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(closed_form, rel=0.02)


def test_frechet_distance_with_fewer_images_than_features_is_exact_and_quiet(capsys):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(8, 64)), rng.normal(size=(10, 64)) + 0.3
    centred = [(x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()  # Tr (Σ₁ Σ₂)^½
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum((x**2).sum() for x in centred) - 2 * cross
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-4)
        assert frechet_distance(a, a) == pytest.approx(0, abs=1e-4)
    assert capsys.readouterr().out == ""


def test_kernel_distance_is_the_unbiased_estimate_of_the_whole_set():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(20, 5)), rng.normal(size=(20, 5)) + 1

    def kernel(x, y):
        return (x @ y.T / 5 + 1) ** 3

    within = sum((kernel(x, x).sum() - np.trace(kernel(x, x))) / (20 * 19) for x in (a, b))
    assert kernel_distance(a, b) == pytest.approx(within - 2 * kernel(a, b).mean())


def test_kernel_distance_is_seeded_and_leaves_numpys_generator_alone():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(25, 4))
    np.random.seed(7)  # noqa: NPY002
    undisturbed = np.random.rand()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    first = kernel_distance(a, b, seed=1, subsets=5, subset_size=10)
    assert np.random.rand() == undisturbed  # noqa: NPY002
    assert kernel_distance(a, b, seed=1, subsets=5, subset_size=10) == first
    assert kernel_distance(a, b, seed=2, subsets=5, subset_size=10) != first


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 96), (60, 200, 96), (200, 300, 96)])
def test_the_distance_is_clean_fids(n, m, d):
    rng = np.random.default_rng(4)
    scale = 1 / np.sqrt(1 + np.arange(d))
    a, b = rng.exponential(size=(n, d)) * scale, rng.exponential(size=(m, d)) * scale + 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert frechet_distance(a, b) == pytest.approx(fid_from_feats(a, b), rel=1e-4)


@pytest.mark.parametrize(("n", "d"), [(24, 64), (60, 8)])
def test_intervals_cover_the_expected_distance_at_their_n(n, d):
    rng = np.random.default_rng(5)
    scale = 1 / np.sqrt(1 + np.arange(d))

    def restored_and_original():
        original = rng.exponential(size=(n, d)) * scale
        return 0.8 * original + 0.3 * scale * rng.normal(size=(n, d)) + 0.05, original

    expected = np.mean([frechet_distance(*restored_and_original()) for _ in range(300)])
    intervals = [frechet_interval(*restored_and_original(), halves=30) for _ in range(100)]
    assert np.mean([low <= expected <= high for low, high in intervals]) >= 0.85
    assert np.mean([high - low for low, high in intervals]) < expected


def test_intervals_pair_images_and_are_seeded():
    rng = np.random.default_rng(6)
    a = rng.normal(size=(20, 30))
    b = a + 0.1 * rng.normal(size=a.shape)
    assert frechet_interval(a, b) == frechet_interval(a, b)
    low, high = frechet_interval(a, b)
    assert 0 <= low <= frechet_distance(a, b) <= high
    shuffled = frechet_interval(a, b[::-1])  # the same two sets, no longer matched
    assert shuffled[1] - shuffled[0] > 2 * (high - low)
    assert all(map(math.isnan, frechet_interval(a[:7], b[:7])))
    assert all(map(math.isnan, frechet_interval(a, b[:19])))


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_have_no_distance(distance, n):
    assert math.isnan(distance(np.ones((n, 4)), np.ones((5, 4))))
    assert math.isnan(distance(np.ones((5, 4)), np.ones((n, 4))))
